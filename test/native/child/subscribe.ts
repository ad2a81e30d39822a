// Notifications: of another socket's writes, lost ones, forged ones, and none after close.

import { execFileSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import {
  NETLINK_ROUTE,
  type NetlinkEvent,
  openNetlink,
  subscribeNetlink,
} from '../../../src/daemon/netlink-socket.ts';
import { headersOf, newAddress, RTNLGRP_IPV4_IFADDR } from './requests.ts';

const FLOOD = 3000;
const writer = openNetlink(NETLINK_ROUTE);
const arrivals = new EventEmitter();
const events: NetlinkEvent[] = [];
const subscription = subscribeNetlink(
  NETLINK_ROUTE,
  RTNLGRP_IPV4_IFADDR,
  (event) => {
    events.push(event);
    arrivals.emit('event');
  },
  { receiveBufferBytes: 1 },
);

let lastAddress = 0;

/** Adds an address and waits for its notification; where that may have been lost, tries another one. */
async function seesAddress(): Promise<true> {
  const isOf = (event: NetlinkEvent, seq: number) =>
    event.kind === 'datagram' && headersOf([event.bytes]).some((header) => header.seq === seq);
  for (;;) {
    const before = events.length;
    const address = ++lastAddress;
    await writer.transact(newAddress(address));
    for (let next = before; ; next++) {
      if (next === events.length) await once(arrivals, 'event');
      const event = events[next]!;
      if (isOf(event, address)) return true;
      if (event.kind === 'overrun') break;
    }
  }
}

/** Whether something of the flood is missing that no later overrun stands for. */
function hasUntoldLoss(): boolean {
  let expected: number | undefined = 0;
  let isUntold = false;
  for (const event of events) {
    if (event.kind !== 'datagram') {
      expected = undefined;
      isUntold = false;
      continue;
    }
    const bytes = Buffer.from(event.bytes);
    // IFA_LOCAL
    const attribute = bytes.indexOf(Buffer.from([8, 0, 2, 0, 10, 9]));
    if (attribute < 0) continue;
    const address = bytes.readUInt16BE(attribute + 6);
    if (expected !== undefined && address !== expected) isUntold = true;
    expected = address + 1;
  }
  return isUntold || (expected !== undefined && expected !== FLOOD);
}

// Without the sanitizers of this process.
const env = { PATH: process.env['PATH'] };

const seesWrite = await seesAddress();

// Another process multicasts to the group: the kernel lets root do so, and the addon must not pass it on.
const forge =
  'import socket\n' +
  's = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n' +
  `s.sendto(b"\\x10" + bytes(15), (0, 1 << ${RTNLGRP_IPV4_IFADDR - 1}))`;
const beforeForgery = events.length;
execFileSync('python3', ['-c', forge], { env });
await seesAddress();
const forged = events.length - beforeForgery - 1;

// Synchronous, so that nothing is taken off the full queues meanwhile; `stuck` is closed while its thread waits for room.
let stuckEvents = 0;
const stuck = subscribeNetlink(NETLINK_ROUTE, RTNLGRP_IPV4_IFADDR, () => stuckEvents++);
const lines = Array.from({ length: FLOOD }, (_, n) => `addr add 10.9.${n >> 8}.${n & 255}/32 dev lo`);
execFileSync('ip', ['-batch', '-'], { input: lines.join('\n'), env });
stuck.close();
while (!events.some((event) => event.kind === 'overrun')) await once(arrivals, 'event');
const seesWriteAfterOverrun = await seesAddress();
const isLossUntold = hasUntoldLoss();

const closedInside = await new Promise<number>((resolve) => {
  let calls = 0;
  const short = subscribeNetlink(NETLINK_ROUTE, RTNLGRP_IPV4_IFADDR, () => {
    calls++;
    short.close();
    short.close();
    setImmediate(resolve, calls);
  });
  const burst = Buffer.concat([newAddress(0xff01), newAddress(0xff02), newAddress(0xff03)]);
  void writer.transact(burst);
});

subscription.close();
subscription.close();
const atClose = events.length;
await writer.transact(newAddress(0xff04));
await new Promise((resolve) => setImmediate(resolve));
writer.close();

console.log(
  JSON.stringify({
    seesWrite,
    forged,
    stuckEvents,
    seesWriteAfterOverrun,
    isLossUntold,
    closedInside,
    afterClose: events.length - atClose,
  }),
);
