// From one mode to another and back, under load: the new rules come before the old ones go, and no connection notices.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { GATEWAY } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const DNS: Target = { protocol: 'udp', host: '10.96.0.10', port: 53 };
const NODE_PORT: Target = { protocol: 'tcp', host: GATEWAY.ip, port: 30080 };
const NODE_PORTS = '--nodeport-addresses=0.0.0.0/0';

/** What shows that a mode has rules, and the flags that it takes. */
const MODES: Partial<Record<ProxyMode, { readonly flags: readonly string[]; hasRules(): Promise<boolean> }>> =
  {
    nftables: {
      flags: [],
      hasRules: async () => (await node.nft('list', 'tables')).includes(' kproxy-ts\n'),
    },
    iptables: {
      flags: ['--iptables-backend=nft'],
      hasRules: async () => (await node.nft('list', 'ruleset')).includes('KUBE-SVC-'),
    },
  };

/** Each is also gone back. */
const PAIRS: readonly (readonly [ProxyMode, ProxyMode])[] = [['nftables', 'iptables']];

let node: TestNode;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(3);
  const http = { name: 'http', port: 80 };
  const dns = { name: 'dns', port: 53, protocol: 'UDP' as const };
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ ...http, nodePort: 30080 }], type: 'NodePort' }),
    slice('web', 'web', { ports: [{ ...http, port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
    service('dns', { clusterIps: [DNS.host], ports: [dns] }),
    slice('dns', 'dns', { ports: [{ ...dns, port: 5353 }], endpoints: [podIp(3)] }),
  );
});
beforeEach(async () => {
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(() => node?.delete());

async function start(mode: ProxyMode): Promise<Daemon> {
  daemon = await node.start(`--proxy-mode=${mode}`, NODE_PORTS, ...MODES[mode]!.flags);
  return daemon;
}

/** The modes that have rules now. */
async function present(): Promise<string[]> {
  const found: string[] = [];
  for (const [mode, { hasRules }] of Object.entries(MODES)) if (await hasRules()) found.push(mode);
  return found.sort();
}

test.each(PAIRS)(
  '%s, %s and back',
  async (first, second) => {
    await start(first);
    const outside = node.topology.client.agent();
    const inside = node.topology.pod('pod-3').agent();
    const loads = await Promise.all(
      [
        { from: 'outside', agent: outside, to: WEB },
        { from: 'outside', agent: outside, to: NODE_PORT },
        { from: 'a pod', agent: inside, to: WEB },
        { from: 'a pod', agent: inside, to: DNS },
        { from: 'the node', agent: node.netns.agent(), to: WEB },
      ].map(async ({ from, agent, to }) => ({
        from,
        to,
        load: await agent.startLoad({ ...to, pauseMs: 2 }),
      })),
    );
    const holders = [outside, inside, node.netns.agent()];
    const held = [];
    for (const mode of [second, first, second, first]) {
      held.push(
        ...(await Promise.all(holders.map((agent) => agent.hold(WEB)))),
        await outside.hold(NODE_PORT),
      );
      const [before] = await present();
      expect(await daemon!.stop()).toBe(0);
      expect(await present()).toEqual([before]);
      const successor = await start(mode);
      await successor.waitForLog('removed the rules of another mode');
      expect(await present()).toEqual([mode]);
      expect(await node.diff(`--proxy-mode=${mode}`, NODE_PORTS, ...MODES[mode]!.flags)).toMatchObject({
        status: 0,
      });
      const totals = await Promise.all(loads.map(async ({ load }) => (await load.peek()).total));
      for (const [i, { load }] of loads.entries()) {
        await expect.poll(async () => (await load.peek()).total).toBeGreaterThan(totals[i]! + 20);
      }
    }
    for (const { from, to, load } of loads) {
      expect({ from, to, failures: (await load.stop()).failures }).toEqual({ from, to, failures: [] });
    }
    for (const { first: reply, release } of held) {
      expect(await release()).toMatchObject({ outcome: 'reply', server: reply.server });
    }
  },
  90_000,
);
