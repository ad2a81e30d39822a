// Node ports at 127.0.0.1 and [::1], of modes whose rules do not serve them: both protocols and families, and no route_localnet.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { NODE } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode, written } from '../support/test-node.ts';

const TCP: Target = { protocol: 'tcp', host: '127.0.0.1', port: 30080 };
const UDP: Target = { protocol: 'udp', host: '127.0.0.1', port: 30053 };

let node: TestNode;
let host: Agent;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(2);
  host = node.netns.agent();
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'dns', port: 5353, protocol: 'UDP' as const },
  ];
  node.manifests.put(
    'web',
    service('web', {
      clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
      ports: [
        { name: 'http', port: 80, nodePort: 30080 },
        { name: 'dns', port: 53, protocol: 'UDP', nodePort: 30053 },
      ],
      type: 'NodePort',
    }),
    slice('web', 'web-4', { ports, endpoints: [podIp(1)] }),
    slice('web', 'web-6', { ports, endpoints: [podIp6(2)] }),
  );
});
afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  await node.nft('flush', 'ruleset');
});
afterAll(() => node?.delete());

describe.each(['nftables', 'userspace'])('%s mode', (mode) => {
  const start = async (...flags: string[]): Promise<Daemon> => {
    daemon = await node.start(`--proxy-mode=${mode}`, ...flags);
    return daemon;
  };

  test('serves both protocols in both families, without route_localnet', async () => {
    await start('--localhost-nodeports');
    for (const target of [TCP, UDP]) {
      expect(await host.probe(target)).toMatchObject({ outcome: 'reply', server: 'pod-1' });
      expect(await host.probe({ ...target, host: '::1' })).toMatchObject({
        outcome: 'reply',
        server: 'pod-2',
      });
      expect(await host.probe({ ...target, host: NODE.ip })).toMatchObject({
        outcome: 'reply',
        server: 'pod-1',
      });
    }
    expect((await node.netns.exec(['cat', '/proc/sys/net/ipv4/conf/all/route_localnet'])).trim()).toBe('0');
    await daemon!.stop();
    expect(await host.probe(TCP)).toMatchObject({ outcome: 'refused' });
  });

  test('does not unless it is told to', async () => {
    await start();
    expect(await host.probe(TCP)).toMatchObject({ outcome: 'refused' });
  });

  test('a port that somebody has is told and tried again; everything else is served', async () => {
    const stop = await host.serve({ protocol: 'tcp', port: 30080, name: 'other', address: '127.0.0.1' });
    await start('--localhost-nodeports', '--iptables-sync-period=500ms');
    const told = await daemon!.waitForLog(({ code }) => code === 'NO_LOCALHOST_NODE_PORT');
    expect(told).toMatchObject({
      subject: 'Service default/web',
      reason: expect.stringContaining('127.0.0.1:30080'),
    });
    expect(await host.probe(TCP)).toMatchObject({ server: 'other' });
    expect(await host.probe({ ...TCP, host: '::1' })).toMatchObject({ server: 'pod-2' });
    expect(await host.probe({ ...TCP, host: NODE.ip })).toMatchObject({ server: 'pod-1' });
    await stop();
    await expect.poll(async () => (await host.probe(TCP)).server, { timeout: 5000 }).toBe('pod-1');
    await written(daemon!, () =>
      node.manifests.put('other', service('other', { clusterIps: ['10.96.0.2'], ports: [{ port: 80 }] })),
    );
    expect(daemon!.log.filter(({ msg }) => msg.includes('will be retried'))).toEqual([]);
    node.manifests.remove('other');
  });
});
