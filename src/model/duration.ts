// Go's durations (time.ParseDuration): what flags written for kube-proxy and annotations state times in.

const NS_PER_UNIT: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n, // U+00B5
  μs: 1_000n, // U+03BC
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const DURATION = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/;
const DURATION_PART = /(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)/g;
const MAX_NS = 2n ** 63n - 1n;

/**
 * Milliseconds (possibly a fraction) of `1h30m`, `250ms`, `1.5s`, `0`. `malformed`, or `too-long` for what Go cannot
 * hold: more than 292 years.
 */
export function parseGoDuration(text: string): number | 'malformed' | 'too-long' {
  if (/^[+-]?0$/.test(text)) return 0;
  const match = DURATION.exec(text);
  if (match === null) return 'malformed';
  let ns = 0n;
  for (const [, whole = '', fraction = '', unit = ''] of match[2]!.matchAll(DURATION_PART)) {
    const scale = NS_PER_UNIT[unit]!;
    ns += BigInt(whole) * scale + (BigInt(fraction) * scale) / 10n ** BigInt(fraction.length);
  }
  if (ns > MAX_NS) return 'too-long';
  const ms = Number(ns) / 1e6;
  return match[1] === '-' ? -ms : ms;
}
