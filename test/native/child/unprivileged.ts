// Run without CAP_NET_ADMIN.

import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  openNetlink,
  subscribeNetlink,
} from '../../../src/daemon/netlink-socket.ts';
import { failureOf, getGeneration, noop } from './requests.ts';

const NFNLGRP_NFTABLES = 7;
const subscription = await failureOf(() => subscribeNetlink(NETLINK_NETFILTER, NFNLGRP_NFTABLES, () => {}));

const wanted = 1 << 30;
const route = openNetlink(NETLINK_ROUTE);
const reserved = route.reserveSendBuffer(wanted);
const tooLarge = await failureOf(() => route.transact(noop(reserved + 1)));
route.close();

const nftables = openNetlink(NETLINK_NETFILTER);
const [reply] = await nftables.transact(getGeneration(1));
nftables.close();
const nlmsgerr = reply === undefined ? undefined : Buffer.from(reply).readInt32LE(16);

console.log(JSON.stringify({ subscription, isShort: reserved < wanted, tooLarge, nlmsgerr }));
