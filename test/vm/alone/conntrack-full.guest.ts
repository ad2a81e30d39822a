// A table of connection tracking that is full: who has a connection keeps it, who has none gets none, and the daemon goes on. The limit is
// one for all network namespaces, so this is for a kernel of its own.

import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../../support/manifests.ts';
import type { Target } from '../../support/netns/traffic.ts';
import { patient } from '../../support/patience.ts';
import { podIp, TestNode, written } from '../../support/test-node.ts';

const MAX = '/proc/sys/net/netfilter/nf_conntrack_max';
const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80, timeoutMs: patient(400) };
const HELD = 8;

let node: TestNode;
let before: string | undefined;

beforeAll(async () => {
  node = await TestNode.create(2);
  show([1]);
});
afterEach(() => {
  if (before !== undefined) writeFileSync(MAX, before);
});
afterAll(() => node?.delete());

function show(pods: readonly number[]): void {
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80 }] }),
    slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: pods.map(podIp) }),
  );
}

test(
  'open connections go on, changes are written, and all is well when there is room again',
  async () => {
    const daemon = await node.start();
    // There since the rules ask for it.
    before = readFileSync(MAX, 'utf8');
    const client = node.topology.client.agent();
    const held = await Promise.all(Array.from({ length: HELD }, () => client.hold(WEB)));
    writeFileSync(MAX, String(HELD));
    expect(await client.probe(WEB)).toMatchObject({ outcome: 'timeout' });
    expect(await written(daemon, () => show([2]))).toBeGreaterThan(0);
    for (const { first, release } of held.slice(0, 2))
      expect(await release()).toMatchObject({ outcome: 'reply', server: first.server });
    writeFileSync(MAX, before);
    await expect
      .poll(() => client.probe(WEB), { timeout: patient(5000) })
      .toMatchObject({ outcome: 'reply', server: 'pod-2' });
    for (const { first, release } of held.slice(2))
      expect(await release()).toMatchObject({ outcome: 'reply', server: first.server });
    expect(daemon.log.filter(({ level }) => level === 'error')).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  },
  patient(60_000),
);
