// Requests that delete what waited, and what is ours as a whole.

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { DeferredObject } from './deferred.ts';
import { nftFamily, type TableName, tablePlace } from './names.ts';

/** Deletes chains and sets: rules first, which may refer to both; then sets, of which maps may refer to chains. */
export function deleteObjects(objects: readonly DeferredObject[], table: TableName): NftRequest[] {
  const at = (family: IpFamily) => tablePlace(family, table);
  const chains = objects.filter(({ kind }) => kind === 'chain');
  const sets = objects.filter(({ kind }) => kind === 'set');
  return [
    ...chains.map(({ family, name }) => ({ op: 'flushChain', ...at(family), chain: name }) as const),
    ...sets.map(({ family, name }) => ({ op: 'deleteSet', ...at(family), set: name }) as const),
    ...chains.map(({ family, name }) => ({ op: 'deleteChain', ...at(family), chain: name }) as const),
  ];
}

/** Deletes a table in the given families: ours, or kube-proxy's. */
export function deleteTables(families: readonly IpFamily[], table: string): NftRequest[] {
  return families.map((family) => ({ op: 'deleteTable', family: nftFamily(family), table }));
}
