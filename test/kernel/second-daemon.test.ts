// Two daemons on one node: the second goes, or takes over when the first does.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { readVersion } from '../../src/config/version.ts';
import { service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };

let node: TestNode;
let daemons: Daemon[] = [];

beforeAll(async () => {
  node = await TestNode.create(1);
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80 }] }),
    slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1)] }),
  );
});
afterEach(async () => {
  for (const daemon of daemons) await daemon.stop('SIGKILL');
  daemons = [];
});
afterAll(() => node?.delete());

async function start(...flags: string[]): Promise<Daemon> {
  const daemon = Daemon.start(node.netns, [...node.flags, '-v=2', ...flags]);
  daemons.push(daemon);
  return daemon;
}

test.each([
  ['of the same mode', []],
  ['of another mode', ['--proxy-mode=iptables']],
])('a second %s refuses to start, with a status of its own, and touches nothing', async (_, flags) => {
  const first = await start();
  await first.rulesInForce();
  const generation = await node.generation();
  const { status, stderr } = await node.kproxy(...node.flags, '--takeover-wait=0s', ...flags);
  expect(stderr).toMatch(
    new RegExp(
      `^kproxy-ts: another kproxy-ts serves this network namespace \\(pid ${first.pid}, version ${readVersion().replaceAll('.', '\\.')}, nftables mode, since 2.*Z\\); it must be stopped first\n$`,
    ),
  );
  expect(status).toBe(3);
  expect(await node.generation()).toBe(generation);
  // What only looks is welcome.
  expect((await node.table()).length).toBeGreaterThan(0);
  expect((await node.diff()).status).toBe(0);
});

test.each([
  ['SIGTERM', 0],
  ['SIGKILL', 'SIGKILL'],
] as const)(
  'a successor that is there before %s reaches the first takes over, and nobody notices',
  async (signal, end) => {
    const first = await start();
    await first.rulesInForce();
    const load = await node.topology.client.agent().startLoad({ ...WEB, pauseMs: 1 });
    const second = await start();
    const line = await second.waitForLog('waiting for its end');
    expect(line).toMatchObject({ level: 'warn', pid: first.pid });
    expect(await first.stop(signal)).toBe(end);
    await second.rulesInForce();
    const tally = await load.stop();
    expect(tally.failures).toEqual([]);
    expect(tally.total).toBeGreaterThan(50);
  },
);
