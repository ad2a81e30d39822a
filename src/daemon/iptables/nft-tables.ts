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
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import { isRuleOf } from '../../netlink/iptables/same-rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import type { NetlinkMessage } from '../../netlink/message.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { chainNames } from '../../netlink/nftables/chain.ts';
import { decodeMessage } from '../../netlink/nftables/header.ts';
import { decodeRule, decodeRuleHandle, type Rule } from '../../netlink/nftables/rule.ts';
import type { BatchFailure, NftConnection } from '../nft-connection.ts';
import { type Subscribe, subscribeNftables } from '../nft-notifications.ts';
import { GroupedBatches } from './grouped-batches.ts';
import { NftWatch } from './nft-watch.ts';
import type { Applied, ChainsByFamily, IptablesRefusal, IptablesTables } from './tables.ts';

/** Most of one transaction: the kernel's commit lock is held in short pieces. */
const TRANSACTION_BYTES = 4 * 1024 * 1024;

/** The handles of the rules of chains, by chainId. */
type Handles = Map<string, readonly bigint[]>;

export class NftIptablesTables implements IptablesTables {
  readonly #connection: NftConnection;
  readonly #onForeignChange: () => void;
  readonly #subscribe: Subscribe;
  /** Of the chains that a plan may edit. */
  readonly #observed = new Map<IpFamily, Handles>();
  #watch: NftWatch | undefined;
  /** What the ruleset's generation was at `begin`, and one more for every commit of ours since. */
  #generation = 0;

  /** `onForeignChange` is called when somebody else may have changed chains that we have rules in. */
  constructor(
    connection: NftConnection,
    onForeignChange: () => void,
    subscribe: Subscribe = subscribeNftables,
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

  async list(family: IpFamily): Promise<readonly ChainPlace[]> {
    const of = nftFamily(family);
    const all = await this.#connection.collect({ object: 'chains', family: of }, 'list chains', (message) => {
      const { family: found, table, chain } = decodeMessage('chain', message, chainNames);
      return found === of && isIptablesTable(table) ? { table, name: chain } : undefined;
    });
    return all.filter((place) => place !== undefined);
  }

  async observe(
    family: IpFamily,
    see: (chain: CountedChain) => boolean,
    only?: readonly ChainPlace[],
  ): Promise<void> {
    const handles: Handles = this.#observed.get(family) ?? new Map();
    this.#observed.set(family, handles);
    const show = (place: ChainPlace, messages: readonly NetlinkMessage[]): void => {
      if (see(new DumpedChain(place, messages, family)))
        handles.set(chainId(place), messages.map(decodeRuleHandle));
    };
    // They have no rules, or are not there, or no more.
    const empty: ChainPlace[] = [];
    await this.#dumpRules(family, only ?? (await this.list(family)), (place, messages) => {
      if (messages.length === 0) empty.push(place);
      else show(place, messages);
    });
    const chainAt = ({ table, name }: ChainPlace) =>
      ({ object: 'chain', family: nftFamily(family), table, chain: name }) as const;
    let next = 0;
    for await (const answers of this.#connection.dumps(empty, chainAt, 'look for chains')) {
      for (const answer of answers) {
        const place = empty[next++]!;
        if (answer !== undefined) show(place, []);
      }
    }
  }

  async apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied> {
    const observed = shared === undefined ? undefined : this.#observed.get(family);
    this.#observed.delete(family);
    const edits: (readonly OwnedRequest[])[] = [];
    for (const { edit, handles } of await this.#locate(family, delta.edited, observed, shared)) {
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

  /**
   * Chain by chain: in the dump of a whole table the kernel looks for its place from the beginning for each 32 KiB (10 s with
   * 180,000 rules), and whatever anybody writes meanwhile spoils it.
   */
  async #dumpRules<Place extends ChainPlace>(
    family: IpFamily,
    places: readonly Place[],
    take: (place: Place, messages: readonly NetlinkMessage[]) => void,
  ): Promise<void> {
    const requestOf = ({ table, name }: Place) =>
      ({ object: 'rules', family: nftFamily(family), table, chain: name }) as const;
    let next = 0;
    for await (const answers of this.#connection.dumps(places, requestOf, 'list rules')) {
      for (const messages of answers) take(places[next++]!, messages ?? []);
    }
  }

  /** The handles of the rules in each chain to be edited; of a chain that others have rules in, of ours. */
  async #locate(
    family: IpFamily,
    edited: readonly ChainEdit[],
    observed: Handles | undefined,
    shared: readonly SharedPlaces[] = [],
  ): Promise<{ edit: ChainEdit; handles: readonly bigint[] }[]> {
    const located: { edit: ChainEdit; handles: readonly bigint[] }[] = [];
    if (observed === undefined) {
      await this.#dumpRules(family, edited, (edit, messages) => {
        located.push({ edit, handles: messages.map(decodeRuleHandle) });
      });
      return located;
    }
    const places = new Map(shared.map((place) => [chainId(place), place.own]));
    for (const edit of edited) {
      const handles = observed.get(chainId(edit)) ?? [];
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

/** Decoded when asked: most chains are as they shall be. */
class DumpedChain implements CountedChain {
  readonly table: IptablesTable;
  readonly name: string;
  readonly #family: IpFamily;
  readonly #messages: readonly NetlinkMessage[];
  #decoded: Required<Pick<CountedChain, 'rules' | 'packets'>> | undefined;

  constructor({ table, name }: ChainPlace, messages: readonly NetlinkMessage[], family: IpFamily) {
    this.table = table;
    this.name = name;
    this.#family = family;
    this.#messages = messages;
  }

  get rules(): readonly IptablesRule[] {
    return this.#contents.rules;
  }

  get packets(): readonly (bigint | undefined)[] {
    return this.#contents.packets;
  }

  holds(rules: readonly IptablesRule[]): boolean {
    return (
      rules.length === this.#messages.length &&
      rules.every((rule, i) => isRuleOf(this.#messages[i]!, rule, this.#family))
    );
  }

  get #contents() {
    if (this.#decoded === undefined) {
      const rules = this.#messages.map(decodeRule);
      this.#decoded = {
        rules: rules.map((rule) => decodeIptablesRule(rule, this.#family)),
        packets: rules.map(packetsOf),
      };
    }
    return this.#decoded;
  }
}

function packetsOf({ expressions }: Rule): bigint | undefined {
  const counter = expressions.find(({ kind }) => kind === 'counter');
  return counter?.kind === 'counter' ? (counter.packets ?? 0n) : undefined;
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
