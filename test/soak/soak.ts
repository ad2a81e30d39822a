// Everything changes for a long time, and what must not change does not: requests to stable Services, memory, descriptors,
// objects of the kernel. Each checkpoint compares the kernel with what the API server's objects call for.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../support/netns/daemon.ts';
import type { Tally } from '../support/netns/traffic.ts';
import { census, growth, type Usage, usageOf } from './census.ts';
import { Churn } from './churn.ts';
import { Site, type SoakMode, STABLE } from './site.ts';

export interface SoakOptions {
  readonly mode: SoakMode;
  /** Of changes, checkpoints not included. */
  readonly seconds: number;
  readonly services: number;
  readonly changesPerSec: number;
  readonly seed: number;
  /** How often, evenly spread, changes rest and the kernel is compared. */
  readonly checkpoints: number;
}

export interface SoakReport {
  /** Lines for people. */
  readonly figures: readonly string[];
  /** What went wrong; empty for a run that holds. */
  readonly problems: readonly string[];
}

/** A Service that has not changed for so long does what it should: longer than a watch takes to come back. */
const QUIET_MS = 5000;
/** Within this after the last change the kernel holds what is wanted. */
const CONVERGENCE_MS = 20_000;
/** Least time between two disturbances of the watches: shorter than a healthy watch they would count as an outage. */
const DISTURBANCE_MS = 45_000;
/** What resident memory may grow by in a steady run: an engine keeps more or less of what it has got. */
const GROWTH_MB = 32;
/** Watches that are opened anew overlap with those before. */
const SPARE_DESCRIPTORS = 6;

/** Runs to its end, whatever goes wrong meanwhile. `print` is told how it goes. */
export async function soak(options: SoakOptions, print: (line: string) => void): Promise<SoakReport> {
  const site = await Site.create(options.mode);
  try {
    const churn = new Churn(site.server, options.services, options.seed);
    const daemon = await site.start();
    return await new Soak(options, site, churn, daemon, print).run();
  } finally {
    await site.delete();
  }
}

class Soak {
  readonly #options: SoakOptions;
  readonly #site: Site;
  readonly #churn: Churn;
  readonly #daemon: Daemon;
  readonly #print: (line: string) => void;
  readonly #problems: string[] = [];
  readonly #samples: Usage[] = [];
  #changes = 0;
  #changingMs = 0;
  #settledProbes = 0;
  #disturbances = 0;
  #disturbedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SoakOptions, site: Site, churn: Churn, daemon: Daemon, print: (line: string) => void) {
    this.#options = options;
    this.#site = site;
    this.#churn = churn;
    this.#daemon = daemon;
    this.#print = print;
  }

  async run(): Promise<SoakReport> {
    await this.#converge('loaded');
    const before = usageOf(this.#daemon.pid);
    const finishTraffic = await this.#startTraffic();
    const end = new AbortController();
    const probing = Promise.all([1, 2].map(() => this.#probeSettled(end.signal)));
    const { seconds, checkpoints } = this.#options;
    for (let i = 1; i <= checkpoints; i++) {
      await this.#change((seconds * 1000) / checkpoints);
      await this.#converge(`after ${this.#changes} changes`);
    }
    end.abort();
    await probing;
    const traffic = await finishTraffic();
    await this.#compareWithFresh();
    this.#checkUsage(before);
    this.#checkLog();
    const status = await this.#daemon.stop();
    if (status !== 0) this.#problems.push(`the daemon ended with ${status}`);
    return { figures: this.#figures(before, traffic), problems: this.#problems };
  }

  /** Changes for so long, at the wanted rate; takes a sample every second, and disturbs the watches now and then. */
  async #change(durationMs: number): Promise<void> {
    const { changesPerSec } = this.#options;
    const startMs = performance.now();
    let done = 0;
    let nextSampleMs = 1000;
    for (let elapsedMs = 0; elapsedMs < durationMs; elapsedMs = performance.now() - startMs) {
      for (const due = (elapsedMs / 1000) * changesPerSec; done < due; done++) this.#churn.step();
      if (elapsedMs >= nextSampleMs) {
        nextSampleMs += 1000;
        this.#sample();
      }
      const changedMs = this.#changingMs + elapsedMs;
      if (changedMs > (this.#disturbances + 0.5) * DISTURBANCE_MS || this.#isHalfWay(changedMs))
        this.#disturb();
      await sleep(10);
    }
    this.#changingMs += performance.now() - startMs;
    this.#changes += done;
  }

  /** A short run is disturbed once. */
  #isHalfWay(changedMs: number): boolean {
    return this.#disturbances === 0 && changedMs > this.#options.seconds * 500;
  }

  /** Cuts the watches; every other time, too, the versions to go on from are gone. */
  #disturb(): void {
    if (this.#disturbances++ % 2 === 0) this.#site.server.compact();
    this.#site.server.dropWatches();
    this.#disturbedAtMs = performance.now();
  }

  #sample(): void {
    if (this.#daemon.hasEnded) return;
    this.#samples.push(usageOf(this.#daemon.pid));
  }

  /** With nothing left to change, the kernel soon holds what is wanted, exactly. */
  async #converge(when: string): Promise<void> {
    const startMs = performance.now();
    let { status, stdout, stderr } = await this.#site.diff();
    while (status === 1 && performance.now() - startMs < CONVERGENCE_MS) {
      ({ status, stdout, stderr } = await this.#site.diff());
    }
    const tookMs = Math.round(performance.now() - startMs);
    if (status !== 0) {
      const shown = `${stdout}${stderr}`.split('\n').slice(0, 10).join('\n  ');
      this.#problems.push(`${when}: after ${tookMs} ms the kernel does not hold what is wanted:\n  ${shown}`);
    }
    if (this.#daemon.hasEnded) throw new Error(`${when}: the daemon has ended`);
    const { rssMb, descriptors } = usageOf(this.#daemon.pid);
    const objects = sum((await census(this.#site.topology.node)).values());
    this.#print(
      `${when}: ${Math.round(rssMb)} MB, ${descriptors} descriptors, ${objects} objects in the kernel, as wanted ${tookMs} ms later`,
    );
  }

  async #startTraffic(): Promise<() => Promise<ReadonlyMap<string, Tally>>> {
    const { client } = this.#site.topology;
    const pod = this.#site.topology.pod('pod-1');
    const from = { 'a client': client.agent(), 'a pod': pod.agent() };
    const loads = await Promise.all(
      Object.entries(from).flatMap(([who, agent]) =>
        Object.entries(STABLE).map(async ([what, target]) => {
          const load = await agent.startLoad({ ...target, concurrency: 2, pauseMs: 30 });
          return [`${what} from ${who}`, load] as const;
        }),
      ),
    );
    const held = await Promise.all([
      client.agent().hold({ ...STABLE['TCP to a cluster IP'], intervalMs: 100 }),
      client.agent().hold({ ...STABLE['TCP to a node port'], intervalMs: 100 }),
    ]);
    return async () => {
      const tallies = await Promise.all(
        loads.map(async ([what, load]) => [what, await load.stop()] as const),
      );
      for (const [what, { failures, total, outcomes }] of tallies) {
        if (failures.length > 0)
          this.#problems.push(`${what}: of ${total} requests ${JSON.stringify(outcomes)}`);
        if (total === 0) this.#problems.push(`${what}: no request`);
      }
      for (const { outcome, asked } of await Promise.all(held.map((connection) => connection.release()))) {
        if (outcome !== 'reply') this.#problems.push(`a held connection: ${outcome} after ${asked} requests`);
      }
      return new Map(tallies);
    };
  }

  /** Asks Services that have not changed for a while: one of their own endpoints answers, or nobody. */
  async #probeSettled(signal: AbortSignal): Promise<void> {
    const agent = this.#site.topology.client.agent();
    while (!signal.aborted) {
      await sleep(10);
      const settled = this.#churn.pickSettled(QUIET_MS);
      if (settled === undefined) continue;
      const { name, host, port, servers } = settled;
      const { outcome, server } = await agent.probe({ protocol: 'tcp', host, port });
      if (!settled.isStillSettled()) continue;
      this.#settledProbes++;
      const isRight =
        servers.size === 0 ? outcome === 'refused' : outcome === 'reply' && servers.has(server ?? '');
      if (!isRight && this.#problems.length < 50) {
        const wanted = [...servers].join(' or ') || 'a refusal';
        const quietSec = (settled.quietMs() / 1000).toFixed(1);
        const sinceMs = performance.now() - this.#disturbedAtMs;
        this.#problems.push(
          `${name}: ${server ?? outcome} instead of ${wanted}, ${quietSec} s after it changed, ` +
            `after ${this.#changes} changes, ${(sinceMs / 1000).toFixed(1)} s after the watches were cut`,
        );
      }
    }
  }

  /** A node that has just started needs as many objects of each kind for the same Services, set by set. */
  async #compareWithFresh(): Promise<void> {
    const fresh = await this.#site.startFresh();
    const wanted = await census(this.#site.fresh);
    await fresh.stop();
    const differences = async () => {
      const present = await census(this.#site.topology.node);
      return [...new Set([...wanted.keys(), ...present.keys()])]
        .filter((what) => wanted.get(what) !== present.get(what))
        .map((what) => `${present.get(what) ?? 0} ${what}, and ${wanted.get(what) ?? 0} on a fresh node`);
    };
    const endMs = performance.now() + CONVERGENCE_MS;
    let left = await differences();
    while (left.length > 0 && performance.now() < endMs) {
      await sleep(500);
      left = await differences();
    }
    this.#problems.push(...left);
  }

  #checkUsage(before: Usage): void {
    const grownMb = growth(this.#samples.map(({ rssMb }) => rssMb));
    if (grownMb > GROWTH_MB)
      this.#problems.push(`memory grew by ${Math.round(grownMb)} MB in the steady part`);
    const { descriptors } = usageOf(this.#daemon.pid);
    if (descriptors > before.descriptors + SPARE_DESCRIPTORS) {
      this.#problems.push(`${descriptors} descriptors, and ${before.descriptors} at the beginning`);
    }
  }

  #checkLog(): void {
    const odd = this.#daemon.log.filter(
      ({ level }) => level === 'warn' || level === 'error' || level === 'fatal',
    );
    if (odd.length > 0) {
      const shown = odd.slice(0, 5).map((line) => JSON.stringify(line).slice(0, 300));
      this.#problems.push(`${odd.length} warnings and errors in the log:\n  ${shown.join('\n  ')}`);
    }
    if (this.#changes < 0.8 * this.#options.changesPerSec * this.#options.seconds) {
      this.#problems.push('this machine was too busy to make all changes');
    }
  }

  #figures(before: Usage, traffic: ReadonlyMap<string, Tally>): string[] {
    const { mode, services, seed } = this.#options;
    const last = this.#samples.at(-1) ?? before;
    const rss = this.#samples.map(({ rssMb }) => rssMb);
    const seconds = this.#changingMs / 1000;
    const requests = sum([...traffic.values()].map(({ total }) => total));
    const maxMs = Math.max(...[...traffic.values()].map(({ latencyMs }) => latencyMs.max));
    const failed = sum([...traffic.values()].map(({ failures }) => failures.length));
    return [
      `${mode} mode, ${services} Services, seed ${seed}: ${this.#changes} changes in ${Math.round(seconds)} s`,
      `memory ${Math.round(before.rssMb)} MB when loaded, ${Math.round(last.rssMb)} MB at the end, at most ${Math.round(Math.max(...rss))} MB; ` +
        `${growth(rss).toFixed(1)} MB more in the steady part`,
      `descriptors ${before.descriptors} when loaded, at most ${Math.max(...this.#samples.map(({ descriptors }) => descriptors))}`,
      `processor ${((100 * (last.cpuSec - before.cpuSec)) / seconds).toFixed(1)} % of one`,
      `${requests} requests through stable Services, ${failed} failed, the slowest in ${Math.round(maxMs)} ms`,
      `${this.#settledProbes} requests to Services that had settled; ${this.#disturbances} times the watches were cut`,
    ];
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
