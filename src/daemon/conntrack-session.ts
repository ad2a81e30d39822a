// One netlink socket used for connection tracking: find flows, delete flows. Decides nothing.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { KernelError } from '../errors.ts';
import { type IpFamily, unpackIp } from '../model/ip.ts';
import { readFlowDump } from '../netlink/conntrack/dump.ts';
import type { Flow, FlowTuple } from '../netlink/conntrack/flow.ts';
import {
  encodeFlowDeletion,
  encodeFlowDump,
  encodeStatsQuery,
  type FlowFilter,
} from '../netlink/conntrack/request.ts';
import { decodeFailures, type NetlinkFailure } from '../netlink/message.ts';
import { Writer } from '../netlink/writer.ts';
import { NETLINK_NETFILTER, type NetlinkTransport, openNetlink } from './netlink-socket.ts';

/** Longest stretch of reading flows before other events get their turn. */
const SLICE_MS = 15;

/** Deletions sent at once: their acks, about 1 KB each as the kernel accounts them, must fit the receive buffer. */
const DELETIONS_PER_REQUEST = 128;

/** Code of the KernelError that tells that the kernel has no ctnetlink. */
export const NO_CTNETLINK = 'NO_CTNETLINK';

export interface FoundFlows {
  readonly flows: readonly Flow[];
  /** The kernel's table changed while it was read: some may be missing. */
  readonly isInterrupted: boolean;
}

export interface Deletion {
  readonly deleted: number;
  /** The first of the kernel's refusals. */
  readonly refusal: KernelError | undefined;
}

export class ConntrackSession {
  readonly #transport: NetlinkTransport;
  #seq = 1;

  constructor(transport: NetlinkTransport = openNetlink(NETLINK_NETFILTER)) {
    this.#transport = transport;
  }

  /**
   * The flows of a family that `isWanted` accepts; `filter` only spares the kernel others. Throws KernelError (with the
   * code NO_CTNETLINK where no retry will help), DecodeError.
   */
  async find(family: IpFamily, filter: FlowFilter, isWanted: (flow: Flow) => boolean): Promise<FoundFlows> {
    const operation = `list IPv${family} flows`;
    try {
      return await this.#find(family, filter, isWanted, operation);
    } catch (cause) {
      // What a kernel without ctnetlink answers (nfnetlink_rcv_msg) is also what it answers to a mistake in a request.
      if (!(cause instanceof KernelError) || cause.code !== 'EINVAL' || (await this.isSupported()))
        throw cause;
      throw new KernelError(NO_CTNETLINK, cause.errno, operation, undefined, { cause });
    }
  }

  /**
   * Deletes flows that were found, all that can be; one that is gone already is fine. Throws KernelError when the socket
   * failed.
   */
  async delete(flows: readonly Flow[]): Promise<Deletion> {
    let refusal: KernelError | undefined;
    let deleted = 0;
    for (let start = 0; start < flows.length; start += DELETIONS_PER_REQUEST) {
      const some = flows.slice(start, start + DELETIONS_PER_REQUEST);
      const firstSeq = this.#nextSeq(some.length);
      const writer = new Writer();
      some.forEach((flow, index) => {
        encodeFlowDeletion(writer, flow, firstSeq + index);
      });
      const failures = decodeFailures(await this.#transport.transact(writer.bytes()));
      deleted += some.length - failures.length;
      for (const failure of failures) {
        if (failure.code !== 'ENOENT') refusal ??= toKernelError(failure, some[failure.seq - firstSeq]);
      }
    }
    return { deleted, refusal };
  }

  close(): void {
    this.#transport.close();
  }

  async #find(
    family: IpFamily,
    filter: FlowFilter,
    isWanted: (flow: Flow) => boolean,
    operation: string,
  ): Promise<FoundFlows> {
    const seq = this.#nextSeq();
    const replies = await this.#transport.transact(encodeFlowDump(family, filter, seq));
    const dump = readFlowDump(replies, seq, operation);
    const flows: Flow[] = [];
    let sliceEndMs = performance.now() + SLICE_MS;
    for (let step = dump.next(); ; step = dump.next()) {
      if (step.done) return { flows, isInterrupted: step.value };
      for (const flow of step.value) if (isWanted(flow)) flows.push(flow);
      if (performance.now() < sliceEndMs) continue;
      await nextTurn();
      sliceEndMs = performance.now() + SLICE_MS;
    }
  }

  /** Whether the kernel answers the simplest of questions; which loads connection tracking, where it is a module. Throws KernelError. */
  async isSupported(): Promise<boolean> {
    const failures = decodeFailures(await this.#transport.transact(encodeStatsQuery(this.#nextSeq())));
    return failures.every(({ code }) => code !== 'EINVAL');
  }

  /** The first of `count` sequence numbers; they wrap around, as in the messages. */
  #nextSeq(count = 1): number {
    if (this.#seq + count > 2 ** 32) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }
}

function toKernelError({ code, errno, message }: NetlinkFailure, flow: Flow | undefined): KernelError {
  const told = flow === undefined ? '' : ` ${formatFlow(flow)}`;
  return new KernelError(code, errno, `delete flow${told}`, message);
}

/** `10.1.0.15 40000 -> 10.96.0.10 53, answered by 10.1.0.11 5353` */
function formatFlow({ original, reply }: Flow): string {
  const end = (ip: string, port: FlowTuple['sourcePort']) => `${unpackIp(ip)} ${port ?? '-'}`;
  return (
    `${end(original.source, original.sourcePort)} -> ${end(original.destination, original.destinationPort)}, ` +
    `answered by ${end(reply.source, reply.sourcePort)}`
  );
}
