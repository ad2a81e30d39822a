// Handles that nobody closes. Needs --expose-gc.

import { setImmediate } from 'node:timers/promises';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  openNetlink,
  subscribeNetlink,
} from '../../../src/daemon/netlink-socket.ts';
import { countFds, getGeneration, newAddress, RTNLGRP_IPV4_IFADDR } from './requests.ts';

async function openMany(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const socket = openNetlink(NETLINK_NETFILTER);
    if (n % 2 === 0) await socket.transact(getGeneration(n));
  }
}

/** Collects until no more than `fds` descriptors are open; gives up after some rounds. */
async function collect(fds: number): Promise<number> {
  for (let round = 0; round < 50 && countFds() > fds; round++) {
    globalThis.gc?.();
    await setImmediate();
  }
  return countFds();
}

await openMany(10);
globalThis.gc?.();
await setImmediate();
const fdsAtStart = countFds();
await openMany(2000);
const fdsAfterGc = await collect(fdsAtStart);

// A socket that is only referenced by its transaction in flight.
const pending = openNetlink(NETLINK_NETFILTER).transact(getGeneration(1));
globalThis.gc?.();
const repliesOfUnreferenced = (await pending).length;

// A subscription nobody holds goes on, as a listening server does.
let events = 0;
const notified = new Promise<void>((resolve) => {
  subscribeNetlink(NETLINK_ROUTE, RTNLGRP_IPV4_IFADDR, () => {
    events++;
    resolve();
  });
});
await collect(0);
await openNetlink(NETLINK_ROUTE).transact(newAddress(1));
await notified;

console.log(JSON.stringify({ fdsGrown: fdsAfterGc - fdsAtStart, repliesOfUnreferenced, events }));
process.exit(0);
