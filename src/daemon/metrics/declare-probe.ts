// Metrics of the probe; without one they are not there, since an alert on 0 needs one.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ProbeOutcome } from '../probe/probe-health.ts';

const PASSING = 'kproxy_ts_probe_passing';
const PROBES = 'kproxy_ts_probes_total';
const DURATION = 'kproxy_ts_probe_duration_seconds';

/** Registers them, counters at 0; `forget` takes them away again. */
export function declareProbe(registry: Registry) {
  const registers = [registry];
  const passing = new Gauge({
    name: PASSING,
    help: 'Whether the probed virtual IP can be reached',
    registers,
  });
  const probes = new Counter({
    name: PROBES,
    help: 'Connections that the probe tried, by outcome (connected, refused, timeout, unreachable)',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of ['connected', 'refused', 'timeout', 'unreachable'] satisfies ProbeOutcome[]) {
    probes.inc({ outcome }, 0);
  }
  const duration = new Histogram({
    name: DURATION,
    help: 'Until a connection of the probe was there, in seconds',
    buckets: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 2],
    registers,
  });
  const forget = (): void => {
    for (const name of [PASSING, PROBES, DURATION]) registry.removeSingleMetric(name);
  };
  return { passing, probes, duration, forget };
}
