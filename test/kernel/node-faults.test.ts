// What befalls a node under a daemon that runs on: others flush its rules, addresses and links come and go, it is not
// scheduled for a while. Real packets say when all works again.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../support/api-server/api-server.ts';
import { ApiServerInNetns } from '../support/api-server/in-netns.ts';
import type { ApiObject } from '../support/api-server/object-store.ts';
import { NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { CLIENT, NODE } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const NODE_PORT: Target = { protocol: 'tcp', host: NODE.ip, port: 30_080 };
const PORTS = [{ name: 'http', port: 8080 }];
const PATIENCE = { timeout: 10_000, interval: 20 };

let node: TestNode;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(2);
});
beforeEach(async () => {
  node.manifests.put('node', nodeObject(NODE.ip, NODE.ip6));
  node.manifests.put('web', ...web([1, 2]));
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
});
afterAll(() => node?.delete());

function web(pods: readonly number[]): object[] {
  const ports = [{ name: 'http', port: 80, nodePort: NODE_PORT.port }];
  return [
    service('web', { clusterIps: [WEB.host], ports }),
    slice('web', 'web-1', { ports: PORTS, endpoints: pods.map(podIp) }),
  ];
}

/** What answers: the name of a pod, or what else comes of it. */
async function who(target: Target): Promise<string> {
  const { outcome, server } = await node.topology.client.agent().probe({ ...target, timeoutMs: 300 });
  return server ?? outcome;
}

const answers = (target: Target) => expect.poll(() => who(target), PATIENCE).toMatch(/^pod-/);

describe.each(['nftables', 'iptables'])('%s mode', (mode) => {
  const start = async (...flags: string[]): Promise<Daemon> => {
    daemon = await node.start(`--proxy-mode=${mode}`, '--sync-period=1s', ...flags);
    return daemon;
  };
  const isInForce = async () => (await node.diff(`--proxy-mode=${mode}`)).status;

  const FLUSHES: Record<string, readonly string[]> = {
    'nft flush ruleset': ['nft flush ruleset'],
    ...(mode === 'iptables' && {
      'iptables -F': ['iptables-nft -F', 'iptables-nft -t nat -F', 'iptables-nft -t nat -X'],
      'iptables -F of the chains that lead to ours': ['iptables-nft -t nat -F PREROUTING'],
    }),
  };

  test.each(Object.entries(FLUSHES))('%s is repaired', async (name, commands) => {
    await start();
    await answers(WEB);
    const held = await node.topology.client.agent().hold({ ...WEB, intervalMs: 20 });
    // A repair may come between two of them, after which chains cannot be deleted.
    for (const command of commands) await node.netns.tryExec(command.split(' '));
    const startMs = performance.now();
    await answers(WEB);
    const tookMs = Math.round(performance.now() - startMs);
    await answers(NODE_PORT);
    expect(await isInForce()).toBe(0);
    const report = await held.release();
    // Without any chain of NAT the kernel translates nothing: an open connection may break before the repair.
    if (name !== 'nft flush ruleset')
      expect(report).toMatchObject({ outcome: 'reply', server: held.first.server });
    console.log(`${mode}, ${name}: served again after ${tookMs} ms`);
  });

  test('addresses and links that come and go cost nothing once they are back', async () => {
    const { pid } = await start();
    await answers(WEB);
    await node.netns.ip(`address delete ${NODE.ip}/24 dev eth0`);
    expect(await who(NODE_PORT)).not.toMatch(/^pod-/);
    await node.netns.ip(`address add ${NODE.ip}/24 dev eth0`, `route replace default via ${CLIENT.ip}`);
    await answers(NODE_PORT);
    await answers(WEB);

    node.manifests.put('web', ...web([1]));
    await expect.poll(isInForce, PATIENCE).toBe(0);
    await node.netns.ip('link set pod0 down');
    expect(await who(WEB)).not.toMatch(/^pod-/);
    await node.netns.ip('link set pod0 up', `route replace ${podIp(1)}/32 dev pod0`);
    await answers(WEB);

    await node.netns.ip(
      'link add late type veth peer name late2',
      'address add 10.9.9.9/32 dev late',
      'link set late up',
    );
    await node.netns.ip('link delete late');
    await answers(WEB);
    expect(daemon!.pid).toBe(pid);
    expect(daemon!.hasEnded).toBe(false);
    expect(daemon!.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });

  test("without a Node object, the host's own address serves node ports once it has one", async () => {
    node.manifests.remove('node');
    await node.netns.ip(`address delete ${NODE.ip}/24 dev eth0`);
    await start();
    await node.netns.ip(`address add ${NODE.ip}/24 dev eth0`, `route replace default via ${CLIENT.ip}`);
    await answers(NODE_PORT);
    expect(await isInForce()).toBe(0);
  });
});

describe('not scheduled for a while', () => {
  let server: ApiServer;
  let way: ApiServerInNetns;

  beforeEach(async () => {
    server = await startApiServer();
    way = await ApiServerInNetns.open(node.netns, server);
    for (const object of [nodeObject(NODE.ip), ...web([1])]) server.put(object as ApiObject);
  });
  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    await way.close();
    await server.close();
  });

  test.each([
    ['while its watches wait', () => {}],
    [
      'while its connections are cut and history is forgotten',
      () => {
        server.compact();
        server.dropWatches();
      },
    ],
  ])('%s: it goes on with what is there now, at once', async (when, meanwhile) => {
    daemon = Daemon.start(node.netns, [
      `--master=${way.url}`,
      `--hostname-override=${NODE_NAME}`,
      '--sync-period=1s',
    ]);
    await daemon.rulesInForce();
    await answers(WEB);
    process.kill(daemon.pid, 'SIGSTOP');
    // More than fits the buffers of a connection.
    for (let i = 0; i < 3000; i++) server.put(web([1 + (i % 2)])[1] as ApiObject);
    server.put(web([2])[1] as ApiObject);
    meanwhile();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(await who(WEB)).toBe('pod-1');
    process.kill(daemon.pid, 'SIGCONT');
    const startMs = performance.now();
    await expect.poll(() => who(WEB), PATIENCE).toBe('pod-2');
    console.log(`${when}: up to date ${Math.round(performance.now() - startMs)} ms after SIGCONT`);
    expect(daemon.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });
});
