// A subscription that nobody holds goes on, as a listening server does. Needs --expose-gc.

import { setImmediate } from 'node:timers/promises';
import { loadAddon } from '../../../native/load.cjs';
import { NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { newAddress, RTNLGRP_IPV4_IFADDR } from './requests.ts';

// The wrapper's own closures would hold the handle.
const addon = loadAddon();
const notified = new Promise<number>((resolve) => {
  addon.subscribe(NETLINK_ROUTE, RTNLGRP_IPV4_IFADDR, 0, resolve);
});
for (let round = 0; round < 10; round++) {
  globalThis.gc?.();
  await setImmediate();
}
const route = openNetlink(NETLINK_ROUTE);
await route.transact(newAddress(1));

console.log(JSON.stringify({ errno: await notified }));
// The subscription would keep the process alive, and can no longer be closed.
process.exit(0);
