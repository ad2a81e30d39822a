// Metrics of a metrics server with TLS; where it has none they are not there, since an alert on a date needs one.

import { Counter, Gauge, type Registry } from 'prom-client';

const RELOADS = 'kproxy_ts_metrics_tls_reloads_total';
const EXPIRY = 'kproxy_ts_metrics_tls_certificate_expiry_timestamp_seconds';

/** Registers them, at 0; `forget` takes them away again. */
export function declareTls(registry: Registry) {
  const registers = [registry];
  const reloads = new Counter({
    name: RELOADS,
    help: 'Changed credentials of the metrics server, by result (applied, refused)',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['applied', 'refused']) reloads.inc({ result }, 0);
  const expiry = new Gauge({
    name: EXPIRY,
    help: 'When the certificate of the metrics server expires',
    registers,
  });
  const forget = (): void => {
    for (const name of [RELOADS, EXPIRY]) registry.removeSingleMetric(name);
  };
  return { reloads, expiry, forget };
}
