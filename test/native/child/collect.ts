// Handles that nobody closes. Needs --expose-gc.

import { setImmediate } from 'node:timers/promises';
import { loadAddon } from '../../../native/load.cjs';
import { NETLINK_NETFILTER, NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { countFds, getGeneration, newAddresses } from './requests.ts';

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

// A handle that only its transaction in flight refers to. The wrapper's own closures would hold it.
const addon = loadAddon();
const pending = addon.transact(addon.open(NETLINK_ROUTE), newAddresses(2000), 1 << 20);
for (let round = 0; round < 10; round++) {
  globalThis.gc?.();
  await setImmediate();
}
const repliesOfUnreferenced = (await pending).length;

console.log(JSON.stringify({ fdsGrown: fdsAfterGc - fdsAtStart, repliesOfUnreferenced }));
