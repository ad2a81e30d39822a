// What the measures share: fresh namespaces, tasks inside of them, and the reference, which is measured once per size.

import { fileURLToPath } from 'node:url';
import { Netns } from '../test/support/netns/netns.ts';
import { type BenchOptions, formatCount } from './arguments.ts';
import type { Cluster, ClusterSize, Mode } from './engine.ts';
import type { KubeProxyResult, Task } from './inside.ts';
import type { Line } from './report.ts';
import { type Targets, targetOf } from './targets.ts';

/** Node with the TypeScript of the bench; paths are absolute, because a namespace changes nothing about files. */
const RUN_TYPESCRIPT = [
  process.execPath,
  '--import',
  new URL('../scripts/register-typescript.mjs', import.meta.url).href,
] as const;

/** No step takes longer than this. */
export const TIMEOUT_MS = 180_000;
/** nft takes tens of milliseconds for a change: so many are enough. */
const KUBE_PROXY_CHANGES = 20;

/** Lines to print, and the figures behind them. */
export interface Section {
  readonly lines: readonly Line[];
  readonly figures: unknown;
}

export class Bench {
  readonly options: BenchOptions;
  readonly mode: Mode;
  readonly #kubeProxy = new Map<number, Promise<KubeProxyResult | undefined>>();

  constructor(options: BenchOptions, mode: Mode = 'nftables') {
    this.options = options;
    this.mode = mode;
  }

  size(services: number): ClusterSize {
    return { services, endpoints: this.options.endpoints };
  }

  /** So many Services, in the mode that is measured. */
  cluster(services: number): Cluster {
    return { ...this.size(services), mode: this.mode };
  }

  target(name: keyof Targets, services: number): number | undefined {
    return targetOf(this.mode, name, this.size(services));
  }

  /** Runs `use` in a namespace of its own. */
  async inNamespace<T>(step: string, services: number, use: (netns: Netns) => Promise<T>): Promise<T> {
    process.stderr.write(`${step}, ${formatCount(services)} services\n`);
    const netns = await Netns.create('bench');
    try {
      return await use(netns);
    } finally {
      await netns.delete();
    }
  }

  /** Runs a task of inside.ts to its end; `T` is the result of that kind of task. */
  async runTask<T>(netns: Netns, task: Task): Promise<T> {
    const argv = [...typescript('inside.ts'), JSON.stringify(task)];
    return JSON.parse(await netns.exec(argv, { timeoutMs: 2 * TIMEOUT_MS })) as T;
  }

  /** kube-proxy's layout by nft; undefined when there are too many Services for it, or the mode is another. */
  kubeProxy(services: number): Promise<KubeProxyResult | undefined> {
    let result = this.#kubeProxy.get(services);
    if (result === undefined) {
      const isRun = this.mode === 'nftables' && services <= this.options.kubeProxyMax;
      result = isRun ? this.#runKubeProxy(services) : Promise.resolve(undefined);
      this.#kubeProxy.set(services, result);
    }
    return result;
  }

  #runKubeProxy(services: number): Promise<KubeProxyResult> {
    return this.inNamespace("nft -f, kube-proxy's layout", services, (netns) =>
      this.runTask(netns, {
        kind: 'kube-proxy',
        ...this.size(services),
        count: KUBE_PROXY_CHANGES,
        timeoutMs: TIMEOUT_MS,
      }),
    );
  }
}

/** The command line of a file of this folder. */
export function typescript(file: string): string[] {
  return [...RUN_TYPESCRIPT, fileURLToPath(new URL(file, import.meta.url))];
}
