// Endpoints in turn, each as often as it weighs, those that weigh more spread among the others (the smooth weighted round robin of
// nginx, ngx_http_upstream_get_peer): at each turn every endpoint is credited its weight, the one with the most credit is
// taken, and pays the weight of all.

import type { Backend } from '../../vip/frontend.ts';
import { endpointText } from '../iptables/names.ts';

interface Turn {
  backend: Backend;
  credit: number;
}

export class WeightedRoundRobin {
  /** By `ip:port`. */
  #turns = new Map<string, Turn>();

  /** Replaces the endpoints. Those that stay keep their place in the order. */
  set(backends: readonly Backend[]): void {
    const total = backends.reduce((sum, { weight }) => sum + weight, 0);
    const turns = new Map<string, Turn>();
    for (const backend of backends) {
      const id = endpointText(backend);
      // What weighed a hundred times as much must not have turns in a row, or none, for what it was owed then.
      const credit = Math.max(-total, Math.min(total, this.#turns.get(id)?.credit ?? 0));
      turns.set(id, { backend, credit });
    }
    this.#turns = turns;
  }

  /** By `ip:port`. */
  get(id: string): Backend | undefined {
    return this.#turns.get(id)?.backend;
  }

  /** Whose turn it is, those in `excluded` (`ip:port`) left out; undefined when nobody is left. */
  next(excluded: ReadonlySet<string>): Backend | undefined {
    let taken: Turn | undefined;
    let total = 0;
    for (const [id, turn] of this.#turns) {
      if (excluded.size > 0 && excluded.has(id)) continue;
      total += turn.backend.weight;
      turn.credit += turn.backend.weight;
      if (taken === undefined || turn.credit > taken.credit) taken = turn;
    }
    if (taken === undefined) return undefined;
    taken.credit -= total;
    return taken.backend;
  }
}
