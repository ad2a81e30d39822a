// Runs inside a network namespace: sends each line of hex on standard input as one datagram to nf_tables, and answers
// with a line of JSON: the replies in hex, or the error's code. Notifications are lines of their own on standard error.

import { createInterface } from 'node:readline';
import { NETLINK_NETFILTER, openNetlink, subscribeNetlink } from '../../../src/daemon/netlink-socket.ts';
import { KproxyError } from '../../../src/errors.ts';
import { NFNLGRP_NFTABLES } from '../../../src/netlink/nftables/uapi.ts';

const socket = openNetlink(NETLINK_NETFILTER);
socket.reserveSendBuffer(64 * 1024 * 1024);
const subscription = subscribeNetlink(NETLINK_NETFILTER, NFNLGRP_NFTABLES, (event) => {
  console.error(event.kind === 'datagram' ? Buffer.from(event.bytes).toString('hex') : event.kind);
});
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const replies = await socket.transact(Buffer.from(line, 'hex'));
    console.log(JSON.stringify({ replies: replies.map((reply) => Buffer.from(reply).toString('hex')) }));
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    console.log(JSON.stringify({ code: error.code }));
  }
}
subscription.close();
socket.close();
