// The nf_tables of a kernel in which nobody else writes: takes the bytes that the daemon sends and answers as netlink does
// (net/netfilter/nf_tables_api.c), so that what is traced is what went through the codecs. It refuses nothing quietly: a
// batch that the kernel would refuse is an error of the test.

import type { NetlinkTransport } from '../../src/daemon/netlink-socket.ts';
import { encodeAttribute } from '../../src/netlink/attribute.ts';
import { u32be } from '../../src/netlink/codec.ts';
import type { NetlinkMessage } from '../../src/netlink/message.ts';
import {
  beginMessage,
  endMessage,
  MESSAGE_FLAG,
  MESSAGE_TYPE,
  splitMessages,
} from '../../src/netlink/message.ts';
import { encodeBatch, type NftRequest } from '../../src/netlink/nftables/batch.ts';
import { decodeChain } from '../../src/netlink/nftables/chain.ts';
import { decodeSetElements } from '../../src/netlink/nftables/element.ts';
import { type AnyFamily, NFPROTO, type NftFamily } from '../../src/netlink/nftables/family.ts';
import { beginRequest, messageType } from '../../src/netlink/nftables/header.ts';
import { decodeRule } from '../../src/netlink/nftables/rule.ts';
import { decodeSet } from '../../src/netlink/nftables/set.ts';
import { decodeTable } from '../../src/netlink/nftables/table.ts';
import * as nft from '../../src/netlink/nftables/uapi.ts';
import { Writer } from '../../src/netlink/writer.ts';
import { TracedTable } from './nft-ruleset.ts';
import { PacketState } from './packet-state.ts';

export class TracedKernel implements NetlinkTransport {
  readonly sendBufferBytes = 1 << 24;
  readonly #tables = new Map<AnyFamily, TracedTable>();
  #generation = 1;
  /** What packets have left behind. */
  state = new PacketState();

  /** The only table of a family, without rules while there is none. */
  table(family: NftFamily): TracedTable {
    return this.#tables.get(family) ?? new TracedTable('');
  }

  reserveSendBuffer(): number {
    return this.sendBufferBytes;
  }

  close(): void {}

  async transact(request: Uint8Array): Promise<Uint8Array[]> {
    const [first, ...others] = splitMessages(request);
    if (first === undefined) return [];
    if (first.type === nft.NFNL_MSG_BATCH_BEGIN) {
      for (const message of others) if (message.type !== nft.NFNL_MSG_BATCH_END) this.#change(message);
      for (const table of this.#tables.values()) table.checkLoops();
      this.#generation++;
      return [];
    }
    return [this.#answer(first)];
  }

  #change(message: NetlinkMessage): void {
    const flags = message.flags;
    switch (messageType(message)) {
      case nft.NFT_MSG_NEWTABLE: {
        const { family, table } = decodeTable(message);
        const before = this.#tables.get(family);
        if (before !== undefined && before.name !== table) throw new Error('several tables are not traced');
        if (before === undefined) this.#tables.set(family, new TracedTable(table));
        return;
      }
      case nft.NFT_MSG_DELTABLE: {
        const { family, table } = decodeTable(message);
        this.#in(family, table);
        this.#tables.delete(family);
        return;
      }
      case nft.NFT_MSG_NEWCHAIN: {
        const { family, table, chain, base } = decodeChain(message);
        this.#in(family, table).addChain(chain, base);
        return;
      }
      case nft.NFT_MSG_DELCHAIN: {
        const { family, table, chain } = decodeChain(message);
        this.#in(family, table).deleteChain(chain);
        return;
      }
      case nft.NFT_MSG_NEWRULE: {
        const { family, table, chain, expressions, handle, position } = decodeRule(message);
        if ((flags & MESSAGE_FLAG.append) === 0 || handle !== undefined || position !== undefined)
          throw new Error('a rule that is not appended is not traced');
        this.#in(family, table).appendRule(chain, expressions);
        return;
      }
      case nft.NFT_MSG_DELRULE: {
        const { family, table, chain, handle } = decodeRule(message);
        const { rules } = this.#in(family, table).chain(chain);
        const at = rules.findIndex((rule) => rule.handle === handle);
        if (handle === undefined) rules.length = 0;
        else if (at >= 0) rules.splice(at, 1);
        else throw new Error(`no rule ${handle} in ${chain}`);
        return;
      }
      case nft.NFT_MSG_NEWSET: {
        const { family, table, set, declaration } = decodeSet(message);
        this.#in(family, table).addSet(set, declaration);
        return;
      }
      case nft.NFT_MSG_DELSET: {
        const { family, table, set } = decodeSet(message);
        this.#in(family, table).deleteSet(set);
        return;
      }
      case nft.NFT_MSG_NEWSETELEM:
      case nft.NFT_MSG_DELSETELEM:
        this.#changeElements(message);
        return;
      default:
        throw new Error(`message ${message.type} is not traced`);
    }
  }

  /** Packets and the daemon may write the same set: a deletion takes away what either has put in. */
  #changeElements(message: NetlinkMessage): void {
    const { family, table, set: name, elements } = decodeSetElements(message);
    const set = this.#in(family, table).set(name);
    if (messageType(message) === nft.NFT_MSG_NEWSETELEM) {
      const isExclusive = (message.flags & MESSAGE_FLAG.exclusive) !== 0;
      for (const element of elements) {
        const present = set.get(element);
        const isSame = present?.data === element.data && present?.keyEnd === element.keyEnd;
        if (present !== undefined && (isExclusive || !isSame))
          throw new Error(`${name} has another of this key`);
        set.add(element);
      }
      return;
    }
    if (elements.length === 0) {
      set.clear();
      this.state.forget(set);
    }
    for (const element of elements) if (!this.state.delete(set, element.key)) set.delete(element);
  }

  #in(family: AnyFamily, table: string): TracedTable {
    const present = this.#tables.get(family);
    if (present?.name !== table) throw new Error(`no table ${family} ${table}`);
    return present;
  }

  #answer(message: NetlinkMessage): Uint8Array {
    const asked = message.payload[0];
    const tables = [...this.#tables].filter(([family]) => asked === 0 || NFPROTO[family] === asked);
    const requests = (
      describe: (at: { family: NftFamily; table: string }, table: TracedTable) => NftRequest[],
    ) =>
      tables.flatMap(([family, table]) =>
        describe({ family: family as NftFamily, table: table.name }, table),
      );
    switch (messageType(message)) {
      case nft.NFT_MSG_GETGEN:
        return this.#generationReply(message.seq);
      case nft.NFT_MSG_GETTABLE:
        return dump(
          message.seq,
          requests((at) => [{ op: 'addTable', ...at }]),
        );
      case nft.NFT_MSG_GETCHAIN:
        return dump(
          message.seq,
          requests((at, { chains }) =>
            [...chains].map(([chain, { base }]) => ({ op: 'addChain', ...at, chain, ...(base && { base }) })),
          ),
        );
      case nft.NFT_MSG_GETRULE:
        return dump(
          message.seq,
          requests((at, { chains }) =>
            [...chains].flatMap(([chain, { rules }]) =>
              rules.map(({ handle, expressions }) => ({ op: 'addRule', ...at, chain, handle, expressions })),
            ),
          ),
        );
      case nft.NFT_MSG_GETSET:
        return dump(
          message.seq,
          requests((at, { sets }) =>
            [...sets].map(([set, { declaration }]) => ({ op: 'addSet', ...at, set, ...declaration })),
          ),
        );
      case nft.NFT_MSG_GETSETELEM:
        return this.#elementsReply(message);
      default:
        throw new Error(`request ${message.type} is not traced`);
    }
  }

  /** All of a set, or those that were asked for by key. */
  #elementsReply(message: NetlinkMessage): Uint8Array {
    const { family, table, set: name, elements: asked } = decodeSetElements(message);
    const set = this.#in(family, table).set(name);
    const isDump = (message.flags & MESSAGE_FLAG.dump) === MESSAGE_FLAG.dump;
    const all = [...set.elements, ...this.state.elements(set)];
    const elements = isDump ? all : all.filter(({ key }) => asked.some((one) => one.key === key));
    if (elements.length === 0) return dump(message.seq, []);
    return dump(message.seq, [
      { op: 'addElements', family: family as NftFamily, table, set: name, elements },
    ]);
  }

  #generationReply(seq: number): Uint8Array {
    const writer = new Writer(64);
    const start = beginRequest(writer, nft.NFT_MSG_NEWGEN, 0, seq, 'unspecified');
    encodeAttribute(writer, nft.NFTA_GEN_ID, u32be, this.#generation);
    endMessage(writer, start);
    return Buffer.concat([writer.bytes(), end(seq)]);
  }
}

/** A dump of an object says the same as the request that would make it. */
function dump(seq: number, requests: readonly NftRequest[]): Uint8Array {
  const { bytes } = encodeBatch(requests, { firstSeq: 1 });
  const writer = new Writer(bytes.length + 64);
  for (const { type, payload } of splitMessages(bytes)) {
    if (type === nft.NFNL_MSG_BATCH_BEGIN || type === nft.NFNL_MSG_BATCH_END) continue;
    const start = beginMessage(writer, type, 0, seq);
    writer.binary(String.fromCharCode(...payload));
    endMessage(writer, start);
  }
  return Buffer.concat([writer.bytes(), end(seq)]);
}

function end(seq: number): Uint8Array {
  const writer = new Writer(64);
  endMessage(writer, beginMessage(writer, MESSAGE_TYPE.done, 0, seq));
  return writer.bytes();
}
