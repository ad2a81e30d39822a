// Run by remote-netlink.ts inside a network namespace: passes requests on to a netlink socket there, and its replies
// back, and the notifications of a group. Ends with the process that started it.

import { createRequire } from 'node:module';

const { loadAddon } = createRequire(import.meta.url)('../../native/load.cjs');
const NETLINK_NETFILTER = 12;

const addon = loadAddon();
const socket = addon.open(NETLINK_NETFILTER);
// As the daemon has it.
addon.receiveBuffer(socket, 2 ** 23);
let previous = Promise.resolve();
let handle;

process.on('disconnect', () => process.exit());
process.on('message', ({ id, request, sizes, group, subscription }) => {
  if (group !== undefined) {
    if (handle !== undefined) addon.unsubscribe(handle);
    handle = addon.subscribe(NETLINK_NETFILTER, group, 2 ** 22, (errno, bytes) =>
      process.send({ event: { errno, bytes, subscription } }),
    );
    return;
  }
  previous = previous
    .then(() => addon.transact(socket, request, 2 ** 29, sizes))
    .then((replies) => process.send({ id, replies }))
    .catch(({ errno, syscall, replies = [] }) => process.send({ id, failure: { errno, syscall, replies } }));
});
process.send({ sendBufferBytes: addon.sendBuffer(socket, 2 ** 24) });
