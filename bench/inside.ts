// What runs inside a network namespace: one task per process, so that each starts as cold as a daemon does. The task is
// argv[2], as JSON; the result is printed, as JSON. Changes are asked of changing.ts.

import { spawnSync } from 'node:child_process';
import type { Ip } from '../src/model/ip.ts';
import type { IpvsRequest } from '../src/netlink/ipvs/request.ts';
import type { ChangesResult } from './changing.ts';
import { type Cluster, type ClusterSize, Engine } from './engine.ts';
import { addService, deleteService, kubeProxyTable, replaceEndpoints } from './kube-proxy-layout.ts';
import { clusterIp, POD_PORT, podIps, SERVICE_PORT, sparePodIp } from './objects.ts';
import { IpvsSession } from './shipped.ts';

export type Task =
  /** A sync of the whole cluster, into an empty namespace or one that has it already. */
  | { readonly kind: 'sync'; readonly cluster: Cluster }
  /** The same by nft, in kube-proxy's layout. */
  | ({ readonly kind: 'kube-proxy'; readonly count: number; readonly timeoutMs: number } & ClusterSize)
  /** The virtual servers of the cluster and nothing else, into an empty namespace. */
  | ({ readonly kind: 'ipvs-table' } & ClusterSize)
  /** `nft -f`. */
  | { readonly kind: 'nft'; readonly path: string; readonly timeoutMs: number };

/** A sync of everything. */
export interface SyncResult {
  readonly tookMs: number;
  readonly writes: number;
  readonly transactions: number;
  /** Of the event loop. */
  readonly longestTurnMs: number;
  /** Commits of anybody in the namespace meanwhile (NFT_MSG_GETGEN). */
  readonly generations: number;
}

export interface NftResult {
  /** undefined when it took longer than it was given. */
  readonly loadMs: number | undefined;
}

export interface IpvsTableResult {
  /** From requests as plain values to the last acknowledgement. */
  readonly loadMs: number;
}

export interface KubeProxyResult extends NftResult {
  readonly changes: Pick<ChangesResult, 'endpointReplaced' | 'serviceAdded' | 'serviceDeleted'> | undefined;
}

async function sync(cluster: Cluster): Promise<SyncResult> {
  const engine = await Engine.open(cluster.mode);
  const before = await engine.generation();
  const { tookMs, longestTurnMs, report } = await engine.load(cluster);
  const generations = (await engine.generation()) - before;
  await engine.stop();
  const { writes, transactions } = report;
  return { tookMs, writes, transactions, longestTurnMs, generations };
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
      endpointReplaced: timed((i) => {
        const ips = podIps(victim(i), size.endpoints).with(0, sparePodIp(i));
        return replaceEndpoints(victim(i), ips);
      }),
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

async function loadIpvsTable({ services, endpoints }: ClusterSize): Promise<IpvsTableResult> {
  const requests = Array.from({ length: services }, (_, i) => {
    const virtualServer = {
      ...({ family: 4, protocol: 'TCP', address: clusterIp(i) as Ip, port: SERVICE_PORT } as const),
      ...{ scheduler: 'rr', flags: 0, persistenceSeconds: undefined, persistencePrefix: 32 },
    };
    const added = podIps(i, endpoints).map((ip): IpvsRequest => {
      const settings = { port: POD_PORT, weight: 1, forwarding: 'masquerade' } as const;
      const realServer = { family: 4, address: ip as Ip, ...settings } as const;
      return { kind: 'add real server', virtualServer, realServer };
    });
    return [{ kind: 'add virtual server', virtualServer } satisfies IpvsRequest, ...added];
  }).flat();
  const session = await IpvsSession.open();
  const startMs = performance.now();
  const refusal = (await session.apply(requests)).find((one) => one !== undefined);
  const loadMs = performance.now() - startMs;
  session.close();
  if (refusal !== undefined) throw refusal;
  return { loadMs };
}

async function run(task: Task): Promise<unknown> {
  switch (task.kind) {
    case 'sync':
      return sync(task.cluster);
    case 'kube-proxy':
      return kubeProxy(task);
    case 'ipvs-table':
      return loadIpvsTable(task);
    case 'nft':
      return { loadMs: nft(task.path, '', task.timeoutMs) } satisfies NftResult;
  }
}

console.log(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '') as Task)));
