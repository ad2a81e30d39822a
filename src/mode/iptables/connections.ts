// Connections by Service and endpoint, from the counters of rules: those of shared chains that lead to a Service count its
// connections, the DNAT of an endpoint's chain those that it got. kube-proxy's chains will do as well as ours.

import type { Protocol } from '../../model/types.ts';
import type { ConnectionCounts } from '../../vip/connection-counts.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import type { CountedChain } from './rows.ts';

/** Adds what the rows of a family say, as `heldRows` makes them. */
export function countServices(counts: ConnectionCounts, rows: readonly VipTableRow[]): void {
  for (const { service, protocol, connections } of rows) {
    if (connections !== undefined) counts.add({ service, protocol, endpoint: undefined, connections });
  }
}

/** Adds what a chain says, which is something if it is that of an endpoint. */
export function countEndpoints(counts: ConnectionCounts, chain: CountedChain): void {
  if (chain.table !== 'nat' || !chain.name.startsWith('KUBE-SEP-')) return;
  const { rules, packets } = chain;
  for (const [index, { target, protocol, matches }] of rules.entries()) {
    const connections = packets?.[index];
    if (target?.kind !== 'DNAT' || protocol === undefined || connections === undefined) continue;
    const comment = matches.find((match) => match.kind === 'comment');
    if (comment?.kind !== 'comment') continue;
    const { address, port } = target;
    counts.add({
      service: comment.text,
      protocol: protocol.name.toUpperCase() as Protocol,
      endpoint: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
      connections,
    });
  }
}
