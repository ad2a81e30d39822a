// rtnetlink: links, the addresses of all devices, and their change events. Long rows of changes go another way
// (change-rows.ts). docs/decisions.md says why the npm package `netlink` is not used for it.

import type { KernelError } from '../../errors.ts';
import { collectDump } from '../../netlink/dump.ts';
import {
  beginMessage,
  endMessage,
  MESSAGE_FLAG,
  type NetlinkMessage,
  splitMessages,
} from '../../netlink/message.ts';
import { Writer } from '../../netlink/writer.ts';
import { NETLINK_ROUTE, type NetlinkTransport, openNetlink, subscribeNetlink } from '../netlink-socket.ts';

export type RtnetlinkEvent =
  | { readonly kind: 'message'; readonly message: NetlinkMessage }
  /** Events were lost before this one: list again. */
  | { readonly kind: 'overrun' }
  /** Nothing more will be told of one of the groups. */
  | { readonly kind: 'error'; readonly error: KernelError };

export class RtnetlinkSocket {
  readonly #transport: NetlinkTransport;
  readonly #subscriptions: { close(): void }[] = [];
  #seq = 1;

  /** Throws KernelError. `onEvent` gets what comes for `groups` (RTNLGRP_*), and must not throw. */
  constructor(groups: readonly number[] = [], onEvent: (event: RtnetlinkEvent) => void = ignore) {
    this.#transport = openNetlink(NETLINK_ROUTE);
    try {
      for (const group of groups) {
        const subscription = subscribeNetlink(NETLINK_ROUTE, group, (event) => {
          if (event.kind !== 'datagram') onEvent(event);
          else for (const message of splitMessages(event.bytes)) onEvent({ kind: 'message', message });
        });
        this.#subscriptions.push(subscription);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * The messages of the answer to one request: `type` is an RTM_* number, `flags` are MESSAGE_FLAG beside request and ack.
   * Rejects with KernelError that names `operation`, DecodeError.
   */
  async request(
    type: number,
    payload: Uint8Array,
    flags: number,
    operation: string,
  ): Promise<readonly NetlinkMessage[]> {
    this.#seq = (this.#seq % 2 ** 31) + 1;
    const seq = this.#seq;
    const writer = new Writer(payload.length + 16);
    const start = beginMessage(writer, type, MESSAGE_FLAG.request | MESSAGE_FLAG.ack | flags, seq);
    writer.bytesOf(payload);
    endMessage(writer, start);
    return collectDump(await this.#transport.transact(writer.bytes()), seq, operation).messages;
  }

  /** Idempotent. Requests without an answer reject with EBADF. */
  close(): void {
    for (const subscription of this.#subscriptions.splice(0)) subscription.close();
    this.#transport.close();
  }
}

function ignore(): void {}
