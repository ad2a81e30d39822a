// Chains that chains of shapes jump to: they carry a connection from a pick in the packet's priority to its backend, or
// remember and find again which backend a client sticks to. They hold all that reads the big maps: a rule that does makes
// the kernel walk the map once when it is made (nf_tables_bind_set), and these are made once per timeout, not per slot count.

import type { IpFamily } from '../../model/ip.ts';
import {
  daddr,
  dnatToMap,
  dport,
  type Field,
  forget,
  hasPort,
  hasPriority,
  l4proto,
  priority,
  remember,
  type Statement,
  saddr,
  setPriorityFrom,
} from './expressions.ts';
import { affinitySet, pickedSet, pickSet } from './planned-frontend.ts';
import { type Keying, keyingPrefix, type Shape } from './shape.ts';

/**
 * `choose`: from the slot in the priority to a backend. `stick`: to the backend that the client is remembered to have.
 * `learn`: as `choose`, and remembers it. All come back only if that backend is gone.
 */
export type Subroutine = Keying &
  ({ readonly kind: 'choose' } | { readonly kind: 'stick' | 'learn'; readonly stickySeconds: number });

/** What the chain of a shape jumps to, `stick` first. */
export function subroutinesOf({ keyedBy, side, balancing }: Shape): readonly Subroutine[] {
  if (balancing === undefined) return [];
  const { stickySeconds } = balancing;
  if (stickySeconds === undefined) return [{ keyedBy, side, kind: 'choose' }];
  return (['stick', 'learn'] as const).map((kind) => ({ keyedBy, side, kind, stickySeconds }));
}

/** `choose`, `stick-10800`, `nodeport-learn-60`, `inside-choose`. */
export function subroutineChain(subroutine: Subroutine): string {
  const seconds = subroutine.kind === 'choose' ? '' : `-${subroutine.stickySeconds}`;
  return `${keyingPrefix(subroutine)}${subroutine.kind}${seconds}`;
}

/** What `subroutineChain` printed. */
export function subroutineOf(chain: string): Subroutine | undefined {
  const [, nodeport, inside, kind, seconds] =
    /^(nodeport-)?(inside-)?(choose|stick|learn)(?:-(\d+))?$/.exec(chain) ?? [];
  const keying: Keying = {
    keyedBy: nodeport === undefined ? 'vip' : 'nodeport',
    side: inside === undefined ? 'all' : 'inside',
  };
  const subroutine: Subroutine | undefined =
    kind === 'choose'
      ? { ...keying, kind }
      : kind === 'stick' || kind === 'learn'
        ? { ...keying, kind, stickySeconds: Number(seconds) }
        : undefined;
  return subroutine !== undefined && subroutineChain(subroutine) === chain ? subroutine : undefined;
}

/** The rules of a subroutine. */
export function subroutineRules(family: IpFamily, subroutine: Subroutine): readonly Statement[][] {
  const frontend = subroutine.keyedBy === 'vip' ? [daddr(family), l4proto, dport] : [l4proto, dport];
  const toPicked = [hasPort, dnatToMap(family, [...frontend, priority], pickedSet(subroutine))];
  const pick = [setPriorityFrom([...frontend, priority], pickSet(subroutine))];
  if (subroutine.kind === 'choose') return [pick, toPicked];
  const client: Field[] = [saddr(family), ...frontend];
  const affinity = affinitySet(subroutine);
  const recall = [setPriorityFrom(client, affinity)];
  const keep = remember(client, affinity, subroutine.stickySeconds * 1000);
  // A backend that is gone: `update` would not put another in its place.
  const forgetStale = [hasPriority, forget(client, affinity)];
  if (subroutine.kind === 'stick') return [recall, [hasPriority, keep], toPicked, forgetStale];
  // Two first connections of a client at once: the backend of the one that was first counts for both.
  return [pick, [keep], recall, toPicked, forgetStale];
}
