// A worker thread that is busy with the addon until it is terminated. Uses the addon directly, so that a
// transaction is always in flight.

import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';

const addon = createRequire(import.meta.url)('../../../native/load.cjs').loadAddon();
const NETLINK_ROUTE = 0;
const RTNLGRP_IPV4_IFADDR = 5;

// RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP
const dump = new Uint8Array(24);
dump.set([24, 0, 0, 0, 22, 0, 1, 3]);
dump[16] = 2;

addon.subscribe(NETLINK_ROUTE, RTNLGRP_IPV4_IFADDR, 0, () => {});
addon.open(NETLINK_ROUTE);
const readiness = addon.openReadiness(new Float64Array(4), () => {});
for (let n = 0; n < 3; n++) {
  const socket = addon.open(NETLINK_ROUTE);
  addon.watchReadiness(readiness, addon.descriptor(socket), n);
  void repeat(socket);
}

async function repeat(socket) {
  for (let n = 0; ; n++) {
    await addon.transact(socket, dump, 1 << 24);
    if (n === 2) parentPort.postMessage('busy');
  }
}
