// Notices which chains somebody else changes, of those that iptables mode has rules in, by nf_tables' own notifications.
// Chains of others in the same tables come and go all the time and mean nothing here.

import { KproxyError } from '../../errors.ts';
import { FIREWALL, isOwnChain } from '../../mode/iptables/names.ts';
import { ipFamily, isIptablesTable } from '../../mode/iptables/nft-requests.ts';
import { chainId } from '../../mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../model/ip.ts';
import { attr, struct } from '../../netlink/attribute.ts';
import { string } from '../../netlink/codec.ts';
import { BASE_CHAINS, type IptablesTable } from '../../netlink/iptables/tables.ts';
import { type NetlinkMessage, splitMessages } from '../../netlink/message.ts';
import { chainNames } from '../../netlink/nftables/chain.ts';
import { decodeMessage, messageType } from '../../netlink/nftables/header.ts';
import * as nft from '../../netlink/nftables/uapi.ts';
import type { NetlinkEvent } from '../netlink-socket.ts';
import type { Subscribe } from '../nft-notifications.ts';
import type { ChainsByFamily } from './tables.ts';

/** Beyond this number of chains, all are looked at. */
const MAX_CHAINS = 1000;

const tableNames = struct({ table: attr(nft.NFTA_TABLE_NAME, string) });
const ruleNames = struct({
  table: attr(nft.NFTA_RULE_TABLE, string),
  chain: attr(nft.NFTA_RULE_CHAIN, string),
});

const NAMES: ReadonlyMap<number, typeof tableNames | typeof chainNames | typeof ruleNames> = new Map([
  // A new table, or other flags of one: it may be dormant.
  [nft.NFT_MSG_NEWTABLE, tableNames],
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
  #changed = new Map<IpFamily, Set<string>>();
  #isAllChanged = false;
  #hasLost = false;
  #isBlind = false;
  #isTold = false;

  /**
   * `ownPortId`: of the socket whose commits are ours. `onChange` is called once after each `settle`, when there is something
   * to look at. Throws KernelError.
   */
  constructor(subscribe: Subscribe, ownPortId: number, onChange: () => void) {
    this.#ownPortId = ownPortId;
    this.#onChange = onChange;
    this.#subscription = subscribe((event) => this.#note(event));
  }

  /** The chains that others have changed since `settle`; 'all' when there is no telling which. */
  get changed(): ChainsByFamily | 'all' {
    return this.#isAllChanged || this.#isBlind ? 'all' : this.#changed;
  }

  /** Notifications since `settle` were lost: they may all have been of our own commits, or not. */
  get hasLost(): boolean {
    return this.#hasLost;
  }

  /** The subscription has ended: whatever happens now, nobody tells. */
  get isBlind(): boolean {
    return this.#isBlind;
  }

  /** There is no telling what others did. */
  suspectAll(): void {
    this.#isAllChanged = true;
    this.#hasLost = false;
    this.#tell();
  }

  /** Nothing that counts was lost. */
  forgiveLoss(): void {
    this.#hasLost = false;
    this.#isTold = this.#isAllChanged || this.#changed.size > 0;
  }

  /** What has changed until now is about to be looked at. */
  settle(): void {
    this.#changed = new Map();
    this.#isAllChanged = false;
    this.#hasLost = false;
    this.#isTold = false;
  }

  close(): void {
    this.#subscription.close();
  }

  #note(event: NetlinkEvent): void {
    if (event.kind === 'error') this.#isBlind = true;
    else if (event.kind === 'overrun') this.#hasLost = true;
    else if (!this.#hasRead(event.bytes)) return;
    this.#tell();
  }

  #tell(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#onChange();
  }

  /** Whether there was something to look at in it. */
  #hasRead(datagram: Uint8Array): boolean {
    let isRelevant = false;
    try {
      for (const message of splitMessages(datagram)) {
        // A datagram tells of one commit. Ours may be large: it is not taken apart.
        if (message.portId === this.#ownPortId) return false;
        if (this.#noteMessage(message)) isRelevant = true;
      }
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
      // What cannot be read may have been about us.
      this.#isAllChanged = true;
      return true;
    }
    return isRelevant;
  }

  #noteMessage(message: NetlinkMessage): boolean {
    const codec = NAMES.get(messageType(message) ?? -1);
    if (codec === undefined) return false;
    const read = decodeMessage('notification', message, codec);
    const { table, chain }: { table?: string; chain?: string } = read;
    const family = ipFamily(read.family);
    if (family === undefined || table === undefined || !isIptablesTable(table)) return false;
    if (chain === undefined) {
      this.#isAllChanged = true;
      return true;
    }
    if (!hasOurRules(table, chain)) return false;
    const chains = this.#changed.get(family) ?? new Set();
    this.#changed.set(family, chains.add(chainId({ table, name: chain })));
    if (chains.size > MAX_CHAINS) this.#isAllChanged = true;
    return true;
  }
}

function hasOurRules(table: IptablesTable, chain: string): boolean {
  return isOwnChain(table, chain) || Object.hasOwn(BASE_CHAINS[table], chain) || chain === FIREWALL;
}
