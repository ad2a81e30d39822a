// What runs inside a network namespace: one task per process, so that each starts as cold as a daemon does. The task is
// argv[2], as JSON; the result is printed, as JSON.

import { spawnSync } from 'node:child_process';
import type { SourceEvent } from '../src/model/source-event.ts';
import { type ClusterSize, Engine, upsert } from './engine.ts';
import { addService, deleteService, kubeProxyTable, replaceEndpoints } from './kube-proxy-layout.ts';
import { buildEndpointSlice, buildService, podIps, serviceName, sparePodIp } from './objects.ts';

export type Task =
  /** A sync of the whole cluster, into an empty namespace or one that has it already. */
  | ({ readonly kind: 'sync' } & ClusterSize)
  /** A sync, then so many changes of each kind. */
  | ({ readonly kind: 'changes'; readonly count: number } & ClusterSize)
  /** The same by nft, in kube-proxy's layout. */
  | ({ readonly kind: 'kube-proxy'; readonly count: number; readonly timeoutMs: number } & ClusterSize)
  /** `nft -f`. */
  | { readonly kind: 'nft'; readonly path: string; readonly timeoutMs: number };

/** A sync of everything. */
export interface SyncResult {
  readonly tookMs: number;
  readonly writes: number;
  readonly transactions: number;
  /** Commits of anybody in the namespace meanwhile (NFT_MSG_GETGEN). */
  readonly generations: number;
}

/** Durations in milliseconds, by kind of change. */
export interface ChangesResult {
  readonly endpointReplaced: readonly number[];
  /** Taken away and, the next time, given back; other Services have as many. */
  readonly endpointCount: readonly number[];
  /** Endpoints given to a Service until it has more than any other so far: a chain is made for their number. */
  readonly endpointCountFirst: readonly number[];
  readonly serviceAdded: readonly number[];
  readonly serviceDeleted: readonly number[];
}

export interface NftResult {
  /** undefined when it took longer than it was given. */
  readonly loadMs: number | undefined;
}

export interface KubeProxyResult extends NftResult {
  readonly changes: Pick<ChangesResult, 'endpointReplaced' | 'serviceAdded' | 'serviceDeleted'> | undefined;
}

/** Endpoint counts that no Service has had. */
const FIRST_OF_THEIR_NUMBER = 20;

async function sync(size: ClusterSize): Promise<SyncResult> {
  const engine = new Engine();
  const before = await engine.generation();
  const { tookMs, report } = await engine.load(size);
  const generations = (await engine.generation()) - before;
  await engine.stop();
  return { tookMs, writes: report.writes, transactions: report.transactions, generations };
}

async function changes({ count, ...size }: ClusterSize & { count: number }): Promise<ChangesResult> {
  const engine = new Engine();
  await engine.load(size);
  const timed = async (eventsOf: (i: number) => readonly SourceEvent[], times = count): Promise<number[]> => {
    const durations: number[] = [];
    for (let i = 0; i < times; i++) durations.push((await engine.apply(eventsOf(i))).tookMs);
    return durations;
  };
  // All but the last, which is where the others find the number of endpoints that they change to.
  const victim = (i: number): number => (i * 7919) % Math.max(size.services - 1, 1);
  const last = size.services - 1;
  const lastIps = podIps(last, size.endpoints).slice(1);
  await engine.apply([upsert('EndpointSlice', buildEndpointSlice(last, lastIps))]);
  const result = {
    endpointReplaced: await timed((i) => [
      upsert('EndpointSlice', buildEndpointSlice(victim(i), withSpare(victim(i), size.endpoints, i))),
    ]),
    endpointCount: await timed((i) => {
      const service = victim(i >> 1);
      const ips = withSpare(service, size.endpoints, count + (i >> 1));
      return [upsert('EndpointSlice', buildEndpointSlice(service, i % 2 === 0 ? ips.slice(1) : ips))];
    }),
    endpointCountFirst: await timed((i) => {
      const spares = Array.from({ length: i + 1 }, (_, k) => sparePodIp(2 * count + i * i + k));
      const ips = [...podIps(victim(i), size.endpoints), ...spares];
      return [upsert('EndpointSlice', buildEndpointSlice(victim(i), ips))];
    }, FIRST_OF_THEIR_NUMBER),
    serviceAdded: await timed((i) => [
      upsert('Service', buildService(size.services + i)),
      upsert(
        'EndpointSlice',
        buildEndpointSlice(size.services + i, podIps(size.services + i, size.endpoints)),
      ),
    ]),
    serviceDeleted: await timed((i) => {
      const { namespace, name } = serviceName(size.services + i);
      return [
        { type: 'delete', kind: 'Service', namespace, name },
        { type: 'delete', kind: 'EndpointSlice', namespace, name: `${name}-x7k2p` },
      ];
    }),
  };
  await engine.stop();
  return result;
}

/** The pods of a Service, one of them replaced by the spare of that number. */
function withSpare(service: number, endpoints: number, spare: number): string[] {
  return podIps(service, endpoints).with(spare % endpoints, sparePodIp(spare));
}

function kubeProxy({
  count,
  timeoutMs,
  ...size
}: ClusterSize & { count: number; timeoutMs: number }): KubeProxyResult {
  const loadMs = nft('-', kubeProxyTable(size), timeoutMs);
  if (loadMs === undefined) return { loadMs, changes: undefined };
  const timed = (textOf: (i: number) => string): number[] =>
    Array.from({ length: count }, (_, i) => nft('-', textOf(i), timeoutMs) ?? Number.POSITIVE_INFINITY);
  const victim = (i: number): number => (i * 7919) % size.services;
  return {
    loadMs,
    changes: {
      endpointReplaced: timed((i) => replaceEndpoints(victim(i), withSpare(victim(i), size.endpoints, i))),
      serviceAdded: timed((i) => addService(size.services + i, podIps(size.services + i, size.endpoints))),
      serviceDeleted: timed((i) => deleteService(size.services + i)),
    },
  };
}

/** Milliseconds that `nft -f` takes; undefined when it is not done in time. */
function nft(path: string, input: string, timeoutMs: number): number | undefined {
  const startMs = performance.now();
  const { status, stderr, error } = spawnSync('nft', ['-f', path], {
    input,
    encoding: 'utf8',
    timeout: timeoutMs,
  });
  const tookMs = performance.now() - startMs;
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') return undefined;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`nft -f: exit status ${status}\n${stderr.slice(0, 2000)}`);
  return tookMs;
}

async function run(task: Task): Promise<unknown> {
  switch (task.kind) {
    case 'sync':
      return sync(task);
    case 'changes':
      return changes(task);
    case 'kube-proxy':
      return kubeProxy(task);
    case 'nft':
      return { loadMs: nft(task.path, '', task.timeoutMs) } satisfies NftResult;
  }
}

console.log(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '') as Task)));
