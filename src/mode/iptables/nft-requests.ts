// Plans of this mode as requests to nf_tables. A rule in the kernel is known by its handle alone.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { encodeIptablesRule } from '../../netlink/iptables/codec.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../netlink/iptables/tables.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { AnyFamily } from '../../netlink/nftables/family.ts';
import type { ChainEdit } from './dispatch.ts';
import type { ChainPlace, PlannedChain } from './planned-chain.ts';

/** A request, and the Service it is made for, where there is one. */
export interface OwnedRequest {
  readonly request: NftRequest;
  readonly service: ServiceKey | undefined;
}

const TABLES = Object.keys(BASE_CHAINS) as readonly IptablesTable[];

/** The tables this mode has chains in; those that are there stay as they are. */
export function tableRequests(family: IpFamily): OwnedRequest[] {
  return TABLES.map((table) => ({
    request: { op: 'addTable', family: nftFamily(family), table },
    service: undefined,
  }));
}

/** A chain that is new, with its rules. One of a hook hangs where iptables-nft would hang it. */
export function addChainRequests(family: IpFamily, chain: PlannedChain): OwnedRequest[] {
  const { table, name, service, ownership } = chain;
  const at = inChain(family, chain);
  const base = ownership === 'base' ? BASE_CHAINS[table][name] : undefined;
  const requests: NftRequest[] = [{ op: 'addChain', ...at, ...(base && { base }) }];
  for (const rule of chain.rules()) requests.push(addRule(at, rule, family));
  return requests.map((request) => ({ request, service }));
}

/**
 * Edits of a chain that is there; `handles` are those of its rules in order, or, of a chain that others have rules in, of
 * ours. What is new comes first: should the batch be cut, no packet misses what is replaced. Undefined when there are fewer
 * rules than the edits count on: the chain is not what it was taken for.
 */
export function editRequests(
  family: IpFamily,
  edit: ChainEdit,
  handles: readonly bigint[],
): OwnedRequest[] | undefined {
  const at = inChain(family, edit);
  const inserted: OwnedRequest[] = [];
  const deleted: OwnedRequest[] = [];
  const rules: (bigint | { readonly item: IptablesRule; readonly service: ServiceKey | undefined })[] = [
    ...handles,
  ];
  for (const one of edit.edits) {
    if (one.index > rules.length) return undefined;
    if (one.kind === 'insert') {
      rules.splice(one.index, 0, { item: one.item, service: one.service });
      continue;
    }
    const [handle] = rules.splice(one.index, 1);
    if (typeof handle !== 'bigint') return undefined;
    deleted.push({ request: { op: 'deleteRule', ...at, handle }, service: one.service });
  }
  // A rule of this batch has no handle yet. So those between two old ones are put behind the first of the two (or to the
  // top) from the last to the first.
  for (let i = rules.length - 1; i >= 0; i--) {
    const rule = rules[i]!;
    if (typeof rule === 'bigint') continue;
    let before = i - 1;
    while (before >= 0 && typeof rules[before] !== 'bigint') before--;
    const position = rules[before];
    const where = typeof position === 'bigint' ? { position } : { isInserted: true };
    inserted.push({
      request: { ...addRule(at, rule.item, family), ...where },
      service: rule.service,
    });
  }
  return [...inserted, ...deleted];
}

/** Empties chains, all of them before the first goes: they may lead to one another. A group per chain and step. */
export function* removeRequests(
  family: IpFamily,
  places: readonly ChainPlace[],
): Generator<readonly OwnedRequest[]> {
  for (const op of ['flushChain', 'deleteChain'] as const) {
    for (const place of places) yield [{ request: { op, ...inChain(family, place) }, service: undefined }];
  }
}

function addRule(at: InChain, rule: IptablesRule, family: IpFamily): NftRequest & { op: 'addRule' } {
  return { op: 'addRule', ...at, ...encodeIptablesRule(rule, family) };
}

type InChain = ReturnType<typeof inChain>;

function inChain(family: IpFamily, { table, name }: ChainPlace) {
  return { family: nftFamily(family), table, chain: name };
}

/** nf_tables family of an IP family. */
export function nftFamily(family: IpFamily): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6';
}

/** The other way; undefined for a family without tables of iptables. */
export function ipFamily(family: AnyFamily): IpFamily | undefined {
  return family === 'ip' ? 4 : family === 'ip6' ? 6 : undefined;
}

/** Whether this mode has chains in tables of that name. */
export function isIptablesTable(table: string): table is IptablesTable {
  return Object.hasOwn(BASE_CHAINS, table);
}
