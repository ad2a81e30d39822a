// What `npm run bench` can be told.

import { parseArgs } from 'node:util';
import { SERVICE_KINDS, type ServiceKind } from './objects.ts';

const MEASURES = ['cold', 'start', 'change', 'restart', 'memory', 'connect'] as const;
/** In iptables mode there is one more, of no other use than to compare with. */
const IPTABLES_MEASURES = [...MEASURES, 'reference'] as const;
export type Measure = (typeof IPTABLES_MEASURES)[number];
/** What the names of those in iptables mode begin with. */
const IPTABLES = 'iptables-';
const IPVS_MEASURES = ['cold', 'change', 'restart'] as const satisfies Measure[];
const IPVS = 'ipvs-';
const USERSPACE = 'userspace';

export interface BenchOptions {
  /** Numbers of Services. */
  readonly sizes: readonly number[];
  /** Per Service. */
  readonly endpoints: number;
  readonly measures: ReadonlySet<Measure>;
  readonly iptablesMeasures: ReadonlySet<Measure>;
  readonly ipvsMeasures: ReadonlySet<Measure>;
  /** The proxies of userspace mode against others. */
  readonly isUserspaceMeasured: boolean;
  /** File for the raw figures. */
  readonly json: string | undefined;
  /** The numbers of Services among which connections are set up: at least 2, one of each protocol. */
  readonly connectSizes: readonly number[];
  /** What the dialled Services ask for. */
  readonly connectKinds: readonly ServiceKind[];
  /** The numbers of Services in iptables mode. */
  readonly iptablesSizes: readonly number[];
  /** The numbers of Services among which connections are set up in iptables mode. */
  readonly iptablesConnectSizes: readonly number[];
  /** The numbers of Services in ipvs mode. */
  readonly ipvsSizes: readonly number[];
  /** The largest number of Services that iptables-nft-restore loads, whose cost is quadratic. */
  readonly restoreMax: number;
  /** Changes of each kind. */
  readonly changes: number;
  /** The largest number of Services that nft loads in kube-proxy's layout, whose cost is quadratic. */
  readonly kubeProxyMax: number;
}

export const HELP = `Usage: npm run bench -- [options]

  --sizes=1k,10k,50k       numbers of Services
  --endpoints=5            endpoints of each Service; targets are for 5
  --only=LIST              of ${MEASURES.join(',')}; these are all unless given
                           userspace: its proxies against HAProxy and socat
                           iptables mode: ${IPTABLES}cold and so on, and ${IPTABLES}reference; all of them: iptables (minutes)
                           ipvs mode: ${IPVS}cold, ${IPVS}change, ${IPVS}restart; all of them: ipvs. Everything is then
                           measured in a guest where this kernel has no IPVS
  --changes=1000           changes of each kind to time
  --kube-proxy-max=10k     sizes up to which nft loads kube-proxy's layout for comparison (15 s at 10k, minutes at 50k)
  --connect-sizes=100,30k  numbers of Services among which connections are set up
  --connect-kinds=plain    what those Services ask for, compared with the first: of ${SERVICE_KINDS.join(',')}
  --iptables-sizes=5k,10k  numbers of Services in iptables mode
  --iptables-connect-sizes=100,10k  numbers of Services among which connections are set up there
  --ipvs-sizes=5k          numbers of Services in ipvs mode
  --restore-max=10k        sizes up to which iptables-nft-restore loads the same rules, and kube-proxy's (a minute each at 10k)
  --json=FILE              write every figure
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
      'connect-sizes': { ...text, default: '100,30k' },
      'iptables-sizes': { ...text, default: '5k,10k' },
      'iptables-connect-sizes': { ...text, default: '100,10k' },
      'ipvs-sizes': { ...text, default: '5k' },
      'restore-max': { ...text, default: '10k' },
      'connect-kinds': { ...text, default: 'plain' },
      'kube-proxy-max': { ...text, default: '10k' },
      json: text,
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const only = values.only.split(',');
  const inIptables = only.filter((one) => isOfMode(one, IPTABLES));
  const inIpvs = only.filter((one) => isOfMode(one, IPVS));
  const others = only.filter((one) => !inIptables.includes(one) && !inIpvs.includes(one));
  return {
    sizes: parseSizes('--sizes', values.sizes),
    endpoints: parseCount('--endpoints', values.endpoints, 40),
    measures: new Set(
      others.filter((one) => one !== USERSPACE).map((one) => parseOneOf('--only', one, MEASURES)),
    ),
    isUserspaceMeasured: others.includes(USERSPACE),
    iptablesMeasures: new Set(inIptables.flatMap((one) => parseMeasures(one, IPTABLES, IPTABLES_MEASURES))),
    ipvsMeasures: new Set(inIpvs.flatMap((one) => parseMeasures(one, IPVS, IPVS_MEASURES))),
    json: values.json,
    connectSizes: parseSizes('--connect-sizes', values['connect-sizes'], 2),
    iptablesSizes: parseSizes('--iptables-sizes', values['iptables-sizes']),
    iptablesConnectSizes: parseSizes('--iptables-connect-sizes', values['iptables-connect-sizes'], 2),
    ipvsSizes: parseSizes('--ipvs-sizes', values['ipvs-sizes']),
    restoreMax: parseCount('--restore-max', values['restore-max'], 100_000),
    connectKinds: values['connect-kinds']
      .split(',')
      .map((one) => parseOneOf('--connect-kinds', one, SERVICE_KINDS)),
    changes: parseCount('--changes', values.changes, 4_000),
    kubeProxyMax: parseCount('--kube-proxy-max', values['kube-proxy-max'], 100_000),
  };
}

/** Ascending. */
function parseSizes(option: string, text: string, min = 1): number[] {
  const sizes = text.split(',').map((one) => parseCount(option, one, 100_000, min));
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** `500`, or thousands: `10k`. */
function parseCount(option: string, text: string, max: number, min = 1): number {
  const [, digits, k] = /^(\d{1,7})(k?)$/.exec(text) ?? [];
  const count = Number(digits) * (k === 'k' ? 1000 : 1);
  if (!(count >= min && count <= max))
    throw new Error(`${option}: must be a number from ${min} to ${max}, such as 10k, got "${text}"`);
  return count;
}

/** `iptables` or `iptables-cold`, where `prefix` is `iptables-`. */
function isOfMode(measure: string, prefix: string): boolean {
  return `${measure}-` === prefix || measure.startsWith(prefix);
}

function parseMeasures(text: string, prefix: string, known: readonly Measure[]): readonly Measure[] {
  if (`${text}-` === prefix) return known;
  return [parseOneOf(`--only=${prefix}…`, text.slice(prefix.length), known)];
}

function parseOneOf<T extends string>(option: string, text: string, known: readonly T[]): T {
  const one = known.find((name) => name === text);
  if (one === undefined) throw new Error(`${option}: must be of ${known.join(',')}, got "${text}"`);
  return one;
}

/** `10k`, `1234`. */
export function formatCount(count: number): string {
  return count % 1000 === 0 ? `${count / 1000}k` : String(count);
}
