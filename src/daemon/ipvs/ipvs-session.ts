// One netlink socket used for IPVS: changes in long rows instead of one round trip each, and the kernel's table as plain
// values. Decides nothing. Authority: net/netfilter/ipvs/ip_vs_ctl.c.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { KernelError } from '../../errors.ts';
import { collectDump, collectDumps } from '../../netlink/dump.ts';
import { decodeFamily, encodeFamilyQuery } from '../../netlink/genetlink/family.ts';
import { ChangeEncoder } from '../../netlink/ipvs/change-encoder.ts';
import {
  decodeInfo,
  decodeRealServer,
  decodeTimeouts,
  decodeVirtualServer,
} from '../../netlink/ipvs/decode.ts';
import {
  encodeDestDump,
  encodeInfoQuery,
  encodeServiceDump,
  encodeTimeouts,
  encodeTimeoutsQuery,
} from '../../netlink/ipvs/encode.ts';
import { formatRequest } from '../../netlink/ipvs/format.ts';
import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import type {
  IpvsInfo,
  IpvsTimeouts,
  ListedMarkedServer,
  ListedRealServer,
  ListedVirtualServer,
  TableEntry,
} from '../../netlink/ipvs/table.ts';
import { IPVS_GENL_NAME } from '../../netlink/ipvs/uapi.ts';
import type { MarkedServerKey, VirtualServerKey } from '../../netlink/ipvs/virtual-server.ts';
import type { NetlinkMessage } from '../../netlink/message.ts';
import { NETLINK_GENERIC, type NetlinkTransport, openNetlink } from '../netlink-socket.ts';
import { ROW_RECEIVE_BUFFER_BYTES, sendInRows } from './change-rows.ts';

/** Code of the KernelError that tells that the kernel has no IPVS, or has not loaded it. */
export const NO_IPVS = 'NO_IPVS';

/** Some milliseconds, after which others get their turn. */
const DUMPS_AT_ONCE = 256;

/** Longest stretch of reading before other events get their turn. */
const SLICE_MS = 15;

/** Sequence numbers have 32 bits: from here on they begin anew, so that those of a row never wrap around. */
const LAST_FIRST_SEQ = 2 ** 31;

export interface SentMessages {
  /** Requests to change something. */
  readonly changes: number;
  /** Dumps and queries. */
  readonly questions: number;
}

export class IpvsSession {
  readonly #transport: NetlinkTransport;
  #familyId = 0;
  #seq = 1;
  #changes = 0;
  #questions = 0;

  private constructor(transport: NetlinkTransport) {
    this.#transport = transport;
  }

  /**
   * Asks the kernel for IPVS; owns the transport from then on. Rejects with KernelError: with the code NO_IPVS where the kernel
   * has none.
   */
  static async open(
    transport: NetlinkTransport = openNetlink(NETLINK_GENERIC, {
      receiveBufferBytes: ROW_RECEIVE_BUFFER_BYTES,
    }),
  ): Promise<IpvsSession> {
    const session = new IpvsSession(transport);
    try {
      session.#familyId = await session.#findFamily();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Netlink messages since the session was opened. */
  get sent(): SentMessages {
    return { changes: this.#changes, questions: this.#questions };
  }

  /**
   * Carries out changes in their order. One result per request: undefined when it is in force, otherwise what the kernel
   * said; a refusal keeps nothing after it from being done. Rejects with KernelError, DecodeError when the outcome is not
   * known (the socket failed): some may be in force then.
   */
  async apply(requests: readonly IpvsRequest[]): Promise<(KernelError | undefined)[]> {
    this.#changes += requests.length;
    const encoder = new ChangeEncoder(this.#familyId);
    const failures = await sendInRows(
      this.#transport,
      requests,
      (count) => this.#takeSeq(count),
      (writer, request, seq, isAcked) => encoder.encode(writer, request, seq, isAcked),
    );
    return failures.map((failure, i) => {
      if (failure === undefined) return undefined;
      const { code, errno, message } = failure;
      return new KernelError(code, errno, formatRequest(requests[i]!), message);
    });
  }

  /**
   * Everything that is there, of whomever. IPVS does not tell when its table changes during a dump: what others add or delete
   * meanwhile may be there, be missing, or make a neighbour be missing. Rejects with KernelError, DecodeError.
   */
  async table(): Promise<TableEntry[]> {
    const servers = await this.virtualServers();
    const realServers = await this.realServers(servers);
    return servers.map((server, i) => ({ server, realServers: realServers[i]! }));
  }

  /** The virtual servers alone. */
  async virtualServers(): Promise<(ListedVirtualServer | ListedMarkedServer)[]> {
    const operation = 'list virtual servers';
    const messages = await this.#ask((seq) => encodeServiceDump(this.#familyId, seq), operation);
    return this.#decodeAll(messages, decodeVirtualServer);
  }

  /** The real servers of each virtual server, in their order; none for one that is not there. */
  async realServers(of: readonly (VirtualServerKey | MarkedServerKey)[]): Promise<ListedRealServer[][]> {
    const lists: ListedRealServer[][] = [];
    for (let start = 0; start < of.length; start += DUMPS_AT_ONCE) {
      const some = of.slice(start, start + DUMPS_AT_ONCE);
      for (const messages of await this.#dumpDests(some)) {
        lists.push(messages.flatMap((message) => decodeRealServer(message) ?? []));
      }
    }
    return lists;
  }

  async timeouts(): Promise<IpvsTimeouts> {
    const operation = 'get IPVS timeouts';
    const [message] = await this.#ask((seq) => encodeTimeoutsQuery(this.#familyId, seq), operation);
    return decodeTimeouts(required(message, operation));
  }

  /** Sets those that are not 0, for connections of anybody. */
  async setTimeouts(timeouts: IpvsTimeouts): Promise<void> {
    await this.#ask((seq) => encodeTimeouts(this.#familyId, timeouts, seq), 'set IPVS timeouts');
  }

  async info(): Promise<IpvsInfo> {
    const operation = 'get IPVS info';
    const [message] = await this.#ask((seq) => encodeInfoQuery(this.#familyId, seq), operation);
    return decodeInfo(required(message, operation));
  }

  close(): void {
    this.#transport.close();
  }

  async #findFamily(): Promise<number> {
    const operation = 'find IPVS';
    try {
      const [message] = await this.#ask((seq) => encodeFamilyQuery(IPVS_GENL_NAME, seq), operation);
      return decodeFamily(required(message, operation)).id;
    } catch (cause) {
      if (!(cause instanceof KernelError) || cause.code !== 'ENOENT') throw cause;
      throw new KernelError(NO_IPVS, cause.errno, operation, 'the kernel module ip_vs is not loaded', {
        cause,
      });
    }
  }

  /** The messages of the answer to one question. */
  async #ask(encode: (seq: number) => Uint8Array, operation: string): Promise<readonly NetlinkMessage[]> {
    const seq = this.#takeSeq(1);
    this.#questions++;
    return collectDump(await this.#transport.transact(encode(seq)), seq, operation).messages;
  }

  /**
   * Asked one right after the other, without coming back here in between. A dump that is still going on when the next is
   * asked for, because the transport does not wait, refuses that one (EBUSY): it is asked again, alone.
   */
  async #dumpDests(
    of: readonly (VirtualServerKey | MarkedServerKey)[],
  ): Promise<(readonly NetlinkMessage[])[]> {
    const operation = 'list real servers';
    const firstSeq = this.#takeSeq(of.length);
    this.#questions += of.length;
    const questions = of.map((key, i) => encodeDestDump(this.#familyId, key, firstSeq + i));
    const sizes = Uint32Array.from(questions, ({ length }) => length);
    const replies = await this.#transport.transact(Buffer.concat(questions), sizes);
    const lists: (readonly NetlinkMessage[])[] = [];
    for (const [i, dump] of collectDumps(replies, firstSeq, of.length).entries()) {
      if (dump === undefined || dump.failure?.code === 'EBUSY') {
        lists.push(await this.#ask((seq) => encodeDestDump(this.#familyId, of[i]!, seq), operation));
      } else if (dump.failure !== undefined) {
        const { code, errno, message } = dump.failure;
        throw new KernelError(code, errno, operation, message);
      } else {
        lists.push(dump.messages);
      }
    }
    return lists;
  }

  /** Lets others have their turn now and then: there may be tens of thousands. */
  async #decodeAll<T>(
    messages: readonly NetlinkMessage[],
    decode: (message: NetlinkMessage) => T | undefined,
  ): Promise<T[]> {
    const values: T[] = [];
    let sliceEndMs = performance.now() + SLICE_MS;
    for (const message of messages) {
      const value = decode(message);
      if (value !== undefined) values.push(value);
      if (performance.now() < sliceEndMs) continue;
      await nextTurn();
      sliceEndMs = performance.now() + SLICE_MS;
    }
    return values;
  }

  /** The first of `count` sequence numbers. */
  #takeSeq(count: number): number {
    if (this.#seq > LAST_FIRST_SEQ) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }
}

function required(message: NetlinkMessage | undefined, operation: string): NetlinkMessage {
  if (message === undefined) throw new KernelError('EPROTO', 71, operation, 'no answer');
  return message;
}
