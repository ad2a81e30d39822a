// Failed writes, under the names that kube-proxy has for them in each mode (pkg/proxy/metrics/metrics.go).

import { Counter, type Registry } from 'prom-client';

interface Failure {
  readonly isFull: boolean;
  readonly isCleanup: boolean;
}

interface Declaration {
  readonly name: string;
  readonly help: string;
  readonly counts: (failure: Failure) => boolean;
}

const RESTORE: Declaration = {
  name: 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total',
  help: 'Cumulative proxy iptables restore failures',
  counts: ({ isCleanup }) => !isCleanup,
};

const BY_MODE: Readonly<Record<string, readonly Declaration[]>> = {
  nftables: [
    {
      name: 'kubeproxy_sync_proxy_rules_nftables_sync_failures_total',
      help: 'Cumulative proxy nftables sync failures',
      counts: ({ isCleanup }) => !isCleanup,
    },
    {
      name: 'kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total',
      help: 'Cumulative proxy nftables cleanup failures',
      counts: ({ isCleanup }) => isCleanup,
    },
  ],
  iptables: [
    RESTORE,
    {
      name: 'kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total',
      help: 'Cumulative proxy iptables partial restore failures',
      counts: ({ isCleanup, isFull }) => !isCleanup && !isFull,
    },
  ],
  ipvs: [RESTORE],
};

/**
 * Registers those of a mode, at 0; what it returns counts one failure, for every family since one sync writes all. Those of modes
 * that were in use before stay.
 */
export function declareFailures(
  registry: Registry,
  mode: string,
  families: readonly string[],
): (failure: Failure) => void {
  const declared = (BY_MODE[mode] ?? []).map(({ name, help, counts }) => {
    const former = registry.getSingleMetric(name);
    if (former instanceof Counter) return { counter: former, counts };
    const counter = new Counter({ name, help, labelNames: ['ip_family'], registers: [registry] });
    for (const ip_family of families) counter.inc({ ip_family }, 0);
    return { counter, counts };
  });
  return (failure) => {
    for (const { counter, counts } of declared) {
      if (counts(failure)) for (const ip_family of families) counter.inc({ ip_family });
    }
  };
}
