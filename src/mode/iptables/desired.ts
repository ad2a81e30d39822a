// What the tables of one family shall hold, kept as Frontends: chains and rules are made of them when asked for. An update
// of some Services returns just what changes, so its cost does not grow with the cluster.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { Surroundings } from '../../vip/surroundings.ts';
import { type ChainEdit, Dispatch, type Frame } from './dispatch.ts';
import { editsBetween } from './edit-rules.ts';
import { type Entry, isSameEntry } from './entry.ts';
import {
  blocksLocalnet,
  firstChains,
  frameOf,
  jumpChains,
  ofFamily,
  type RuleSettings,
} from './fixed-chains.ts';
import { nodePortPlaces } from './node-ports.ts';
import { type ChainPlace, chainId, type PlannedChain } from './planned-chain.ts';
import type { KeyChange } from './prefix-tree.ts';
import { isSameRule, ruleText } from './rule-text.ts';
import { buildServicePorts, reachableBackends, type ServicePort } from './service-port.ts';
import { type ChainContext, servicePortChains } from './service-port-chains.ts';
import {
  clusterIpEntry,
  SHARED_CHAIN_NAMES,
  SHARED_CHAINS,
  type SharedChain,
  type SharedContext,
  sharedEntries,
} from './shared-chains.ts';

/** Changes of the tables of one family, in an order that is safe. */
export interface Delta {
  /**
   * New chains, none before one that it leads to. Nothing leads to them before the edits are made: they may be written in
   * pieces. Made while they are read; may be read again.
   */
  readonly added: Iterable<PlannedChain>;
  /** Belong in one transaction. If they are too many, it may be cut between chains. */
  readonly edited: readonly ChainEdit[];
  /** To be emptied, all of them, and then deleted: they may lead to one another, nothing else leads there. */
  readonly removed: readonly ChainPlace[];
}

/** What depends on the surroundings, and on how many endpoints there are; parts that are equal stay the same objects. */
interface Context {
  /** What the rules of every service port depend on. */
  readonly ports: ChainContext & SharedContext;
  readonly frames: ReadonlyMap<SharedChain, Frame>;
  readonly needsRouteLocalnet: boolean;
}

/** More endpoints than this, in all service ports of the family, and rules of endpoints go without comments. */
export const LARGE_CLUSTER_ENDPOINTS = 1000;

const NOTHING: Surroundings = { nodePortCidrs: [], serviceCidrs: [], localPods: new Map() };

export class Desired {
  readonly #family: IpFamily;
  readonly #settings: RuleSettings;
  readonly #ports = new Map<ServiceKey, readonly ServicePort[]>();
  readonly #dispatches: ReadonlyMap<SharedChain, Dispatch>;
  /** How many service ports have each cluster IP. */
  readonly #clusterIps = new Map<Ip, number>();
  #surroundings = NOTHING;
  #endpoints = 0;
  #context: Context;

  constructor(family: IpFamily, settings: RuleSettings) {
    this.#family = family;
    this.#settings = settings;
    this.#context = this.#contextNow(undefined);
    this.#dispatches = new Map(
      SHARED_CHAIN_NAMES.filter((name) => name !== 'nodePortRefusals' || settings.dispatch === 'tree').map(
        (name) => {
          // No tool reads kube-proxy's form of a chain that kube-proxy does not have.
          const form = name === 'clusterIps' ? 'tree' : settings.dispatch;
          return [name, new Dispatch(SHARED_CHAINS[name], family, form, this.#context.frames.get(name)!)];
        },
      ),
    );
  }

  /**
   * Replaces all Frontends of the given Services, an empty list removes one; those of the other family are left to its own
   * Desired. Replaces the surroundings, if given. What it returns brings tables there that hold what was desired before.
   */
  update(
    frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    surroundings: Surroundings = this.#surroundings,
  ): Delta {
    const { replaced, old, now, changes } = this.#advance(frontendsByService, surroundings);
    const added: PortChains[] = [];
    const edited: ChainEdit[] = [];
    const removed: ChainPlace[] = [];
    for (const { before, after } of replaced.values()) {
      const beforeByHash = new Map(before.map((port) => [port.hash, port]));
      for (const port of after) {
        const was = beforeByHash.get(port.hash);
        beforeByHash.delete(port.hash);
        if (was === undefined) added.push({ port, only: undefined });
        else {
          const isAdded = compareChains(
            servicePortChains(was, old.ports),
            servicePortChains(port, now.ports),
            edited,
            removed,
          );
          if (isAdded.size > 0) added.push({ port, only: isAdded });
        }
      }
      for (const port of beforeByHash.values()) removed.push(...placesOf(servicePortChains(port, old.ports)));
    }

    const branches: PlannedChain[] = [];
    for (const [name, dispatch] of this.#dispatches) {
      const delta = dispatch.update([...changes.get(name)!.values()], now.frames.get(name)!);
      for (const chain of delta.added) branches.push(chain);
      for (const edit of delta.edited) edited.push(edit);
      for (const place of delta.removed) removed.push(place);
    }

    return {
      added: {
        *[Symbol.iterator]() {
          for (const { port, only } of added) {
            for (const chain of servicePortChains(port, now.ports)) {
              if (only === undefined || only.has(chainId(chain))) yield chain;
            }
          }
          yield* branches;
        },
      },
      edited,
      removed,
    };
  }

  /** The same without saying what changes: for when all tables are compared with `chains` next. */
  replace(
    frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    surroundings: Surroundings = this.#surroundings,
  ): void {
    const { now, changes } = this.#advance(frontendsByService, surroundings);
    for (const [name, dispatch] of this.#dispatches) {
      dispatch.replace([...changes.get(name)!.values()], now.frames.get(name)!);
    }
  }

  /** Every chain, none before one that it leads to; last those that are not only ours. */
  *chains(): Generator<PlannedChain> {
    yield* firstChains(this.#family, this.#settings);
    for (const ports of this.#ports.values()) {
      for (const port of ports) yield* servicePortChains(port, this.#context.ports);
    }
    for (const dispatch of this.#dispatches.values()) yield* dispatch.chains();
    yield* jumpChains(blocksLocalnet(this.#family, this.#settings));
  }

  /** What the given Service has in this family, as it was last given. */
  frontends(service: ServiceKey): readonly Frontend[] {
    return (this.#ports.get(service) ?? []).flatMap((port) => port.frontends);
  }

  /** Whether the sysctl net.ipv4.conf.all.route_localnet must be set for node ports to be served on 127.0.0.1. */
  get needsRouteLocalnet(): boolean {
    return this.#context.needsRouteLocalnet;
  }

  /** All of an update but the dispatch, whose `changes` it returns. */
  #advance(frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>, surroundings: Surroundings) {
    const replaced = this.#replacePorts(frontendsByService);
    this.#surroundings = surroundings;
    const old = this.#context;
    const now = this.#contextNow(old);
    this.#context = now;
    if (now.ports !== old.ports) {
      for (const [service, ports] of this.#ports) {
        if (!replaced.has(service)) replaced.set(service, { before: ports, after: ports });
      }
    }
    const changes = this.#entryChanges([...replaced.values()], old.ports, now.ports);
    return { replaced, old, now, changes };
  }

  #replacePorts(
    frontendsByService: ReadonlyMap<ServiceKey, readonly Frontend[]>,
  ): Map<ServiceKey, Replacement> {
    const replaced = new Map<ServiceKey, Replacement>();
    for (const [service, frontends] of frontendsByService) {
      const before = this.#ports.get(service) ?? [];
      const after = buildServicePorts(frontends, this.#family);
      if (before.length === 0 && after.length === 0) continue;
      replaced.set(service, { before, after });
      if (after.length === 0) this.#ports.delete(service);
      else this.#ports.set(service, after);
      this.#endpoints += countEndpoints(after) - countEndpoints(before);
    }
    return replaced;
  }

  #contextNow(old: Context | undefined): Context {
    const { nodePortCidrs, serviceCidrs, localPods } = this.#surroundings;
    const { servesLocalhostNodePorts, dispatch } = this.#settings;
    const nodePorts = nodePortPlaces(this.#family, nodePortCidrs, servesLocalhostNodePorts);
    const surroundings = { nodePorts, serviceCidrs: ofFamily(serviceCidrs, this.#family), form: dispatch };
    return {
      ports: unlessEqual(old?.ports, {
        localPods: localPods.get(this.#family),
        hasEndpointComments: this.#endpoints <= LARGE_CLUSTER_ENDPOINTS,
        refusalPlaces: dispatch === 'flat' ? nodePorts.places : undefined,
      }),
      frames: new Map(
        SHARED_CHAIN_NAMES.map((name) => [
          name,
          unlessEqual(old?.frames.get(name), frameOf(name, surroundings)),
        ]),
      ),
      needsRouteLocalnet: nodePorts.servesLoopback,
    };
  }

  /** What goes first, so that an address may pass from one Service to another. */
  #entryChanges(
    replaced: readonly Replacement[],
    old: SharedContext,
    now: SharedContext,
  ): Map<SharedChain, Map<string, KeyChange<Entry>>> {
    const changes = new Map(SHARED_CHAIN_NAMES.map((name) => [name, new Map<string, KeyChange<Entry>>()]));
    for (const { before } of replaced) {
      for (const { chain, entry } of before.flatMap((port) => sharedEntries(port, old))) {
        const present = this.#dispatches.get(chain)!.get(entry.key);
        if (present?.service === entry.service)
          changes.get(chain)!.set(entry.key, { key: entry.key, entry: undefined });
      }
      for (const ip of clusterIpsOf(before)) this.#count(ip, -1);
    }
    for (const { after } of replaced) {
      for (const { chain, entry } of after.flatMap((port) => sharedEntries(port, now))) {
        const present = this.#dispatches.get(chain)!.get(entry.key);
        if (present !== undefined && isSameEntry(present, entry)) changes.get(chain)!.delete(entry.key);
        else changes.get(chain)!.set(entry.key, { key: entry.key, entry });
      }
      for (const ip of clusterIpsOf(after)) this.#count(ip, 1);
    }
    const clusterIps = changes.get('clusterIps')!;
    for (const ip of new Set(replaced.flatMap(({ before, after }) => clusterIpsOf([...before, ...after])))) {
      const entry = clusterIpEntry(ip);
      const isPresent = this.#dispatches.get('clusterIps')!.get(entry.key) !== undefined;
      const isWanted = this.#clusterIps.has(ip);
      if (isPresent !== isWanted) {
        clusterIps.set(entry.key, { key: entry.key, entry: isWanted ? entry : undefined });
      }
    }
    return changes;
  }

  #count(ip: Ip, by: 1 | -1): void {
    const count = (this.#clusterIps.get(ip) ?? 0) + by;
    if (count === 0) this.#clusterIps.delete(ip);
    else this.#clusterIps.set(ip, count);
  }
}

/** The first if both are equal. */
function unlessEqual<T>(old: T | undefined, now: T): T {
  return isDeepEqual(old, now) ? old! : now;
}

interface Replacement {
  readonly before: readonly ServicePort[];
  readonly after: readonly ServicePort[];
}

/** Chains of a service port: those with these ids, or all. */
interface PortChains {
  readonly port: ServicePort;
  readonly only: ReadonlySet<string> | undefined;
}

/** Adds what differs to `edited` and `removed`; returns the ids of what is new. */
function compareChains(
  before: readonly PlannedChain[],
  after: readonly PlannedChain[],
  edited: ChainEdit[],
  removed: ChainPlace[],
): Set<string> {
  const added = new Set<string>();
  const beforeById = new Map(before.map((chain) => [chainId(chain), chain]));
  for (const chain of after) {
    const id = chainId(chain);
    const was = beforeById.get(id);
    beforeById.delete(id);
    if (was === undefined) {
      added.add(id);
      continue;
    }
    const edit = editChain(chain, was.rules(), chain.rules());
    if (edit !== undefined) edited.push(edit);
  }
  removed.push(...placesOf([...beforeById.values()]));
  return added;
}

/** What turns the rules of `chain` into others; undefined when they are equal. */
export function editChain(
  { table, name, service }: Pick<PlannedChain, 'table' | 'name' | 'service'>,
  before: readonly IptablesRule[],
  after: readonly IptablesRule[],
): ChainEdit | undefined {
  const edits = editsBetween(before, after, ruleText, isSameRule);
  return edits.length === 0 ? undefined : { table, name, edits: edits.map((edit) => ({ ...edit, service })) };
}

function placesOf(chains: readonly PlannedChain[]): ChainPlace[] {
  return chains.map(({ table, name }) => ({ table, name }));
}

function countEndpoints(ports: readonly ServicePort[]): number {
  return ports.reduce((sum, port) => sum + reachableBackends(port).length, 0);
}

/** Once per service port. */
function clusterIpsOf(ports: readonly ServicePort[]): Ip[] {
  return ports.flatMap(({ frontends }) =>
    frontends.flatMap(({ kind, address }) =>
      kind === 'ClusterIP' && address !== undefined ? [address] : [],
    ),
  );
}
