// The alert rules against the metrics that there are, and against the words that explain them.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Metrics } from '../../src/daemon/metrics/metrics.ts';
import { build } from './kustomize.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');

const rules = build(`${DEPLOY}/nftables`, [`${DEPLOY}/monitoring`])
  .filter(({ kind }) => kind === 'PrometheusRule')
  .flatMap(({ spec }) => (spec as { groups: { rules: Rule[] }[] }).groups)
  .flatMap((group) => group.rules);

/** Metric → labels that samples of it may have, over all modes. */
async function exposed(): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  for (const mode of ['nftables', 'iptables', 'ipvs']) {
    const metrics = new Metrics({ version: '1', mode, families: [4] });
    metrics.requested({ method: 'GET', host: 'h', code: '200', durationMs: 1 });
    metrics.certificateUntil(new Date(0));
    metrics.probed('connected', 1, true);
    metrics.counted(1, [{ subject: 's', code: 'c', reason: 'r' }]);
    metrics.received([{ type: 'upsert', kind: 'Service', object: {}, origin: '' }], {
      services: new Set(),
      hasNewSurroundings: true,
    });
    metrics.synced({
      writes: 1,
      isFull: true,
      transactions: 1,
      failures: [],
      durationMs: 1,
      changedServices: 0,
      cause: 'change',
    });
    const text = await metrics.text();
    for (const [, name = ''] of text.matchAll(/^# TYPE (\w+) /gm)) found.set(name, new Set());
    for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)\{(.*?)\} /gm)) {
      const names = [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label!);
      found.set(name, new Set([...(found.get(name) ?? []), ...names]));
    }
  }
  return found;
}

/** What Prometheus itself knows. */
const OWN = new Set(['up']);
const SCRAPED = ['job', 'instance'];
const WORDS = new Set(
  ['absent', 'rate', 'increase', 'histogram_quantile', 'sum', 'max', 'by', 'or', 'le', 'time'].concat(
    SCRAPED,
  ),
);

const selectors = rules.flatMap(({ alert, expr }) =>
  [...expr.matchAll(/\b([a-z][a-z0-9_]*)\b(?:\{([^}]*)\})?/g)]
    .filter(([, word]) => word!.includes('_') || OWN.has(word!))
    .filter(([, word]) => !WORDS.has(word!))
    .map(([, metric = '', matchers = '']) => ({
      alert,
      metric,
      labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!),
    })),
);

test('every alert asks for something', () => {
  expect(new Set(selectors.map(({ alert }) => alert))).toEqual(new Set(rules.map(({ alert }) => alert)));
  expect(rules.length).toBeGreaterThan(5);
});

test.each(selectors)('$alert: $metric is exposed, with these labels', async ({ metric, labels }) => {
  if (OWN.has(metric)) return;
  const all = await exposed();
  const base = metric.replace(/_bucket$/, '');
  expect([...all.keys()]).toContain(base);
  for (const label of labels) expect([...(all.get(metric) ?? []), ...SCRAPED]).toContain(label);
});

describe.each(rules)('$alert', ({ alert, expr, labels, annotations }) => {
  test('is well formed, and explained', () => {
    for (const [open, close] of ['()', '{}', '[]'].map((pair) => [...pair] as [string, string])) {
      expect(expr.split(open).length).toBe(expr.split(close).length);
    }
    expect(['critical', 'warning', 'info']).toContain(labels.severity);
    expect(annotations.summary).toMatch(/\.$/);
    expect(annotations.runbook).toBe(`docs/operations.md#${alert.toLowerCase()}`);
    expect(operations).toContain(`\n### ${alert}\n`);
  });
});
