// nf_tables' own notifications: what each commit of anybody changed.

import { NFNLGRP_NFTABLES } from '../netlink/nftables/uapi.ts';
import { NETLINK_NETFILTER, type NetlinkEvent, subscribeNetlink } from './netlink-socket.ts';

/** Of notifications. What is lost is only the knowledge of who wrote what. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** Calls back for each event of the group until it is closed. Throws KernelError. */
export type Subscribe = (onEvent: (event: NetlinkEvent) => void) => { close(): void };

export const subscribeNftables: Subscribe = (onEvent) =>
  subscribeNetlink(NETLINK_NETFILTER, NFNLGRP_NFTABLES, onEvent, {
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
  });
