// Notices when somebody else changes chains that iptables mode has rules in, by nf_tables' own notifications. Rules of
// others in tables and chains of others come and go all the time and mean nothing here.

import { KproxyError } from '../../errors.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import { attr, struct } from '../../netlink/attribute.ts';
import { string } from '../../netlink/codec.ts';
import { BASE_CHAINS, type IptablesTable } from '../../netlink/iptables/tables.ts';
import { type NetlinkMessage, splitMessages } from '../../netlink/message.ts';
import { decodeMessage, messageType } from '../../netlink/nftables/header.ts';
import * as nft from '../../netlink/nftables/uapi.ts';
import { NETLINK_NETFILTER, subscribeNetlink } from '../netlink-socket.ts';

/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;

/** What is lost is only the knowledge of who wrote: then everything is compared. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

const tableNames = struct({ table: attr(nft.NFTA_TABLE_NAME, string) });
const chainNames = struct({
  table: attr(nft.NFTA_CHAIN_TABLE, string),
  chain: attr(nft.NFTA_CHAIN_NAME, string),
});
const ruleNames = struct({
  table: attr(nft.NFTA_RULE_TABLE, string),
  chain: attr(nft.NFTA_RULE_CHAIN, string),
});

const NAMES: ReadonlyMap<number, typeof tableNames | typeof chainNames | typeof ruleNames> = new Map([
  [nft.NFT_MSG_DELTABLE, tableNames],
  [nft.NFT_MSG_NEWCHAIN, chainNames],
  [nft.NFT_MSG_DELCHAIN, chainNames],
  [nft.NFT_MSG_NEWRULE, ruleNames],
  [nft.NFT_MSG_DELRULE, ruleNames],
] as const);

export class NftWatch {
  readonly #subscription: { close(): void };
  readonly #ownPortId: number;
  readonly #onChange: () => void;
  #hasChanged = false;
  /** The subscription ended: whatever happens now, nobody tells. */
  #isBlind = false;

  /** `ownPortId`: of the socket whose commits are ours. `onChange` is called once per change, until `settle`. Throws KernelError. */
  constructor(ownPortId: number, onChange: () => void) {
    this.#ownPortId = ownPortId;
    this.#onChange = onChange;
    this.#subscription = subscribeNetlink(
      NETLINK_NETFILTER,
      NFNLGRP_NFTABLES,
      (event) => {
        if (event.kind === 'error') this.#isBlind = true;
        if (event.kind !== 'datagram' || this.#concerns(event.bytes)) this.#note();
      },
      { receiveBufferBytes: RECEIVE_BUFFER_BYTES },
    );
  }

  get hasChanged(): boolean {
    return this.#hasChanged || this.#isBlind;
  }

  /** The tables are about to be read: what was noted until now will be seen. */
  settle(): void {
    this.#hasChanged = false;
  }

  close(): void {
    this.#subscription.close();
  }

  #note(): void {
    if (this.#hasChanged) return;
    this.#hasChanged = true;
    this.#onChange();
  }

  #concerns(datagram: Uint8Array): boolean {
    try {
      return splitMessages(datagram).some(
        (message) => message.portId !== this.#ownPortId && isAboutUs(message),
      );
    } catch (error) {
      // What cannot be read may have been about us.
      if (error instanceof KproxyError) return true;
      throw error;
    }
  }
}

function isAboutUs(message: NetlinkMessage): boolean {
  const codec = NAMES.get(messageType(message) ?? -1);
  if (codec === undefined) return false;
  const { table, chain }: { table?: string; chain?: string } = decodeMessage('notification', message, codec);
  if (table === undefined || !Object.hasOwn(BASE_CHAINS, table)) return false;
  return (
    chain === undefined ||
    Object.hasOwn(BASE_CHAINS[table as IptablesTable], chain) ||
    isOwnChain(table as IptablesTable, chain)
  );
}
