// The tables of iptables-nft, read and written through netlink: a few messages per change, no program is run.

import { KernelError } from '../../errors.ts';
import type { Delta } from '../../mode/iptables/desired.ts';
import type { ChainEdit } from '../../mode/iptables/dispatch.ts';
import type { SharedPlaces } from '../../mode/iptables/full-sync.ts';
import {
  addChainRequests,
  editRequests,
  isIptablesTable,
  nftFamily,
  type OwnedRequest,
  removeRequests,
  tableRequests,
} from '../../mode/iptables/nft-requests.ts';
import { type ChainPlace, chainId } from '../../mode/iptables/planned-chain.ts';
import type { CountedChain } from '../../mode/iptables/rows.ts';
import type { IpFamily } from '../../model/ip.ts';
import { decodeIptablesRule } from '../../netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../netlink/iptables/format.ts';
import type { NetlinkMessage } from '../../netlink/message.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { decodeChain } from '../../netlink/nftables/chain.ts';
import { decodeRule, type Rule } from '../../netlink/nftables/rule.ts';
import { NETLINK_NETFILTER, subscribeNetlink } from '../netlink-socket.ts';
import type { BatchFailure, NftConnection } from '../nft-connection.ts';
import { GroupedBatches } from './grouped-batches.ts';
import { NFNLGRP_NFTABLES, NftWatch, type Subscribe } from './nft-watch.ts';
import type { Applied, ChainsByFamily, IptablesRefusal, IptablesTables, Look } from './tables.ts';

/** Most of one transaction: the kernel's commit lock is held in short pieces. */
const TRANSACTION_BYTES = 4 * 1024 * 1024;

/** Of notifications. What is lost is only the knowledge of who wrote what. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** The rules of chains as they were dumped, by chain: to decode all of a large cluster would take hundreds of MB. */
type Dumped = Map<string, readonly NetlinkMessage[]>;

export class NftIptablesTables implements IptablesTables {
  readonly #connection: NftConnection;
  readonly #onForeignChange: () => void;
  readonly #subscribe: Subscribe;
  readonly #observations = new Map<IpFamily, Dumped>();
  #watch: NftWatch | undefined;
  /** What the ruleset's generation was at `begin`, and one more for every commit of ours since. */
  #generation = 0;

  /** `onForeignChange` is called when somebody else may have changed chains that we have rules in. */
  constructor(
    connection: NftConnection,
    onForeignChange: () => void,
    subscribe: Subscribe = (onEvent) =>
      subscribeNetlink(NETLINK_NETFILTER, NFNLGRP_NFTABLES, onEvent, {
        receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      }),
  ) {
    this.#connection = connection;
    this.#onForeignChange = onForeignChange;
    this.#subscribe = subscribe;
    connection.transport.reserveSendBuffer(TRANSACTION_BYTES);
  }

  async begin(): Promise<void> {
    if (this.#watch?.isBlind) {
      this.#watch.close();
      this.#watch = undefined;
    }
    this.#watch?.settle();
    this.#generation = await this.#connection.generation();
  }

  async observe(family: IpFamily, { isInPlace, only }: Look = {}): Promise<Iterable<CountedChain>> {
    const places = (await this.#places(family)).filter(
      (place) => only === undefined || only.has(chainId(place)),
    );
    const dumped: Dumped = new Map();
    const there: ChainPlace[] = [];
    for await (const { place, messages } of this.#dumpRules(family, places)) {
      // Deleted since it was listed.
      if (messages === undefined) continue;
      if (isInPlace?.(decodeRules(place, messages, family)) === true) continue;
      dumped.set(chainId(place), messages);
      there.push(place);
    }
    this.#observations.set(family, dumped);
    return decodeOneByOne(there, dumped, family);
  }

  async apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied> {
    const dumped = shared === undefined ? undefined : this.#observations.get(family);
    this.#observations.delete(family);
    const edits: (readonly OwnedRequest[])[] = [];
    for (const { edit, handles } of await this.#locate(family, delta.edited, dumped, shared)) {
      const requests = editRequests(family, edit, handles);
      if (requests === undefined) return { refusals: [unlikely(edit, handles)], writes: 0, transactions: 0 };
      edits.push(requests);
    }
    const { sendBufferBytes } = this.#connection.transport;
    const batches = new GroupedBatches(Math.min(sendBufferBytes, TRANSACTION_BYTES), (requests) =>
      this.#commit(requests, family),
    );
    const isDone = (await this.#add(family, delta, batches)) && (await batches.addTogether(edits));
    if (isDone && (await batches.addAll(removeRequests(family, delta.removed)))) await batches.finish();
    return batches.tally;
  }

  async watch(): Promise<void> {
    if (this.#watch !== undefined) return;
    this.#watch = new NftWatch(this.#subscribe, await this.#connection.portId(), this.#onForeignChange);
    // Until now nobody was listening.
    if ((await this.#connection.generation()) !== this.#generation) this.#watch.suspectAll();
  }

  async hasChanged(): Promise<boolean> {
    const changed = await this.#changed();
    return changed === 'all' || changed.size > 0;
  }

  async takeChanged(): Promise<ChainsByFamily | 'all'> {
    const changed = await this.#changed();
    if (changed !== 'all') this.#watch?.settle();
    return changed;
  }

  close(): void {
    this.#watch?.close();
    this.#connection.close();
  }

  async #changed(): Promise<ChainsByFamily | 'all'> {
    if (this.#watch === undefined) return 'all';
    if (this.#watch.hasLost) {
      // Where nobody else has written, it was of our own commits.
      if ((await this.#connection.generation()) === this.#generation) this.#watch.forgiveLoss();
      else this.#watch.suspectAll();
    }
    return this.#watch.changed;
  }

  async #places(family: IpFamily): Promise<ChainPlace[]> {
    const of = nftFamily(family);
    const messages = await this.#connection.dump({ object: 'chains', family: of }, 'list chains');
    return messages.flatMap((message) => {
      const { family: found, table, chain } = decodeChain(message);
      return found === of && isIptablesTable(table) ? [{ table, name: chain }] : [];
    });
  }

  /**
   * Chain by chain: in the dump of a whole table the kernel looks for its place from the beginning for each 32 KiB (10 s with
   * 180,000 rules), and whatever anybody writes meanwhile spoils it.
   */
  async *#dumpRules(
    family: IpFamily,
    places: readonly ChainPlace[],
  ): AsyncGenerator<{ place: ChainPlace; messages: readonly NetlinkMessage[] | undefined }> {
    const requests = places.map(({ table, name }) => {
      return { object: 'rules', family: nftFamily(family), table, chain: name } as const;
    });
    let next = 0;
    for await (const messages of this.#connection.dumps(requests, 'list rules')) {
      yield { place: places[next++]!, messages };
    }
  }

  /** The handles of the rules in each chain to be edited; of a chain that others have rules in, of ours. */
  async #locate(
    family: IpFamily,
    edited: readonly ChainEdit[],
    dumped: Dumped | undefined,
    shared: readonly SharedPlaces[] = [],
  ): Promise<{ edit: ChainEdit; handles: readonly bigint[] }[]> {
    const located: { edit: ChainEdit; handles: readonly bigint[] }[] = [];
    if (dumped === undefined) {
      let next = 0;
      for await (const { messages = [] } of this.#dumpRules(family, edited)) {
        located.push({ edit: edited[next++]!, handles: messages.map(handleOf) });
      }
      return located;
    }
    const places = new Map(shared.map((place) => [chainId(place), place.own]));
    for (const edit of edited) {
      const handles = (dumped.get(chainId(edit)) ?? []).map(handleOf);
      const own = places.get(chainId(edit));
      located.push({ edit, handles: own === undefined ? handles : own.map((index) => handles[index]!) });
    }
    return located;
  }

  /** Nothing leads to new chains yet: they may come in many transactions. */
  async #add(family: IpFamily, { added }: Delta, batches: GroupedBatches): Promise<boolean> {
    let isFirst = true;
    for (const chain of added) {
      if (isFirst && !(await batches.add(tableRequests(family)))) return false;
      isFirst = false;
      if (!(await batches.add(addChainRequests(family, chain)))) return false;
    }
    return true;
  }

  async #commit(
    requests: readonly OwnedRequest[],
    family: IpFamily,
  ): Promise<readonly IptablesRefusal[] | undefined> {
    const failures = await this.#connection.commit(requests.map(({ request }) => request));
    if (failures === undefined) {
      if (requests.length > 1) return undefined;
      throw new KernelError('EMSGSIZE', 90, formatRequest(requests[0]!.request, family));
    }
    if (failures.length === 0) this.#generation++;
    return failures.map((failure) => toRefusal(requests, failure, family));
  }
}

function* decodeOneByOne(
  places: readonly ChainPlace[],
  dumped: Dumped,
  family: IpFamily,
): Generator<CountedChain> {
  for (const place of places) yield decodeRules(place, dumped.get(chainId(place)) ?? [], family);
}

function decodeRules(
  { table, name }: ChainPlace,
  messages: readonly NetlinkMessage[],
  family: IpFamily,
): CountedChain {
  const rules = messages.map(decodeRule);
  return {
    table,
    name,
    rules: rules.map((rule) => decodeIptablesRule(rule, family)),
    packets: rules.map(packetsOf),
  };
}

function packetsOf({ expressions }: Rule): bigint | undefined {
  const counter = expressions.find(({ kind }) => kind === 'counter');
  return counter?.kind === 'counter' ? (counter.packets ?? 0n) : undefined;
}

function handleOf(message: NetlinkMessage): bigint {
  const { handle, chain }: Rule = decodeRule(message);
  if (handle === undefined) throw new KernelError('EPROTO', 71, `list rules of chain ${chain}`, 'no handle');
  return handle;
}

/** Somebody has taken rules away since the plan was made. */
function unlikely({ table, name }: ChainEdit, handles: readonly bigint[]): IptablesRefusal {
  const operation = `edit chain ${table} ${name}: it has ${handles.length} rules`;
  return { error: new KernelError('ESTALE', 116, operation), service: undefined };
}

function toRefusal(
  requests: readonly OwnedRequest[],
  { code, errno, message, origin }: BatchFailure,
  family: IpFamily,
): IptablesRefusal {
  const refused = origin === undefined ? undefined : requests[origin.requestIndex];
  const service = refused?.service;
  const told = refused === undefined ? 'commit' : formatRequest(refused.request, family);
  const operation = service === undefined ? told : `service ${service}: ${told}`;
  return { error: new KernelError(code, errno, operation, message), service };
}

/** `-t nat -A KUBE-SERVICES …`, in the words of iptables. */
function formatRequest(request: NftRequest, family: IpFamily): string {
  const table = `-t ${request.table}`;
  switch (request.op) {
    case 'addRule':
      return `${table} ${formatIptablesRule(request.chain, decodeIptablesRule(request, family), family)}`;
    case 'deleteRule':
      return `${table} -D ${request.chain} (handle ${request.handle})`;
    case 'addChain':
      return `${table} -N ${request.chain}`;
    case 'flushChain':
      return `${table} -F ${request.chain}`;
    case 'deleteChain':
      return `${table} -X ${request.chain}`;
    default:
      return `${table} ${request.op}`;
  }
}
