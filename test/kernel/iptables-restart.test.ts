// iptables mode: a daemon that stops, one that is killed in the middle of its writes, and one that starts where another left
// off, on both backends.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import { Daemon, runKproxy } from '../support/netns/daemon.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';
import { deadEnds } from './iptables-node.ts';

const STABLE: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const FILES = 4;
const SERVICES_PER_FILE = 40;

describe.each([
  { backend: 'nft', kills: 6 },
  { backend: 'legacy', kills: 3 },
])('$backend', ({ backend, kills }) => {
  let node: TestNode;
  let folder: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    // The lock of this machine is not ours to hold.
    folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-restart-'));
    env = { XTABLES_LOCKFILE: join(folder, 'xtables.lock') };
    node = await TestNode.create(2);
    node.manifests.put(
      'stable',
      service('stable', {
        clusterIps: [STABLE.host, 'fd00:10:96::1'],
        ports: [{ name: 'http', port: 80, nodePort: 30080 }],
        externalIps: ['203.0.113.7'],
      }),
      slice('stable', 'stable-4', {
        ports: [{ name: 'http', port: 8080 }],
        endpoints: [podIp(1), podIp(2)],
      }),
      slice('stable', 'stable-6', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp6(1)] }),
    );
  });
  afterAll(async () => {
    await node?.delete();
    rmSync(folder, { recursive: true });
  });

  const flags = ['--proxy-mode=iptables', `--iptables-backend=${backend}`];
  let latest: Daemon | undefined;
  afterEach(() => latest?.stop('SIGKILL'));
  const launch = (): Daemon => {
    latest = Daemon.start(node.netns, [...node.flags, '-v=2', ...flags], env);
    return latest;
  };
  const start = async (): Promise<Daemon> => {
    const daemon = launch();
    await daemon.rulesInForce();
    return daemon;
  };
  const diff = (): Promise<CommandResult> =>
    runKproxy(node.netns, ['diff', ...node.flags, ...flags], { env, timeoutMs: 20_000 });
  /** All rules, with handles where there are any. */
  const tables = async (): Promise<string> => {
    if (backend === 'nft') return node.nft('-s', '-a', 'list', 'ruleset');
    const texts = ['iptables', 'ip6tables'].map((one) => node.netns.exec([`${one}-legacy-save`], { env }));
    return (await Promise.all(texts)).join('').replace(/^#.*\n| \[\d+:\d+\]$/gm, '');
  };
  const rules = (program = 'iptables'): Promise<string> =>
    node.netns.exec([`${program}-${backend}-save`, '-t', 'nat'], { env });

  /** Chains and rules in an order that does not depend on when they were made. */
  async function byChain(): Promise<string[]> {
    const lines: { readonly id: string; readonly line: string }[] = [];
    for (const program of ['iptables', 'ip6tables']) {
      let table = '';
      for (const line of (await node.netns.exec([`${program}-${backend}-save`], { env })).split('\n')) {
        if (line.startsWith('*')) table = line;
        const [, chain] = /^(?::|-A )(\S+)/.exec(line) ?? [];
        const text = line.replace(/ \[\d+:\d+\]$/, '');
        if (chain !== undefined) lines.push({ id: `${program} ${table} ${chain}`, line: text });
      }
    }
    return lines
      .sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
      .map(({ id, line }) => `${id}: ${line}`);
  }

  /** Every Service of a file with other endpoints and ports, some with none, some gone. */
  function churn(version: number): void {
    for (let file = 0; file < FILES; file++) {
      const objects = Array.from({ length: SERVICES_PER_FILE }, (_, i) => {
        const name = `s-${file}-${i}`;
        const random = (i * 7919 + version * 104_729 + file) >>> 0;
        if (random % 7 === 0) return [];
        const nodePort = random % 3 === 0 ? 30_100 + file * 100 + i : undefined;
        const endpoints = Array.from(
          { length: random % 5 },
          (__, n) => `10.${(random + n) % 250}.${file}.${i + 1}`,
        );
        return [
          service(name, {
            clusterIps: [`10.97.${file}.${i + 1}`],
            ports: [{ name: 'http', port: 80, nodePort }],
          }),
          slice(name, name, { ports: [{ name: 'http', port: 8080 + (random % 3) }], endpoints }),
        ];
      });
      node.manifests.put(`churn-${file}`, ...objects.flat());
    }
  }

  test('after SIGTERM the rules stay in force, and a restart writes nothing', async () => {
    churn(1);
    const daemon = await start();
    for (const version of [2, 3]) {
      const from = daemon.log.length;
      churn(version);
      await daemon.waitForLog('synced', { from });
    }
    await expect.poll(async () => (await diff()).status, { timeout: 10_000 }).toBe(0);
    const load = await node.topology.client.agent().startLoad({ ...STABLE, pauseMs: 1 });
    expect(await daemon.stop()).toBe(0);
    const [generation, before] = [await node.generation(), await tables()];
    const { total } = await load.peek();
    await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(total + 50);

    const restarted = await start();
    expect(await restarted.rulesInForce()).toMatchObject({ writes: 0 });
    expect(await node.generation()).toBe(generation);
    expect(await tables()).toBe(before);
    expect(await restarted.stop()).toBe(0);
    expect((await load.stop()).failures).toEqual([]);
  });

  test(`killed ${kills} times in the middle of changes: what is in force works, and the next start converges`, async () => {
    const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
    console.log(`kill -9, ${backend}: KPROXY_SEED=${seed}`);
    let state = seed;
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    let version = seed;
    churn(++version);
    const first = launch();
    await first.waitForLog('starting');
    const started = performance.now();
    await first.rulesInForce();
    const loadMs = performance.now() - started;
    await first.stop('SIGKILL');
    const load = await node.topology.client.agent().startLoad(STABLE);

    for (let kill = 1; kill <= kills; kill++) {
      churn(++version);
      const daemon = launch();
      await daemon.waitForLog('starting');
      // Before, during and after its first write, and during those that follow.
      const timer = setTimeout(() => daemon.stop('SIGKILL'), loadMs * 2 * random());
      while ((await Promise.race([daemon.ended, sleep(40)])) === undefined) churn(++version);
      clearTimeout(timer);
      expect(await daemon.ended).toBe('SIGKILL');
      for (const program of ['iptables', 'ip6tables']) expect(deadEnds(await rules(program))).toEqual([]);
    }
    const last = await start();
    await expect.poll(async () => (await diff()).status, { timeout: 10_000 }).toBe(0);
    await last.stop();
    const tally = await load.stop();
    expect(tally.failures).toEqual([]);
    expect(tally.total).toBeGreaterThan(100);

    // Nothing is left of all that happened: the rules are those of a node where nothing did.
    const converged = await byChain();
    for (const program of ['iptables', 'ip6tables']) {
      const input = ['mangle', 'nat', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');
      await node.netns.exec([`${program}-${backend}-restore`], { env, input });
    }
    await (await start()).stop();
    expect(await byChain()).toEqual(converged);
  }, 60_000);
});
