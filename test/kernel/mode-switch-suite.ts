// From one mode to another and back, under load: the new rules come before the old ones go, and no connection notices.
// What a kernel can run differs: each *.test.ts and *.guest.ts names its pairs.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { GATEWAY } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { patient } from '../support/patience.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const DNS: Target = { protocol: 'udp', host: '10.96.0.10', port: 53 };
const NODE_PORT: Target = { protocol: 'tcp', host: GATEWAY.ip, port: 30080 };
const NODE_PORTS = '--nodeport-addresses=0.0.0.0/0';
/** An emulated processor has enough to do with fewer. */
const IS_SLOW = patient(1) > 2;
const PAUSE_MS = IS_SLOW ? 500 : 2;
const ROUNDS = IS_SLOW ? [1] : [1, 2];

const REMOVED = 'removed the rules of another mode';

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
    ipvs: {
      flags: [],
      hasRules: async () => (await node.nft('list', 'tables')).includes(' kproxy-ts-ipvs\n'),
    },
  };

/** Its virtual servers stay until open connections through them have ended. */
const OUTLASTING: ProxyMode = 'ipvs';

let node: TestNode;
let daemon: Daemon | undefined;

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

/** From the first to the second and back. */
export function testModeSwitches(pairs: readonly (readonly [ProxyMode, ProxyMode])[]): void {
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

  test.each(pairs)(
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
          load: await agent.startLoad({ ...to, pauseMs: PAUSE_MS }),
        })),
      );
      const holders = [outside, inside, node.netns.agent()];
      const held = [];
      for (const mode of ROUNDS.flatMap(() => [second, first])) {
        held.push(
          ...(await Promise.all(holders.map((agent) => agent.hold(WEB)))),
          await outside.hold(NODE_PORT),
        );
        const before = mode === first ? second : first;
        expect(await daemon!.stop()).toBe(0);
        expect(await present()).toContain(before);
        const successor = await start(mode);
        if (before !== OUTLASTING) await successor.waitForLog(REMOVED);
        expect(await present()).toEqual(before === OUTLASTING ? [OUTLASTING, mode].sort() : [mode]);
        expect(await node.diff(`--proxy-mode=${mode}`, NODE_PORTS, ...MODES[mode]!.flags)).toMatchObject({
          status: 0,
        });
        const totals = await Promise.all(loads.map(async ({ load }) => (await load.peek()).total));
        for (const [i, { load }] of loads.entries()) {
          await expect
            .poll(async () => (await load.peek()).total, { timeout: patient(5000) })
            .toBeGreaterThan(totals[i]! + 5);
        }
      }
      for (const { from, to, load } of loads) {
        expect({ from, to, failures: (await load.stop()).failures }).toEqual({ from, to, failures: [] });
      }
      for (const { first: reply, release } of held) {
        expect(await release()).toMatchObject({ outcome: 'reply', server: reply.server });
      }
      if (second === OUTLASTING) await daemon!.waitForLog(REMOVED);
      expect(await present()).toEqual([first]);
    },
    patient(90_000),
  );
}
