// spec.loadBalancerSourceRanges: where clients of load-balancer addresses must come from, as kube-proxy 1.36 reads it
// (pkg/proxy/serviceport.go, pkg/proxy/util MapCIDRsByIPFamily). It passes over an entry that it cannot read, and lets
// everybody in when none is left; here such an entry keeps its family closed to all but what the others name.

import { outermost } from './cidr-list.ts';
import type { Field } from './fields.ts';
import { type Cidr, type IpFamily, parseCidr } from './ip.ts';

/** Per family: undefined lets everybody in, an empty list nobody. Lists are as `outermost` makes them. */
export interface SourceRanges {
  readonly 4: readonly Cidr[] | undefined;
  readonly 6: readonly Cidr[] | undefined;
}

/** What a Service without ranges has: one object, for there are many such Services. */
export const UNRESTRICTED: SourceRanges = { 4: undefined, 6: undefined };

/** `exposed` are the families that the Service has load-balancer addresses of. */
export function readSourceRanges(list: Field, exposed: ReadonlySet<IpFamily>): SourceRanges {
  const fields = list.items();
  if (fields.length === 0) return UNRESTRICTED;
  const cidrs: Record<IpFamily, Cidr[]> = { 4: [], 6: [] };
  const misread = new Set<IpFamily>();
  for (const field of fields) {
    const text = typeof field.value === 'string' ? field.value.trim() : '';
    const cidr = parseCidr(text);
    if (cidr !== undefined) {
      cidrs[cidr.family].push(cidr);
      continue;
    }
    field.warn('SKIPPED_FIELD', 'must be a CIDR such as 192.0.2.0/24', 'nobody is let in by it');
    for (const family of familiesMeant(text)) misread.add(family);
  }
  const rangesOf = (family: IpFamily): readonly Cidr[] | undefined => {
    if (cidrs[family].some(({ prefix }) => prefix === 0)) return undefined;
    if (cidrs[family].length > 0 || misread.has(family)) return outermost(cidrs[family]);
    if (exposed.has(family))
      list.remark(
        'UNRESTRICTED_FAMILY',
        `names no IPv${family} range, so everybody is let in over IPv${family}`,
      );
    return undefined;
  };
  return { 4: rangesOf(4), 6: rangesOf(6) };
}

/** The families that text may have been meant for which is no CIDR. */
function familiesMeant(text: string): readonly IpFamily[] {
  const [isLike4, isLike6] = [text.includes('.'), text.includes(':')];
  if (isLike4 === isLike6) return [4, 6];
  return isLike4 ? [4] : [6];
}
