// Setting up connections through virtual IPs among few and among many Services: real handshakes and first datagrams, from
// a pod and from the node itself, and the same straight to an endpoint. All sites exist side by side and are dialled in
// turns of a few milliseconds, so that whatever else the machine does falls on all of them alike.

import { setTimeout as sleep } from 'node:timers/promises';
import { formatCount } from './arguments.ts';
import type { Bench, Section } from './bench.ts';
import { type Comparison, compare, formatComparison, p99 as p99Of } from './comparison.ts';
import { compileDial, type Protocol } from './dialer.ts';
import type { Cluster } from './engine.ts';
import { POD_PORT, podIps, SERVICE_PORT, vip } from './objects.ts';
import { atMost, type Line } from './report.ts';
import { ORIGINS, type Origin, Site } from './site.ts';
import { summarize } from './statistics.ts';

const ROUNDS = 100;
/** Connections of one turn. The first find the caches full of what the turn before left there, and do not count. */
const BATCH = 100;
const WARM_UP = 20;

/** After this the pods have read all that reached them. */
const DRAIN_MS = 100;

/** Every other Service is of each. */
const PROTOCOLS = ['tcp', 'udp'] as const satisfies readonly Protocol[];
/** `any`: each connection to another Service; `one`: all to the same, whose rules are in the caches; `direct`: to a pod. */
const ROUTES = ['any', 'one', 'direct'] as const;
type Route = (typeof ROUTES)[number];

interface Case {
  readonly origin: Origin;
  readonly protocol: Protocol;
  readonly route: Route;
}

const CASES: readonly Case[] = ORIGINS.flatMap((origin) =>
  PROTOCOLS.flatMap((protocol) => ROUTES.map((route) => ({ origin, protocol, route }))),
);

/** Microseconds, by case in the order of CASES and by round. */
type Durations = number[][][];

export async function measureConnect(bench: Bench, folder: string): Promise<Section> {
  const program = await compileDial(folder);
  const sites: Site[] = [];
  try {
    for (const cluster of clustersOf(bench)) {
      process.stderr.write(`connections, ${formatCount(cluster.services)} services${titleOf(cluster)}\n`);
      sites.push(await Site.create(bench, cluster, program));
    }
    const durations = await dialInTurns(sites);
    return { lines: linesOf(bench, sites, durations), figures: figuresOf(sites, durations) };
  } finally {
    await Promise.all(sites.map((site) => site.delete()));
  }
}

/** What the first is of, all are compared with. In iptables mode the largest is there with linear chains as well. */
function clustersOf(bench: Bench): Cluster[] {
  const { connectSizes, connectKinds } = bench.options;
  const protocols = ['TCP', 'UDP'] as const;
  const clusters = connectKinds.flatMap((kind) =>
    connectSizes.map((services) => ({ ...bench.cluster(services), kind, protocols })),
  );
  if (bench.mode !== 'iptables') return clusters;
  return [...clusters, { ...clusters.at(-1)!, mode: 'iptables-flat' }];
}

/** One round of every case on every site after the other; who is first changes with the round. */
async function dialInTurns(sites: readonly Site[]): Promise<readonly Durations[]> {
  const durations: Durations[] = sites.map(() => CASES.map(() => []));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, one] of CASES.entries()) {
      for (const k of sites.keys()) {
        const s = (k + round) % sites.length;
        const site = sites[s]!;
        const addresses = Array.from({ length: BATCH }, (_, n) =>
          addressOf(site.cluster, one, round * BATCH + n),
        );
        const port = one.route === 'direct' ? POD_PORT : SERVICE_PORT;
        const took = await site.dial(one.origin, one.protocol, port, addresses);
        durations[s]![i]!.push(took.slice(WARM_UP));
      }
    }
  }
  const sent = ROUNDS * BATCH * CASES.filter(({ protocol }) => protocol === 'udp').length;
  await sleep(DRAIN_MS);
  for (const site of sites) {
    const received = await site.datagrams();
    if (received !== sent) throw new Error(`${received} of ${sent} datagrams reached a pod`);
  }
  return durations;
}

/** The address of the n-th connection of a case. */
function addressOf(cluster: Cluster, { protocol, route }: Case, n: number): string {
  const stride = PROTOCOLS.length;
  // A prime, so that all are dialled in an order that no cache foresees.
  const nth = route === 'one' ? 0 : (n * 7919) % Math.max(Math.floor(cluster.services / stride), 1);
  const index = nth * stride + PROTOCOLS.indexOf(protocol);
  if (route !== 'direct') return vip(index, cluster.kind ?? 'plain');
  return podIps(index, cluster.endpoints)[n % cluster.endpoints]!;
}

const TITLES = {
  pod: 'from a pod',
  node: 'from the node',
  any: 'any Service',
  one: 'one Service',
  direct: 'straight to a pod',
} as const satisfies Record<Origin | Route, string>;

/** For each way to a Service: what it takes on every site, and how that compares with the first. */
function linesOf(bench: Bench, sites: readonly Site[], durations: readonly Durations[]): Line[] {
  const lines: Line[] = [];
  const first = sites[0]!.cluster;
  const isNamed = bench.options.connectKinds.length > 1;
  for (const [i, { origin, protocol, route }] of CASES.entries()) {
    if (route === 'direct') continue;
    const directly = CASES.findIndex(
      (one) => one.origin === origin && one.protocol === protocol && one.route === 'direct',
    );
    for (const [s, { cluster }] of sites.entries()) {
      const { services, kind, mode } = cluster;
      const [here, there] = [durations[s]!, durations[0]!];
      const growth = s === 0 ? undefined : compare(here[i]!, there[i]!);
      const directGrowth = s === 0 ? undefined : compare(here[directly]!, there[directly]!);
      const p99Growth = s === 0 ? undefined : compare(here[i]!, there[i]!, p99Of);
      const hasTarget =
        protocol === 'tcp' && first.services === 100 && kind === first.kind && mode === first.mode;
      const { p50, p99 } = summarize(here[i]!.flat());
      const { p50: directP50 } = summarize(here[directly]!.flat());
      lines.push({
        measure: `${protocol.toUpperCase()} ${TITLES[origin]}, ${TITLES[route]}${titleOf(cluster)}, p50 / p99`,
        services,
        measured: `${p50.toFixed(1)} / ${p99.toFixed(1)} µs${told(growth, first, isNamed)}${p99Growth ? `, p99 ${formatComparison(p99Growth)}` : ''}`,
        checks: hasTarget
          ? [
              ...atMost(growth?.ratio ?? 0, growth && bench.target('connectGrowth', services), '×'),
              ...atMost(
                p99Growth?.ratio ?? 0,
                p99Growth && bench.target('connectP99Growth', services),
                '× at p99',
              ),
            ]
          : [],
        reference: `${TITLES.direct}: ${directP50.toFixed(1)} µs${told(directGrowth, first, isNamed)}`,
      });
    }
  }
  return lines;
}

function titleOf({ kind = 'plain', mode }: Cluster): string {
  return `${kind === 'plain' ? '' : `, ${kind}`}${mode === 'iptables-flat' ? ', linear chains' : ''}`;
}

function told(
  growth: Comparison | undefined,
  { services, kind = 'plain' }: Cluster,
  isNamed: boolean,
): string {
  if (growth === undefined) return '';
  return `, ${formatComparison(growth, ` of ${formatCount(services)}${isNamed ? ` ${kind}` : ''}`)}`;
}

/** Every duration, in microseconds. */
function figuresOf(sites: readonly Site[], durations: readonly Durations[]): unknown {
  return sites.map(({ cluster }, s) => ({
    ...cluster,
    cases: CASES.map((one, i) => ({ ...one, microseconds: durations[s]![i]!.flat() })),
  }));
}
