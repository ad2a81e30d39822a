// Plans of this mode as requests to nf_tables. A rule in the kernel is known by its handle alone.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { encodeIptablesRule } from '../../netlink/iptables/codec.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../netlink/iptables/tables.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { ChainEdit } from './dispatch.ts';
import type { ChainPlace, PlannedChain } from './planned-chain.ts';

/** A request, and the Service it is made for, where there is one. */
export interface OwnedRequest {
  readonly request: NftRequest;
  readonly service: ServiceKey | undefined;
}

const TABLES = Object.keys(BASE_CHAINS) as readonly IptablesTable[];

/** The tables and base chains that iptables-nft would make; those that are there stay as they are. */
export function tableRequests(family: IpFamily): OwnedRequest[] {
  const requests: NftRequest[] = [];
  for (const table of TABLES) {
    const at = { family: nftFamily(family), table } as const;
    requests.push({ op: 'addTable', ...at });
    for (const [chain, base] of Object.entries(BASE_CHAINS[table])) {
      requests.push({ op: 'addChain', ...at, chain, base });
    }
  }
  return requests.map((request) => ({ request, service: undefined }));
}

/** A chain that is new, with its rules. */
export function* addChainRequests(family: IpFamily, chain: PlannedChain): Generator<OwnedRequest> {
  const { service, ownership } = chain;
  const at = inChain(family, chain);
  if (ownership !== 'base') yield { request: { op: 'addChain', ...at }, service };
  for (const rule of chain.rules()) yield { request: addRule(at, rule, family), service };
}

/**
 * Edits of a chain that is there; `handles` are those of its rules in order, or, of a chain that others have rules in, of
 * ours. Undefined when there are fewer rules than the edits count on: the chain is not what it was taken for.
 */
export function editRequests(
  family: IpFamily,
  edit: ChainEdit,
  handles: readonly bigint[],
): OwnedRequest[] | undefined {
  const at = inChain(family, edit);
  const requests: OwnedRequest[] = [];
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
    requests.push({ request: { op: 'deleteRule', ...at, handle }, service: one.service });
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
    requests.push({
      request: { ...addRule(at, rule.item, family), ...where },
      service: rule.service,
    });
  }
  return requests;
}

/** Empties chains, all of them before the first goes: they may lead to one another. */
export function removeRequests(family: IpFamily, places: readonly ChainPlace[]): OwnedRequest[] {
  const ops = ['flushChain', 'deleteChain'] as const;
  return ops.flatMap((op) =>
    places.map((place) => ({ request: { op, ...inChain(family, place) }, service: undefined })),
  );
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
