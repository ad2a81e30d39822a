// Histogram buckets in seconds, as kube-proxy 1.36 has them (pkg/proxy/metrics/metrics.go).

/** 1 ms doubling up to 16.384 s: syncs, conntrack passes. */
export const SYNC_BUCKETS: readonly number[] = Array.from({ length: 15 }, (_, k) => 0.001 * 2 ** k);

/** Requests to the API server (k8s.io/component-base/metrics/prometheus/restclient). */
export const REQUEST_BUCKETS: readonly number[] = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

/** Network programming latency: its service level objective is stated in these. */
export const PROGRAMMING_BUCKETS: readonly number[] = [
  0.25,
  0.5,
  ...range(1, 59, 1),
  ...range(60, 115, 5),
  ...range(120, 300, 30),
];

function range(first: number, last: number, step: number): number[] {
  return Array.from({ length: (last - first) / step + 1 }, (_, i) => first + i * step);
}
