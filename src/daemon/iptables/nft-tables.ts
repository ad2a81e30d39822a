// The tables of iptables-nft, read and written through netlink: a few messages per change, no program is run.

import { KernelError } from '../../errors.ts';
import type { Delta } from '../../mode/iptables/desired.ts';
import type { ChainEdit } from '../../mode/iptables/dispatch.ts';
import type { SharedPlaces } from '../../mode/iptables/full-sync.ts';
import {
  addChainRequests,
  editRequests,
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
import { BASE_CHAINS, type IptablesTable } from '../../netlink/iptables/tables.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { decodeChain } from '../../netlink/nftables/chain.ts';
import type { Expression } from '../../netlink/nftables/expression.ts';
import { decodeRule, type Rule } from '../../netlink/nftables/rule.ts';
import { type BatchFailure, MAX_ATTEMPTS, type NftConnection } from '../nft-connection.ts';
import { NftWatch } from './nft-watch.ts';
import type { Applied, IptablesRefusal, IptablesTables } from './tables.ts';

/** Send buffer to ask for: what a transaction of a cold load may take. */
const WANTED_SEND_BUFFER_BYTES = 4 * 1024 * 1024;

/** About what a rule takes in a message: most take less. A batch that turns out too large is cut in two. */
const RULE_BYTES = 512;

/** What of a family was seen at an observation. */
interface Observation {
  /** Handles of the rules of each chain, in order. */
  readonly handles: Map<string, readonly bigint[]>;
}

export class NftIptablesTables implements IptablesTables {
  readonly #connection: NftConnection;
  readonly #observations = new Map<IpFamily, Observation>();

  /** Undefined until the first observation: what happens before is seen by that. */
  #watch: NftWatch | undefined;
  readonly #onForeignChange: () => void;

  /** `onForeignChange` is called when somebody else has changed chains that we have rules in. */
  constructor(connection: NftConnection, onForeignChange: () => void) {
    this.#connection = connection;
    this.#onForeignChange = onForeignChange;
    connection.transport.reserveSendBuffer(WANTED_SEND_BUFFER_BYTES);
  }

  async begin(): Promise<void> {
    this.#watch ??= new NftWatch(await this.#connection.portId(), this.#onForeignChange);
    this.#watch.settle();
  }

  async observe(family: IpFamily): Promise<Iterable<CountedChain>> {
    for (let attempt = 1; ; attempt++) {
      const generation = await this.#connection.generation();
      const read = await this.#read(family, generation);
      if (read !== undefined) {
        this.#observations.set(family, { handles: read.handles });
        return read.chains;
      }
      if (attempt === MAX_ATTEMPTS) {
        throw new KernelError('EINTR', 4, 'observe tables of iptables: others kept writing');
      }
    }
  }

  async apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied> {
    const observation = shared === undefined ? undefined : this.#observations.get(family);
    this.#observations.delete(family);
    const tally: Tally = { refusals: [], writes: 0, transactions: 0 };
    if (observation !== undefined && hasNew(delta)) {
      if (!(await this.#commit(family, tableRequests(family), tally, { isCounted: false }))) return tally;
    }
    if (!(await this.#addChains(family, delta, tally))) return tally;
    const last: OwnedRequest[] = [];
    for (const edit of delta.edited) {
      const handles = await this.#handlesOf(family, edit, observation, shared);
      const requests = editRequests(family, edit, handles);
      if (requests === undefined) {
        const operation = `edit chain ${edit.table} ${edit.name}: it has ${handles.length} rules`;
        throw new KernelError('ESTALE', 116, operation);
      }
      for (const request of requests) last.push(request);
    }
    for (const request of removeRequests(family, delta.removed)) last.push(request);
    await this.#commitCut(family, last, tally);
    return tally;
  }

  async hasChanged(): Promise<boolean> {
    return this.#watch?.hasChanged ?? true;
  }

  close(): void {
    this.#watch?.close();
    this.#connection.close();
  }

  /** undefined when somebody wrote meanwhile. */
  async #read(
    family: IpFamily,
    generation: number,
  ): Promise<{ chains: Iterable<CountedChain>; handles: Map<string, readonly bigint[]> } | undefined> {
    const at = { family: nftFamily(family) } as const;
    const rules = new Map<string, Rule[]>();
    const places: ChainPlace[] = [];
    const handles = new Map<string, readonly bigint[]>();
    try {
      for (const message of await this.#connection.dump({ object: 'chains', ...at }, 'list chains')) {
        const { family: of, table, chain } = decodeChain(message);
        if (of !== at.family || !isIptablesTable(table)) continue;
        const place = { table, name: chain };
        places.push(place);
        rules.set(chainId(place), []);
      }
      for (const table of new Set(places.map((place) => place.table))) {
        const operation = `list rules of table ${table}`;
        for (const message of await this.#connection.dump({ object: 'rules', ...at, table }, operation)) {
          const rule = decodeRule(message);
          rules.get(chainId({ table, name: rule.chain }))?.push(rule);
        }
      }
    } catch (error) {
      // Whatever failed may only have failed because somebody wrote meanwhile: a table listed a moment ago is gone.
      if (!(error instanceof KernelError) || (await this.#connection.generation()) === generation)
        throw error;
      return undefined;
    }
    if ((await this.#connection.generation()) !== generation) return undefined;
    for (const [id, of] of rules) handles.set(id, of.map(handleOf));
    return { handles, chains: readOnce(places, rules, family) };
  }

  async #handlesOf(
    family: IpFamily,
    edit: ChainEdit,
    observation: Observation | undefined,
    shared: readonly SharedPlaces[] = [],
  ): Promise<readonly bigint[]> {
    const { table, name } = edit;
    if (observation !== undefined) {
      const handles = observation.handles.get(chainId(edit)) ?? [];
      const places = shared.find((one) => one.table === table && one.name === name);
      return places === undefined ? handles : places.own.map((index) => handles[index]!);
    }
    const request = { object: 'rules', family: nftFamily(family), table, chain: name } as const;
    const messages = await this.#connection.dump(request, `list rules of chain ${table} ${name}`);
    return messages.map((message) => handleOf(decodeRule(message)));
  }

  /** Nothing leads to them yet, so they may come in many transactions. */
  async #addChains(family: IpFamily, { added }: Delta, tally: Tally): Promise<boolean> {
    let batch: OwnedRequest[] = [];
    for (const chain of added) {
      for (const request of addChainRequests(family, chain)) batch.push(request);
      if (batch.length < this.#requestsPerBatch) continue;
      if (!(await this.#commitCut(family, batch, tally))) return false;
      batch = [];
    }
    return this.#commitCut(family, batch, tally);
  }

  get #requestsPerBatch(): number {
    return Math.floor(
      Math.min(this.#connection.transport.sendBufferBytes, WANTED_SEND_BUFFER_BYTES) / RULE_BYTES,
    );
  }

  /** In as few transactions as the send buffer allows. */
  async #commitCut(family: IpFamily, requests: readonly OwnedRequest[], tally: Tally): Promise<boolean> {
    const size = this.#requestsPerBatch;
    for (let start = 0; start < requests.length; start += size) {
      if (!(await this.#commit(family, requests.slice(start, start + size), tally))) return false;
    }
    return true;
  }

  async #commit(
    family: IpFamily,
    requests: readonly OwnedRequest[],
    tally: Tally,
    { isCounted = true } = {},
  ): Promise<boolean> {
    if (requests.length === 0) return true;
    const failures = await this.#connection.commit(requests.map(({ request }) => request));
    if (failures === undefined) {
      if (requests.length === 1)
        throw new KernelError('EMSGSIZE', 90, formatRequest(requests[0]!.request, family));
      const half = requests.length >> 1;
      return (
        (await this.#commit(family, requests.slice(0, half), tally, { isCounted })) &&
        this.#commit(family, requests.slice(half), tally, { isCounted })
      );
    }
    for (const failure of failures) tally.refusals.push(toRefusal(requests, failure, family));
    if (failures.length > 0) return false;
    tally.transactions++;
    if (isCounted) tally.writes += requests.length;
    return true;
  }
}

interface Tally {
  readonly refusals: IptablesRefusal[];
  writes: number;
  transactions: number;
}

/** Whether there are chains to make, or rules in chains of hooks that are not there. */
function hasNew({ added }: Delta): boolean {
  return added[Symbol.iterator]().next().done !== true;
}

function isIptablesTable(table: string): table is IptablesTable {
  return Object.hasOwn(BASE_CHAINS, table);
}

/** Chains are decoded as they are read, and forgotten: all of a large cluster at once would take hundreds of MB. */
function* readOnce(
  places: readonly ChainPlace[],
  rules: Map<string, Rule[]>,
  family: IpFamily,
): Generator<CountedChain> {
  for (const place of places) {
    const id = chainId(place);
    const raw = rules.get(id) ?? [];
    rules.delete(id);
    yield {
      ...place,
      rules: raw.map((rule) => decodeIptablesRule(rule, family)),
      packets: raw.map(({ expressions }) => expressions.find(isCounter)?.packets),
    };
  }
}

function isCounter(expression: Expression): expression is Extract<Expression, { kind: 'counter' }> {
  return expression.kind === 'counter';
}

function handleOf({ handle, chain }: Rule): bigint {
  if (handle === undefined) throw new KernelError('EPROTO', 71, `list rules of chain ${chain}`, 'no handle');
  return handle;
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
    case 'addRule': {
      const rule: IptablesRule = decodeIptablesRule(request, family);
      return `${table} ${formatIptablesRule(request.chain, rule, family)}`;
    }
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
