// What `npm run bench` can be told.

import { parseArgs } from 'node:util';

export const MEASURES = ['cold', 'start', 'change', 'restart', 'memory'] as const;
export type Measure = (typeof MEASURES)[number];

export interface BenchOptions {
  /** Numbers of Services. */
  readonly sizes: readonly number[];
  /** Per Service. */
  readonly endpoints: number;
  readonly measures: ReadonlySet<Measure>;
  /** File for the raw figures. */
  readonly json: string | undefined;
  /** Changes of each kind. */
  readonly changes: number;
  /** The largest number of Services that nft loads in kube-proxy's layout, whose cost is quadratic. */
  readonly kubeProxyMax: number;
}

export const HELP = `Usage: npm run bench -- [options]

  --sizes=1k,10k,50k    numbers of Services
  --endpoints=5         endpoints of each Service; targets are for 5
  --only=LIST           of ${MEASURES.join(',')}
  --changes=1000        changes of each kind to time
  --kube-proxy-max=10k  sizes up to which nft loads kube-proxy's layout for comparison (15 s at 10k, minutes at 50k)
  --json=FILE           write every figure
`;

/** Throws an Error that names the option. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      sizes: { ...text, default: '1k,10k,50k' },
      endpoints: { ...text, default: '5' },
      only: { ...text, default: MEASURES.join(',') },
      changes: { ...text, default: '1000' },
      'kube-proxy-max': { ...text, default: '10k' },
      json: text,
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const sizes = values.sizes.split(',').map((one) => parseCount('--sizes', one, 100_000));
  return {
    sizes: [...new Set(sizes)].sort((a, b) => a - b),
    endpoints: parseCount('--endpoints', values.endpoints, 40),
    measures: new Set(values.only.split(',').map(parseMeasure)),
    json: values.json,
    changes: parseCount('--changes', values.changes, 4_000),
    kubeProxyMax: parseCount('--kube-proxy-max', values['kube-proxy-max'], 100_000),
  };
}

/** `500`, or thousands: `10k`. */
function parseCount(option: string, text: string, max: number): number {
  const [, digits, k] = /^(\d{1,7})(k?)$/.exec(text) ?? [];
  const count = Number(digits) * (k === 'k' ? 1000 : 1);
  if (!(count >= 1 && count <= max))
    throw new Error(`${option}: must be a number from 1 to ${max}, such as 10k, got "${text}"`);
  return count;
}

function parseMeasure(text: string): Measure {
  const measure = MEASURES.find((one) => one === text);
  if (measure === undefined) throw new Error(`--only: must be of ${MEASURES.join(',')}, got "${text}"`);
  return measure;
}

/** `10k`, `1234`. */
export function formatCount(count: number): string {
  return count % 1000 === 0 ? `${count / 1000}k` : String(count);
}
