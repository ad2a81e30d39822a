// The endpoint of a new connection: the one that its client had last, or whose turn it is.

import type { Backend } from '../../vip/frontend.ts';
import { endpointText } from '../iptables/names.ts';
import type { ClientAffinity } from './client-affinity.ts';
import type { WeightedRoundRobin } from './weighted-round-robin.ts';

/** Who dials, where the Service has session affinity. */
export interface StickyClient {
  readonly affinity: ClientAffinity;
  /** The client's address. */
  readonly address: string;
  readonly nowMs: number;
  readonly timeoutMs: number;
}

/** None of those in `excluded` (`ip:port`); undefined when nobody else is there. */
export function pickBackend(
  turns: WeightedRoundRobin,
  client: StickyClient | undefined,
  excluded: ReadonlySet<string>,
): Backend | undefined {
  if (client === undefined) return turns.next(excluded);
  const { affinity, address, nowMs, timeoutMs } = client;
  const kept = affinity.use(address, nowMs, timeoutMs);
  const backend = kept === undefined || excluded.has(kept) ? undefined : turns.get(kept);
  if (backend !== undefined) return backend;
  const next = turns.next(excluded);
  // Before it is known to answer: who dials twice at once gets one endpoint.
  if (next !== undefined) affinity.choose(address, endpointText(next), nowMs, timeoutMs);
  return next;
}
