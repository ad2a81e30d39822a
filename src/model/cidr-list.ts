// Lists of networks, reduced to what they cover.

import { type Cidr, cidrContains, packIp } from './ip.ts';

/** The networks without those that lie in another, each once: IPv4 before IPv6, by address. */
export function outermost(cidrs: readonly Cidr[]): readonly Cidr[] {
  const sorted = cidrs.map((cidr) => ({ cidr, packed: packIp(cidr.ip) }));
  // Networks are disjoint or one lies in the other; a larger one comes right before all that lie in it.
  sorted.sort(
    (a, b) =>
      a.cidr.family - b.cidr.family ||
      Number(a.packed > b.packed) - Number(a.packed < b.packed) ||
      a.cidr.prefix - b.cidr.prefix,
  );
  const kept: Cidr[] = [];
  for (const { cidr } of sorted) {
    const before = kept.at(-1);
    if (before === undefined || !cidrContains(before, cidr.ip)) kept.push(cidr);
  }
  return kept;
}
