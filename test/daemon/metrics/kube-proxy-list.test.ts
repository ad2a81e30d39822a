// Every metric of kube-proxy 1.36, by name, type, labels and buckets: what dashboards and alerts written for it rest on.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Metrics } from '../../../src/daemon/metrics/metrics.ts';
import type { SyncReport } from '../../../src/daemon/sync-loop.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import { service } from '../../support/manifests.ts';

interface Listed {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly buckets?: string;
  /** All unless given. */
  readonly modes?: readonly string[];
}

const list = JSON.parse(readFileSync(new URL('kube-proxy-1.36.json', import.meta.url), 'utf8')) as {
  readonly buckets: Readonly<Record<string, readonly number[]>>;
  readonly metrics: readonly Listed[];
  readonly absent: Readonly<Record<string, string>>;
};

const MODES = ['nftables', 'iptables', 'ipvs'];

/** All that can happen, once. */
async function exercised(mode: string): Promise<string> {
  const startSeconds = 1_800_000_000;
  const metrics = new Metrics({ version: '1', mode, families: [4], nowSeconds: () => startSeconds });
  const report: SyncReport = {
    writes: 1,
    isFull: false,
    transactions: 1,
    failures: [],
    durationMs: 1,
    changedServices: 1,
    cause: 'change',
  };
  const annotations = {
    'endpoints.kubernetes.io/last-change-trigger-time': new Date((startSeconds + 1) * 1000).toISOString(),
  };
  const metadata = { namespace: 'a', labels: { 'kubernetes.io/service-name': 'web' }, annotations };
  metrics.received(
    [
      { type: 'upsert', kind: 'Service', object: service('a', { clusterIps: [], ports: [] }), origin: '' },
      { type: 'upsert', kind: 'EndpointSlice', object: { metadata }, origin: '' },
    ],
    { services: new Set(['a/web' as ServiceKey]), hasNewSurroundings: false },
  );
  metrics.synced(report);
  metrics.synced({ ...report, isFull: true });
  metrics.conntrackPassed({ durationMs: 1, deleted: 1 });
  metrics.requested({ method: 'GET', host: '10.0.0.1:6443', code: '200', durationMs: 1 });
  return metrics.text();
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function samplesOf(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)!;
      const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]);
      return { name, labels: Object.fromEntries(pairs), value: Number(value) };
    });
}

describe.each(MODES)('%s mode', (mode) => {
  const ofMode = list.metrics.filter(({ modes = MODES }) => modes.includes(mode));

  test.each(ofMode)('has $name', async ({ name, type, labels, buckets }) => {
    const text = await exercised(mode);
    expect(text).toContain(`# TYPE ${name} ${type}\n`);
    const samples = samplesOf(text).filter((sample) =>
      type === 'histogram' ? sample.name === `${name}_bucket` : sample.name === name,
    );
    expect(samples.length).toBeGreaterThan(0);
    for (const sample of samples) {
      const others = Object.keys(sample.labels).filter((label) => label !== 'le');
      expect(others.sort()).toEqual(labels);
    }
    if (buckets !== undefined) {
      const bounds = samples.map((sample) => Number(sample.labels['le']!.replace('+Inf', 'Infinity')));
      expect(new Set(bounds)).toEqual(new Set([...list.buckets[buckets]!, Number.POSITIVE_INFINITY]));
    }
  });

  test('has none under these names that the list does not know, and none of other modes', async () => {
    const names = [
      ...(await exercised(mode)).matchAll(/^# TYPE ((?:kubeproxy|rest_client|kubernetes)_\w+)/gm),
    ];
    expect(names.map(([, name]) => name).sort()).toEqual(ofMode.map(({ name }) => name).sort());
    for (const name of Object.keys(list.absent)) expect(names.map(([, one]) => one)).not.toContain(name);
  });

  test("tells how late the event loop is, and of the process what Go's and C's exporters do", async () => {
    const text = await exercised(mode);
    for (const name of [
      'nodejs_eventloop_lag_seconds',
      'nodejs_eventloop_lag_p99_seconds',
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_open_fds',
      'process_start_time_seconds',
    ]) {
      expect(text).toMatch(new RegExp(`^${name} `, 'm'));
    }
  });
});

test.each([
  ['nftables', { cause: 'change', isFull: false }, ['nftables_sync_failures_total']],
  ['nftables', { cause: 'cleanup', isFull: false }, ['nftables_cleanup_failures_total']],
  [
    'iptables',
    { cause: 'retry', isFull: false },
    ['iptables_partial_restore_failures_total', 'iptables_restore_failures_total'],
  ],
  ['iptables', { cause: 'change', isFull: true }, ['iptables_restore_failures_total']],
  ['ipvs', { cause: 'change', isFull: true }, ['iptables_restore_failures_total']],
  ['ipvs', { cause: 'cleanup', isFull: true }, []],
] as const)('a failure in %s mode (%o) is counted as %o, for each family', async (mode, what, counted) => {
  const metrics = new Metrics({ version: '1', mode, families: [4, 6] });
  const failures = [{ error: new Error('no'), services: [] }];
  metrics.synced({ writes: 0, transactions: 0, durationMs: 1, changedServices: 0, failures, ...what });
  const failed = samplesOf(await metrics.text()).filter(({ name }) => name.includes('failures_total'));
  const names = failed
    .filter(({ value }) => value === 1)
    .map(({ name, labels }) => `${name} ${labels['ip_family']}`);
  expect(names.sort()).toEqual(
    counted.flatMap((name) =>
      ['IPv4', 'IPv6'].map((family) => `kubeproxy_sync_proxy_rules_${name} ${family}`),
    ),
  );
  expect(failed.filter(({ value }) => value > 1)).toEqual([]);
});
