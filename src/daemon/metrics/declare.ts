// The declarations of all metrics. Names, help and labels of the first part are kube-proxy 1.36's
// (pkg/proxy/metrics/metrics.go); the second part is ours, prefix `kproxy_ts_`.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { PROGRAMMING_BUCKETS, REQUEST_BUCKETS, SYNC_BUCKETS } from './buckets.ts';

/** Registers every metric and returns them by what they are for. */
export function declareMetrics(registry: Registry) {
  const registers = [registry];
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: L[] = [],
  ) => new Histogram<L>({ name, help, labelNames, buckets: [...buckets], registers });
  return {
    syncDuration: histogram(
      'kubeproxy_sync_proxy_rules_duration_seconds',
      'SyncProxyRules latency in seconds',
      SYNC_BUCKETS,
      ['ip_family'],
    ),
    fullSyncDuration: histogram(
      'kubeproxy_sync_full_proxy_rules_duration_seconds',
      'SyncProxyRules latency in seconds for full resyncs',
      SYNC_BUCKETS,
      ['ip_family'],
    ),
    partialSyncDuration: histogram(
      'kubeproxy_sync_partial_proxy_rules_duration_seconds',
      'SyncProxyRules latency in seconds for partial resyncs',
      SYNC_BUCKETS,
      ['ip_family'],
    ),
    lastSync: gauge(
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
      'The last time proxy rules were successfully synced',
      ['ip_family'],
    ),
    lastQueued: gauge(
      'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
      'The last time a sync of proxy rules was queued',
      ['ip_family'],
    ),
    programming: histogram(
      'kubeproxy_network_programming_duration_seconds',
      'In Cluster Network Programming Latency in seconds',
      PROGRAMMING_BUCKETS,
      ['ip_family'],
    ),
    endpointChangesPending: gauge(
      'kubeproxy_sync_proxy_rules_endpoint_changes_pending',
      'Pending proxy rules Endpoint changes',
    ),
    endpointChanges: counter(
      'kubeproxy_sync_proxy_rules_endpoint_changes_total',
      'Cumulative proxy rules Endpoint changes',
    ),
    serviceChangesPending: gauge(
      'kubeproxy_sync_proxy_rules_service_changes_pending',
      'Pending proxy rules Service changes',
    ),
    serviceChanges: counter(
      'kubeproxy_sync_proxy_rules_service_changes_total',
      'Cumulative proxy rules Service changes',
    ),
    noLocalEndpoints: gauge(
      'kubeproxy_sync_proxy_rules_no_local_endpoints_total',
      'Number of services with a Local traffic policy and no endpoints',
      ['traffic_policy', 'ip_family'],
    ),
    healthz: counter('kubeproxy_proxy_healthz_total', 'Cumulative proxy healthz HTTP status', ['code']),
    livez: counter('kubeproxy_proxy_livez_total', 'Cumulative proxy livez HTTP status', ['code']),
    conntrackDuration: histogram(
      'kubeproxy_conntrack_reconciler_sync_duration_seconds',
      'ReconcileConntrackFlowsLatency latency in seconds',
      SYNC_BUCKETS,
      ['ip_family'],
    ),
    conntrackDeleted: counter(
      'kubeproxy_conntrack_reconciler_deleted_entries_total',
      'Cumulative conntrack flows deleted by conntrack reconciler',
      ['ip_family'],
    ),
    requests: counter(
      'rest_client_requests_total',
      'Number of HTTP requests, partitioned by status code, method, and host.',
      ['code', 'method', 'host'],
    ),
    requestDuration: histogram(
      'rest_client_request_duration_seconds',
      'Request latency in seconds. Broken down by verb, and host.',
      REQUEST_BUCKETS,
      ['verb', 'host'],
    ),

    info: gauge('kproxy_ts_build_info', 'Version and mode of this daemon; always 1', ['version', 'mode']),
    writes: counter(
      'kproxy_ts_kernel_writes_total',
      'Kernel objects written or deleted, by what caused it (change, retry, drift, cleanup)',
      ['cause'],
    ),
    transactions: counter('kproxy_ts_kernel_transactions_total', 'Kernel transactions committed'),
    transactionSize: histogram(
      'kproxy_ts_sync_writes',
      'Kernel objects written or deleted per sync that wrote anything',
      [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000, 1_000_000],
    ),
    driftRepaired: counter(
      'kproxy_ts_drift_repaired_total',
      'How often changes that others made to our rules were repaired',
    ),
    driftObjects: counter(
      'kproxy_ts_drift_repaired_objects_total',
      'Kernel objects written or deleted in these repairs',
    ),
    problems: gauge('kproxy_ts_problems', 'What is odd about objects and rules now, by code', ['code']),
    configReloads: counter(
      'kproxy_ts_config_reloads_total',
      'Changed configurations that were read, by result (applied, refused)',
      ['result'],
    ),
    configReloadSuccess: gauge(
      'kproxy_ts_config_last_reload_successful',
      'Whether the last configuration that was read is in force: 1, or 0 when it was refused',
    ),
    configReloadTime: gauge(
      'kproxy_ts_config_last_reload_success_timestamp_seconds',
      'When the configuration in force was read',
    ),
    services: gauge('kproxy_ts_services', 'Services known'),
    events: counter(
      'kproxy_ts_events_total',
      'Events about this Node, by what became of them (written, suppressed by rate limits, failed)',
      ['outcome'],
    ),
    stale: gauge(
      'kproxy_ts_state_stale',
      '1 while Services and endpoints are those of a checkpoint, which the API server has not confirmed',
    ),
    checkpointTime: gauge('kproxy_ts_checkpoint_timestamp_seconds', 'When the last checkpoint was written'),
    checkpointBytes: gauge('kproxy_ts_checkpoint_bytes', 'Size of the last checkpoint that was written'),
    checkpointFailures: counter(
      'kproxy_ts_checkpoint_failures_total',
      'Checkpoints that could not be written, or not be used when needed',
    ),
  };
}

export type DeclaredMetrics = ReturnType<typeof declareMetrics>;
