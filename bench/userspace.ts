// Userspace mode's proxies against HAProxy with one thread and socat, in one namespace, where all of them stand beside each other and
// are measured in turns: a single stream each way, connections that are made, asked once and closed, the time that a request takes
// longer than without a proxy; and what an idle connection takes of memory.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Netns } from '../test/support/netns/netns.ts';
import { type Bench, type Section, typescript } from './bench.ts';
import { LineProcess } from './line-process.ts';
import { atLeast, atMost, type Line } from './report.ts';
import { median } from './statistics.ts';

const ROUNDS = 5;
const FLOW_MS = 1000;
const CONNECT_MS = 1500;
const CONCURRENCY = 32;
const REQUESTS = 4000;
const REQUEST_BYTES = 64;
/** As many are wanted; fewer where the process may not have two descriptors for each, and some for itself. */
const IDLE = 10_000;
const RESERVED_DESCRIPTORS = 1000;
/** After this the memory of an idle process no longer moves. */
const SETTLE_MS = 3000;

const NODE = '192.168.50.10';
const ENDPOINT = '127.0.0.1:9100';
const VIP = '10.96.0.1:80';
const HAPROXY = '127.0.0.1:9001';
const SOCAT = '127.0.0.1:9002';

/** Of HAProxy's. */
const LEAST_SHARE = 0.5;
const MOST_ADDED_MICROSECONDS = 150;
const MOST_IDLE_KB = 40;

const ROUTES = { proxies: VIP, haproxy: HAPROXY, socat: SOCAT, direct: ENDPOINT } as const;
type Route = keyof typeof ROUTES;

/** One figure per round. */
interface Figures {
  /** GB/s. */
  readonly up: number[];
  readonly down: number[];
  /** Per second. */
  readonly connections: number[];
  /** Microseconds. */
  readonly requests: number[];
  /** Of a processor, microseconds that a connection takes: whatever else the machine does is not in them. */
  readonly busy: number[];
}

export async function measureUserspace(bench: Bench, folder: string): Promise<Section> {
  const program = join(folder, 'stream');
  const source = fileURLToPath(new URL('stream.cc', import.meta.url));
  await promisify(execFile)('g++', ['-O2', '-std=c++20', '-o', program, source]);
  return bench.inNamespace('proxies of userspace mode', 1, async (netns) => {
    const pids = await startAll(netns, program, folder);
    const client = new LineProcess(netns, [program]);
    const figures = await measureInTurns(client, pids);
    const idle = await measureIdle(client, pids.proxies);
    return { lines: [...linesOf(figures), idleLine(idle)], figures: { ...figures, idle } };
  });
}

/** The processes of those that have one for all connections. */
type Pids = Readonly<Record<'proxies' | 'haproxy', number>>;

async function startAll(netns: Netns, program: string, folder: string): Promise<Pids> {
  await netns.sysctl({ 'net.core.somaxconn': 4096, 'net.ipv4.ip_local_port_range': '10000 65000' });
  const [vip, vipPort] = VIP.split(':');
  // What is dialled from the node itself must have a route before it is translated, and a source that is not of loopback only.
  await netns.ip(`address add ${NODE}/32 dev lo`, `route add ${vip}/32 dev lo`);
  const [, endpointPort = ''] = ENDPOINT.split(':');
  await new LineProcess(netns, [program, 'serve', endpointPort]).line();

  const proxies = netns.spawn([...typescript('proxying.ts'), NODE, VIP, ENDPOINT]);
  proxies.stderr.pipe(process.stderr);
  const [line] = (await proxies.stdout.setEncoding('utf8').take(1).toArray()) as string[];
  const portal = line!.trim();
  await netns.exec(['nft', '-f', '-'], {
    input: `table ip portals {
      chain output { type nat hook output priority -100; ip daddr ${vip} tcp dport ${vipPort} dnat to ${portal}; }
    }\n`,
  });

  const configuration = join(folder, 'haproxy.cfg');
  writeFileSync(
    configuration,
    `global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind ${HAPROXY} backlog 4096
  server endpoint ${ENDPOINT}
`,
  );
  const haproxy = netns.spawn(['haproxy', '-f', configuration]);
  const [socatIp, socatPort] = SOCAT.split(':');
  netns.spawn([
    'socat',
    `TCP-LISTEN:${socatPort},bind=${socatIp},fork,reuseaddr,backlog=4096,nodelay`,
    `TCP:${ENDPOINT},nodelay`,
  ]);
  await listening(netns, [HAPROXY, SOCAT]);
  // `ip netns exec` becomes the program that it starts.
  return { proxies: proxies.pid!, haproxy: haproxy.pid! };
}

async function listening(netns: Netns, addresses: readonly string[]): Promise<void> {
  for (;;) {
    const table = await netns.exec(['cat', '/proc/net/tcp']);
    const ports = addresses.map((address) => Number(address.split(':')[1]).toString(16).toUpperCase());
    if (ports.every((port) => new RegExp(`:${port} 00000000:0000 0A `).test(table))) return;
    await sleep(50);
  }
}

async function ask(client: LineProcess, task: string): Promise<number[]> {
  const answer = await client.ask(task);
  if (answer.startsWith('error: ')) throw new Error(`${task}: ${answer.slice(7)}`);
  return answer.split(' ').map(Number);
}

async function measureInTurns(client: LineProcess, pids: Pids): Promise<Record<Route, Figures>> {
  const routes = Object.keys(ROUTES) as Route[];
  const figures = Object.fromEntries(
    routes.map((route) => [route, { up: [], down: [], connections: [], requests: [], busy: [] }]),
  ) as unknown as Record<Route, Figures>;
  // A first round is not counted: V8 compiles meanwhile.
  for (let round = -1; round < ROUNDS; round++) {
    for (const k of routes.keys()) {
      const route = routes[(k + Math.max(round, 0)) % routes.length]!;
      const at = ROUTES[route].replace(':', ' ');
      const perNanosecond = async (task: string): Promise<number> => {
        const [count = 0, nanoseconds = 1] = await ask(client, task);
        return count / nanoseconds;
      };
      const up = await perNanosecond(`flow ${at} ${FLOW_MS} up`);
      const down = await perNanosecond(`flow ${at} ${FLOW_MS} down`);
      const pid = route === 'proxies' || route === 'haproxy' ? pids[route] : undefined;
      const busyBefore = pid && processorMicroseconds(pid);
      const [count = 0, took = 1] = await ask(client, `connect ${at} ${CONNECT_MS} ${CONCURRENCY}`);
      const connections = (1e9 * count) / took;
      const busy = pid && (processorMicroseconds(pid) - busyBefore!) / count;
      const requests = median(await ask(client, `request ${at} ${REQUESTS} ${REQUEST_BYTES}`)) / 1000;
      if (round < 0) continue;
      figures[route].up.push(up);
      figures[route].down.push(down);
      figures[route].connections.push(connections);
      figures[route].requests.push(requests);
      if (busy !== undefined) figures[route].busy.push(busy);
    }
  }
  return figures;
}

/** User and system time of a process so far, in ticks of 10 ms (proc_pid_stat(5)). */
function processorMicroseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

interface Idle {
  readonly connections: number;
  readonly kbEach: number;
}

async function measureIdle(client: LineProcess, pid: number): Promise<Idle> {
  const limit = Number(
    /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1],
  );
  const wanted = Math.min(IDLE, Math.floor((limit - RESERVED_DESCRIPTORS) / 2));
  await sleep(SETTLE_MS);
  const before = residentKb(pid);
  const [connections = 0] = await ask(client, `idle ${VIP.replace(':', ' ')} ${wanted}`);
  await sleep(SETTLE_MS);
  return { connections, kbEach: (residentKb(pid) - before) / connections };
}

function residentKb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

const TITLES = {
  up: 'one stream, client to endpoint',
  down: 'one stream, endpoint to client',
  connections: 'connections per second',
} as const;

function linesOf(figures: Record<Route, Figures>): Line[] {
  const lines: Line[] = (Object.keys(TITLES) as (keyof typeof TITLES)[]).map((figure) => {
    const of = (route: Route): number => median(figures[route][figure]);
    const text = (route: Route): string =>
      figure === 'connections' ? `${Math.round(of(route))}/s` : `${of(route).toFixed(2)} GB/s`;
    const share = of('proxies') / of('haproxy');
    const lead = of('proxies') / of('socat');
    return {
      measure: `userspace: ${TITLES[figure]}`,
      services: 1,
      measured: text('proxies'),
      checks: [
        ...atLeast(share, LEAST_SHARE, "× HAProxy's"),
        ...(figure === 'connections' ? atLeast(lead, 1, "× socat's") : []),
      ],
      reference: `HAProxy ${text('haproxy')} (${share.toFixed(2)}×), socat ${text('socat')} (${lead.toFixed(2)}×), without ${text('direct')}`,
    };
  });
  const busy = (route: keyof Pids): number => median(figures[route].busy);
  lines.push({
    measure: 'userspace: processor time of a connection',
    services: 1,
    measured: `${busy('proxies').toFixed(0)} µs`,
    reference: `HAProxy ${busy('haproxy').toFixed(0)} µs`,
  });
  const request = (route: Route): number => median(figures[route].requests);
  const added = request('proxies') - request('direct');
  const text = (route: Route): string => `${request(route).toFixed(0)} µs`;
  lines.push({
    measure: `userspace: added to a request of ${REQUEST_BYTES} bytes, p50`,
    services: 1,
    measured: `${added.toFixed(0)} µs`,
    checks: atMost(added, MOST_ADDED_MICROSECONDS, ' µs'),
    reference: `in all ${text('proxies')}; HAProxy ${text('haproxy')}, socat ${text('socat')}, without ${text('direct')}`,
  });
  return lines;
}

function idleLine({ connections, kbEach }: Idle): Line {
  return {
    measure: `userspace: memory of an idle connection, of ${connections}`,
    services: 1,
    measured: `${kbEach.toFixed(1)} KB`,
    checks: atMost(kbEach, MOST_IDLE_KB, ' KB'),
  };
}
