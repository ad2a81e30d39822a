// Requests that delete what waited, and what is ours as a whole.

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { ChainFields } from '../../netlink/nftables/chain.ts';
import type { DeferredObject } from './deferred.ts';
import { nftFamily, type TablePlace, tablePlace } from './names.ts';

/** Deletes chains and sets: rules first, which may refer to both; then sets, of which maps may refer to chains. */
export function deleteObjects(objects: readonly DeferredObject[], table: string): NftRequest[] {
  const at = (family: IpFamily) => tablePlace(family, table);
  const chains = objects.filter(({ kind }) => kind === 'chain');
  const sets = objects.filter(({ kind }) => kind === 'set');
  return [
    ...chains.map(({ family, name }) => ({ op: 'flushChain', ...at(family), chain: name }) as const),
    ...sets.map(({ family, name }) => ({ op: 'deleteSet', ...at(family), set: name }) as const),
    ...chains.map(({ family, name }) => ({ op: 'deleteChain', ...at(family), chain: name }) as const),
  ];
}

/**
 * Takes the rules of the chains where packets come in, by table and name. Those on their way find what they were sent to as long as
 * the table stays: a lookup sees what is there at its time, and a packet that found its frontend before the table is deleted, and
 * looks for an endpoint after it, would be refused.
 */
export function closeEntrances(chains: readonly ChainFields[], { family, table }: TablePlace): NftRequest[] {
  return chains
    .filter(({ base }) => base !== undefined && base.hook !== 'postrouting')
    .map(({ chain }) => ({ op: 'flushChain', family, table, chain }));
}

/** Deletes a table in the given families: ours, or kube-proxy's. */
export function deleteTables(families: readonly IpFamily[], table: string): NftRequest[] {
  return families.map((family) => ({ op: 'deleteTable', family: nftFamily(family), table }));
}
