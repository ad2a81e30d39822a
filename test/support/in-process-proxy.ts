// Everything of the daemon from the store to the kernel, in this process, over a transport that a test may disturb;
// and an independent judge of what the kernel holds.

import type { SyncResult } from '../../src/daemon/backend.ts';
import type { NetlinkTransport } from '../../src/daemon/netlink-socket.ts';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import { Desired } from '../../src/mode/nftables/desired.ts';
import type { ElementChange } from '../../src/mode/nftables/element-change.ts';
import { formatChange, formatRequest } from '../../src/mode/nftables/format.ts';
import { planFullSync } from '../../src/mode/nftables/full-sync.ts';
import { ENDPOINT_SETS, PICK_SETS, serviceValueParts, TABLE } from '../../src/mode/nftables/names.ts';
import { type Observed, observedSlots, previousIn } from '../../src/mode/nftables/observed.ts';
import {
  endpointSet,
  pickedSet,
  pickSet,
  planFrontend,
  serviceSet,
  shapeSet,
} from '../../src/mode/nftables/planned-frontend.ts';
import { vipTableRows } from '../../src/mode/nftables/rows.ts';
import { type Cidr, type Ip, type IpFamily, packIp, parseCidr, unpackIp } from '../../src/model/ip.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Expression } from '../../src/netlink/nftables/expression.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import type { DetectLocal } from '../../src/vip/local-pods.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import type { VipTableRow } from '../../src/vip/table-row.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { NODE_NAME } from './manifests.ts';

export const FAMILIES: readonly IpFamily[] = [4, 6];
export const CLUSTER_CIDRS = ['10.1.0.0/24', 'fd00:10:1::/64'].map((text) => parseCidr(text)!);
const DETECT_LOCAL: DetectLocal = { kind: 'ClusterCIDR', cidrs: CLUSTER_CIDRS };
export const MASQUERADE_BIT = 14;
const FRONTENDS = { nodeName: NODE_NAME, detectLocal: DETECT_LOCAL, masqueradeAll: false };

/** The primary addresses of the node as node-port addresses. */
export function hostCidrs(...ips: string[]): Cidr[] {
  return ips.map((ip): Cidr => {
    const family = ip.includes(':') ? 6 : 4;
    return { ip: ip as Ip, prefix: family === 4 ? 32 : 128, family };
  });
}

/** Objects as a source tells them. */
export function upserts(...objects: object[]): SourceEvent[] {
  return objects.map((object) => {
    const { kind } = object as { kind: 'Service' | 'EndpointSlice' | 'Node' };
    return { type: 'upsert', kind, object, origin: 'test' };
  });
}

export function deletion(
  kind: 'Service' | 'EndpointSlice',
  name: string,
  namespace = 'default',
): SourceEvent {
  return { type: 'delete', kind, namespace, name };
}

/** Both kinds are listed, and nothing else is known. */
export const LISTED: readonly SourceEvent[] = (['Service', 'EndpointSlice'] as const).flatMap((kind) => [
  { type: 'list-start', kind },
  { type: 'list-end', kind },
]);

export class InProcessProxy {
  readonly store = new Store();
  readonly table = new VipTable(FRONTENDS);
  readonly backend: NftablesBackend;
  #nodePortCidrs: readonly Cidr[] | undefined = hostCidrs('192.168.50.10', 'fd00:50::10');

  constructor(transport: NetlinkTransport) {
    const session = new NftSession(transport);
    this.backend = new NftablesBackend({ session, families: FAMILIES, masqueradeBit: MASQUERADE_BIT });
  }

  /** Takes events and syncs once. */
  async apply(...events: SourceEvent[]): Promise<SyncResult> {
    const { services } = this.store.apply(events);
    const frontends = this.table.refresh(this.store, services);
    const nodePortCidrs = this.#nodePortCidrs;
    this.#nodePortCidrs = undefined;
    const { localPods } = this.table.facts;
    const surroundings =
      nodePortCidrs === undefined ? undefined : { nodePortCidrs, serviceCidrs: [], localPods };
    return this.backend.sync({ frontends, surroundings });
  }

  /** Syncs once, as a retry does. */
  retry(): Promise<SyncResult> {
    return this.backend.sync({ frontends: new Map(), surroundings: undefined });
  }

  /** Carries out every deferred deletion, as time does. */
  async flush(): Promise<void> {
    while (this.backend.hasDeferred) {
      const { failures } = await this.backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }
}

/** What separates the kernel from what the objects of a store call for. */
export interface Differences {
  /** To be written at once. */
  readonly now: readonly string[];
  /** Leftovers that may go later. */
  readonly later: readonly string[];
}

/** Compares with what a store calls for, planned anew. */
export async function compare(
  transport: NetlinkTransport,
  store: Store,
  nodePortCidrs: readonly Cidr[] = hostCidrs('192.168.50.10', 'fd00:50::10'),
): Promise<Differences> {
  const table = new VipTable(FRONTENDS);
  const frontends = table.refresh(store, store.serviceKeys());
  return compareFrontends(transport, frontends, {
    nodePortCidrs,
    serviceCidrs: [],
    localPods: table.facts.localPods,
  });
}

/**
 * Compares, knowing nothing of how the kernel came to be as it is. The rows that `kproxy-ts table` would print must have
 * exactly the backends of each frontend, in any order, and exactly its source ranges must be let in.
 */
export async function compareFrontends(
  transport: NetlinkTransport,
  frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
  surroundings: Surroundings,
): Promise<Differences> {
  const { observed } = await new NftSession(transport).observe(FAMILIES);
  const problems = [
    ...compareRows(vipTableRows(observed), frontends),
    ...compareRanges(observed, [...frontends.values()].flat()),
  ];
  const desired = new Desired();
  desired.learnShapeIds(observed);
  const previous = previousIn(observed);
  desired.update(
    new Map(
      [...frontends].map(([service, list]) => [
        service,
        list.map((frontend) => planFrontend(frontend, previous)),
      ]),
    ),
  );
  desired.updateSurroundings(surroundings);
  const later: ElementChange[] = [];
  const rules = {
    table: TABLE,
    masqueradeBit: MASQUERADE_BIT,
    localPods: surroundings.localPods,
  };
  const plan = planFullSync(desired, FAMILIES, rules, observed, new Set(), (change) => later.push(change));
  return {
    now: [...problems, ...plan.structure.map(formatRequest), ...Array.from(plan.elements, formatChange)],
    later: [...later.map(formatChange), ...plan.strays.map(({ kind, name }) => `- ${kind} ${name}`)],
  };
}

const KEYINGS = (['vip', 'nodeport'] as const).flatMap((keyedBy) =>
  (['all', 'inside'] as const).map((side) => ({ keyedBy, side })),
);

/**
 * Addresses in force that would lead a packet nowhere: their shape's chain is missing or without rules, or one of the
 * slots that it picks from, or what a slot leads to. There must be none between any two transactions.
 */
export async function deadEnds(transport: NetlinkTransport): Promise<string[]> {
  const { observed } = await new NftSession(transport).observe(FAMILIES);
  return deadEndsOf(observed);
}

/** The same of what was seen. */
export function deadEndsOf(observed: Observed): string[] {
  const broken: string[] = [];
  for (const table of observed.values()) {
    for (const keying of KEYINGS) {
      for (const [key, value] of table.elements.get(serviceSet(keying)) ?? []) {
        const { shapeId, comment } = serviceValueParts(value);
        const chain = table.elements.get(shapeSet(keying))?.get(shapeId) ?? 'no chain';
        const slotCount = Number(/(?:pick|rr|sh|mh)-(\d+)/.exec(chain)?.[1] ?? 0);
        const isPlain = !/sticky|rr-|sh-|mh-/.test(chain);
        const slots = observedSlots(table, isPlain ? endpointSet(keying) : pickSet(keying), key);
        const rules = table.chains.get(chain)?.rules ?? [];
        if (rules.length === 0) broken.push(`${comment}: no rules in ${chain}`);
        if (slots.length < slotCount) broken.push(`${comment}: ${chain}, but ${slots.length} slots`);
        if (isPlain) continue;
        const picked = table.elements.get(pickedSet(keying));
        const lost = slots.slice(0, slotCount).filter((id) => picked?.has(key + id) !== true);
        if (lost.length > 0) broken.push(`${comment}: ${chain}, but ${lost.length} slots lead to nobody`);
        for (const name of jumpsOf(rules)) {
          const isEmpty = (table.chains.get(name)?.rules ?? []).length === 0;
          if (isEmpty) broken.push(`${comment}: ${chain} jumps to ${name}, which has no rules`);
        }
      }
    }
  }
  return broken;
}

function jumpsOf(rules: readonly (readonly Expression[])[]): string[] {
  return rules.flat().flatMap((expression) => {
    const verdict = expression.kind === 'immediate' ? expression.verdict : undefined;
    return verdict?.kind === 'jump' ? [verdict.chain] : [];
  });
}

/** What a packet may be about to read that has read one of our maps already: ids of shapes, slots and chains. */
export async function readLater(transport: NetlinkTransport): Promise<Set<string>> {
  const { observed } = await new NftSession(transport).observe(FAMILIES);
  const ids = [...observed].flatMap(([family, { elements, chains }]) => [
    ...[...chains.keys()].map((name) => `${family} ${name}`),
    ...[
      ...(['shapes', 'inside-shapes', 'inside-services', 'inside-nodeports'] as const),
      ...ENDPOINT_SETS,
      ...PICK_SETS,
    ].flatMap((set) => [...elements.get(set)!.keys()].map((key) => `${family} ${set} ${key}`)),
  ]);
  return new Set(ids);
}

function compareRows(
  rows: readonly VipTableRow[],
  frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
): string[] {
  const wanted = new Set(
    [...frontends.values()].flat().map((frontend) => {
      const { address = '*', port, protocol, displayName, backends, sourceRanges } = frontend;
      const texts = backends.map((backend) => `${backend.ip} ${backend.port}`);
      const who = sourceRanges === undefined ? 'all' : 'restricted';
      return `${displayName} ${address} ${port} ${protocol} ${who} -> ${texts.sort()}`;
    }),
  );
  const present = new Set(
    rows.map(({ address, port, protocol, service, backends, action }) => {
      const texts = backends.map((backend) => `${backend.address} ${backend.port}`);
      const who = action.endsWith(', restricted') ? 'restricted' : 'all';
      return `${service} ${address} ${port} ${protocol} ${who} -> ${texts.sort()}`;
    }),
  );
  return differences('row', wanted, present);
}

/** Every range that is let in, read from the bytes of the set. */
function compareRanges(observed: Observed, frontends: readonly Frontend[]): string[] {
  const wanted = frontends.flatMap(({ address, protocol, port, sourceRanges = [] }) =>
    sourceRanges.map((cidr) => {
      const bits = Array.from(packIp(cidr.ip), (char) => char.charCodeAt(0).toString(2).padStart(8, '0'))
        .join('')
        .slice(0, cidr.prefix);
      const edge = (fill: '0' | '1'): string =>
        unpackIp(
          bits
            .padEnd(cidr.family === 4 ? 32 : 128, fill)
            .replace(/.{8}/g, (byte) => String.fromCharCode(Number.parseInt(byte, 2))),
        );
      return `${address} ${protocol} ${port}: ${edge('0')} to ${edge('1')}`;
    }),
  );
  const present = [...observed].flatMap(([family, { elements }]) =>
    [...(elements.get('source-ranges') ?? [])].map(([first, last]) => {
      const length = family === 4 ? 4 : 16;
      const protocol = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' }[first.charCodeAt(length)];
      const port = first.charCodeAt(length + 4) * 256 + first.charCodeAt(length + 5);
      const name = `${unpackIp(first.slice(0, length))} ${protocol} ${port}`;
      return `${name}: ${unpackIp(first.slice(-length))} to ${unpackIp(last.slice(-length))}`;
    }),
  );
  return differences('range', new Set(wanted), new Set(present));
}

function differences(what: string, wanted: ReadonlySet<string>, present: ReadonlySet<string>): string[] {
  return [
    ...[...wanted].filter((one) => !present.has(one)).map((one) => `missing ${what} ${one}`),
    ...[...present].filter((one) => !wanted.has(one)).map((one) => `unexpected ${what} ${one}`),
  ];
}
