// Which external IPs are served (`--allow-external-ips`). Whoever may write a Service may claim any address by it, and
// take its traffic on every node (CVE-2020-8554); docs/external-ips.md.

import { type Cidr, cidrContains, type Ip } from '../model/ip.ts';
import type { Problem, Service } from '../model/types.ts';

/** External IPs that are served are within these; undefined for all. */
export type AllowedExternalIps = readonly Cidr[] | undefined;

/** Those of a Service that are served. */
export function servedExternalIps({ externalIps }: Service, allowed: AllowedExternalIps): readonly Ip[] {
  return allowed === undefined ? externalIps : externalIps.filter((ip) => isWithin(ip, allowed));
}

/** Tells which are not. */
export function externalIpProblems(
  { key, externalIps }: Service,
  allowed: AllowedExternalIps,
): readonly Problem[] {
  if (allowed === undefined) return [];
  const refused = externalIps.filter((ip) => !isWithin(ip, allowed));
  if (refused.length === 0) return [];
  const listed = refused.slice(0, 5).join(', ');
  const untold = refused.length > 5 ? ` and ${refused.length - 5} more` : '';
  return [
    {
      subject: `Service ${key}`,
      code: 'EXTERNAL_IP_NOT_ALLOWED',
      reason: `spec.externalIPs: not served, as --allow-external-ips does not allow: ${listed}${untold}`,
    },
  ];
}

function isWithin(ip: Ip, cidrs: readonly Cidr[]): boolean {
  return cidrs.some((cidr) => cidrContains(cidr, ip));
}
