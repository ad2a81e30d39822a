// What metrics say. Which there are: kube-proxy-list.test.ts.

import { expect, test } from 'vitest';
import { Metrics } from '../../../src/daemon/metrics/metrics.ts';
import type { SyncReport } from '../../../src/daemon/sync-loop.ts';
import type { ServiceKey } from '../../../src/model/types.ts';

const START_SECONDS = 1_800_000_000;

function begin() {
  let nowSeconds = START_SECONDS;
  const metrics = new Metrics({
    version: '1',
    mode: 'nftables',
    families: [4, 6],
    nowSeconds: () => nowSeconds,
  });
  return {
    metrics,
    tick: (seconds: number) => {
      nowSeconds += seconds;
    },
    /** Samples by name and labels. */
    async samples(): Promise<Map<string, number>> {
      const lines = (await metrics.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      return new Map(
        lines.map((line) => {
          const at = line.lastIndexOf(' ');
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
      );
    },
  };
}

const report = (over: Partial<SyncReport> = {}): SyncReport => ({
  writes: 0,
  isFull: false,
  transactions: 0,
  failures: [],
  durationMs: 3,
  changedServices: 0,
  cause: 'change',
  ...over,
});

/** The Service that slices here are of. */
const CHANGED = { services: new Set(['a/web' as ServiceKey]), hasNewSurroundings: false };
const UNCHANGED = { services: new Set<ServiceKey>(), hasNewSurroundings: false };

const slice = (trigger?: string, name = 'web') =>
  ({
    type: 'upsert',
    kind: 'EndpointSlice',
    object: {
      metadata: {
        namespace: 'a',
        labels: { 'kubernetes.io/service-name': name },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': trigger },
      },
    },
    origin: '',
  }) as const;

test('changes are pending until a clean sync', async () => {
  const { metrics, samples } = begin();
  metrics.received(
    [
      { type: 'list-start', kind: 'Service' },
      { type: 'upsert', kind: 'Service', object: {}, origin: '' },
      { type: 'delete', kind: 'EndpointSlice', namespace: 'a', name: 'b' },
    ],
    CHANGED,
  );
  const state = async () => {
    const all = await samples();
    return ['service', 'endpoint'].flatMap((kind) =>
      ['pending', 'total'].map((what) => all.get(`kubeproxy_sync_proxy_rules_${kind}_changes_${what}`)),
    );
  };
  expect(await state()).toEqual([1, 1, 1, 1]);
  metrics.synced(report({ failures: [{ error: new Error('no'), services: [] }], cause: 'retry' }));
  expect(await state()).toEqual([1, 1, 1, 1]);
  metrics.synced(report());
  expect(await state()).toEqual([0, 1, 0, 1]);
});

test('what changes nothing is counted, waits for no sync, and is no latency', async () => {
  const { metrics, samples, tick } = begin();
  tick(3600);
  const trigger = new Date((START_SECONDS + 1) * 1000).toISOString();
  metrics.received([slice(trigger), slice()], UNCHANGED);
  metrics.synced(report());
  const all = await samples();
  expect(all.get('kubeproxy_sync_proxy_rules_endpoint_changes_total')).toBe(2);
  expect(all.get('kubeproxy_sync_proxy_rules_endpoint_changes_pending')).toBe(0);
  expect([...all.keys()].filter((key) => key.includes('last_queued'))).toEqual([]);
  expect([...all.keys()].filter((key) => key.includes('programming_duration_seconds_count'))).toEqual([]);
});

test('a change that seems to come from the future took no time', async () => {
  const { metrics, samples, tick } = begin();
  metrics.received([slice(new Date((START_SECONDS + 100) * 1000).toISOString())], CHANGED);
  tick(-3600);
  metrics.synced(report());
  const all = await samples();
  expect(all.get('kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"}')).toBe(0);
  expect(all.get('kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}')).toBe(1);
});

test('network programming latency runs from the change in the cluster to the first clean sync', async () => {
  const { metrics, samples, tick } = begin();
  const at = (seconds: number) => new Date((START_SECONDS + seconds) * 1000).toISOString();
  tick(10);
  metrics.received(
    [slice(at(8)), slice(at(-5)), slice('yesterday'), slice(), slice(at(1), 'other')],
    CHANGED,
  );
  metrics.synced(report({ failures: [{ error: new Error('no'), services: [] }] }));
  tick(2);
  metrics.synced(report());
  metrics.synced(report());
  const all = await samples();
  for (const family of ['IPv4', 'IPv6']) {
    expect(all.get(`kubeproxy_network_programming_duration_seconds_count{ip_family="${family}"}`)).toBe(1);
    expect(all.get(`kubeproxy_network_programming_duration_seconds_sum{ip_family="${family}"}`)).toBe(4);
  }
});

test('repairs, writes and problems are counted', async () => {
  const { metrics, samples } = begin();
  metrics.synced(report({ cause: 'drift', writes: 7, transactions: 2, isFull: true }));
  metrics.synced(report({ cause: 'cleanup', writes: 1, transactions: 1 }));
  metrics.counted(3, [
    { subject: 'Service a/b', code: 'INVALID_FIELD', reason: '' },
    { subject: 'Service a/c', code: 'INVALID_FIELD', reason: '' },
  ]);
  metrics.conntrackPassed({ durationMs: 2, deleted: 5 });
  metrics.answered('healthz', 503);
  metrics.eventEnded('suppressed');
  metrics.requested({ method: 'GET', host: 'api', code: '<error>', durationMs: 250 });
  const all = await samples();
  expect(all.get('kproxy_ts_drift_repaired_total')).toBe(1);
  expect(all.get('kproxy_ts_drift_repaired_objects_total')).toBe(7);
  expect(all.get('kproxy_ts_kernel_writes_total{cause="drift"}')).toBe(7);
  expect(all.get('kproxy_ts_kernel_writes_total{cause="cleanup"}')).toBe(1);
  expect(all.get('kproxy_ts_kernel_transactions_total')).toBe(3);
  expect(all.get('kproxy_ts_problems{code="INVALID_FIELD"}')).toBe(2);
  expect(all.get('kproxy_ts_services')).toBe(3);
  expect(all.get('kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"}')).toBe(5);
  expect(all.get('kubeproxy_proxy_healthz_total{code="503"}')).toBe(1);
  expect(all.get('kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv6"}')).toBe(1);
  expect(all.get('kproxy_ts_events_total{outcome="suppressed"}')).toBe(1);
  expect(all.get('kproxy_ts_events_total{outcome="failed"}')).toBe(0);
  expect(all.get('rest_client_requests_total{code="<error>",method="GET",host="api"}')).toBe(1);
  expect(all.get('rest_client_request_duration_seconds_sum{verb="GET",host="api"}')).toBe(0.25);
  metrics.counted(3, []);
  expect((await samples()).has('kproxy_ts_problems{code="INVALID_FIELD"}')).toBe(false);
});

test('another mode: failures of each are counted under its names, and none is lost', async () => {
  const { metrics, samples } = begin();
  const failed = report({ failures: [{ error: new Error('x'), services: [] }] });
  const nftables = 'kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"}';
  const iptables = 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"}';
  metrics.synced(failed);
  for (const mode of ['iptables', 'nftables', 'iptables']) {
    metrics.mode(mode);
    metrics.synced(failed);
  }
  const now = await samples();
  expect([now.get(nftables), now.get(iptables)]).toEqual([2, 2]);
  expect([...now.keys()].filter((key) => key.startsWith('kproxy_ts_build_info'))).toEqual([
    'kproxy_ts_build_info{version="1",mode="iptables"}',
  ]);
});

test('the end of a certificate is told while there is one', async () => {
  const { metrics, samples } = begin();
  const ours = async () => [...(await samples())].filter(([key]) => key.startsWith('kproxy_ts_metrics_tls'));
  expect(await ours()).toEqual([]);
  metrics.certificateUntil(new Date(START_SECONDS * 1000));
  metrics.credentialsReloaded('refused');
  expect(await ours()).toEqual([
    ['kproxy_ts_metrics_tls_reloads_total{result="applied"}', 0],
    ['kproxy_ts_metrics_tls_reloads_total{result="refused"}', 1],
    ['kproxy_ts_metrics_tls_certificate_expiry_timestamp_seconds', START_SECONDS],
  ]);
  metrics.certificateUntil(undefined);
  expect(await ours()).toEqual([]);
  metrics.certificateUntil(new Date(START_SECONDS * 1000));
  expect((await ours())[1]).toEqual(['kproxy_ts_metrics_tls_reloads_total{result="refused"}', 0]);
});

test('a probe is told while there is one', async () => {
  const { metrics, samples } = begin();
  const ours = async () =>
    [...(await samples())].filter(([key]) => key.startsWith('kproxy_ts_probe') && !key.includes('_bucket'));
  expect(await ours()).toEqual([]);
  metrics.probed('connected', 3, true);
  metrics.probed('timeout', 2000, false);
  expect(await ours()).toEqual([
    ['kproxy_ts_probe_passing', 0],
    ['kproxy_ts_probes_total{outcome="connected"}', 1],
    ['kproxy_ts_probes_total{outcome="refused"}', 0],
    ['kproxy_ts_probes_total{outcome="timeout"}', 1],
    ['kproxy_ts_probes_total{outcome="unreachable"}', 0],
    ['kproxy_ts_probe_duration_seconds_sum', 0.003],
    ['kproxy_ts_probe_duration_seconds_count', 1],
  ]);
  metrics.unprobed();
  expect(await ours()).toEqual([]);
});
