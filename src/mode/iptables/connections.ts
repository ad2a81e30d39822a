// Connections by Service and endpoint, from the counters of rules: those of shared chains that lead to a Service count its
// connections, the DNAT of an endpoint's chain those that it got. kube-proxy's chains will do as well as ours.

import type { Protocol } from '../../model/types.ts';
import type { ConnectionCounts } from '../../vip/connection-counts.ts';
import { type CountedChain, vipTableRows } from './rows.ts';

/** Adds what the chains of one family say; reads `observed` once. False when there are none. */
export function countConnections(counts: ConnectionCounts, observed: Iterable<CountedChain>): boolean {
  const rows = vipTableRows(countingEndpoints(counts, observed));
  for (const { service, protocol, connections } of rows ?? []) {
    if (connections !== undefined) counts.add({ service, protocol, endpoint: undefined, connections });
  }
  return rows !== undefined;
}

/** The same chains, with those of endpoints counted as they pass. */
function* countingEndpoints(
  counts: ConnectionCounts,
  observed: Iterable<CountedChain>,
): Generator<CountedChain> {
  for (const chain of observed) {
    if (chain.table === 'nat' && chain.name.startsWith('KUBE-SEP-')) countEndpoint(counts, chain);
    yield chain;
  }
}

function countEndpoint(counts: ConnectionCounts, { rules, packets }: CountedChain): void {
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
