// userspace mode under a real systemd: sockets and connections are kept from one start to the next.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { POD_CIDR } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';
import { Manager } from './manager.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const DNS: Target = { protocol: 'udp', host: '10.96.0.1', port: 53 };
const ARGS = `--source=/run/kpt/manifests --hostname-override=${NODE_NAME} --cluster-cidr=${POD_CIDR} --proxy-mode=userspace`;

let node: TestNode;
let manager: Manager;

beforeAll(async () => {
  node = await TestNode.create(2);
  const ports = [
    { name: 'http', port: 80 },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ] as const;
  const targets = [
    { name: 'http', port: 8080 },
    { name: 'dns', port: 5353, protocol: 'UDP' },
  ] as const;
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [...ports] }),
    slice('web', 'web-1', { ports: [...targets], endpoints: [podIp(1), podIp(2)] }),
  );
  manager = await Manager.start(node.netns, node.manifests.path, [
    `Environment="KPROXY_TS_ARGS=${ARGS}"`,
    'RestartSec=200ms',
  ]);
});

afterAll(async () => {
  await manager?.end();
  await node?.delete();
});

const stored = () => manager.property('NFileDescriptorStore');

test('systemctl restart: no request fails, open connections go on, no rule is written, and the store is empty after it', async () => {
  expect(await manager.systemctl('start', 'kproxy-ts')).toMatchObject({ status: 0, stderr: '' });
  const client = node.topology.client.agent();
  const before = await node.nft('-a', 'list', 'map', 'ip', 'kproxy-ts-userspace', 'endpoints');
  const load = await client.startLoad({ ...WEB, pauseMs: 5 });
  const held = await client.hold({ ...WEB, intervalMs: 20 });
  for (let round = 0; round < 2; round++) {
    const pid = await manager.property('MainPID');
    expect(await manager.systemctl('restart', 'kproxy-ts')).toMatchObject({ status: 0, stderr: '' });
    expect(await manager.property('MainPID')).not.toBe(pid);
    expect(await client.probe(DNS)).toMatchObject({ outcome: 'reply' });
    expect(await node.nft('-a', 'list', 'map', 'ip', 'kproxy-ts-userspace', 'endpoints')).toBe(before);
    await expect.poll(stored).toBe('0');
  }
  const { failures, total } = await load.stop();
  expect(failures).toEqual([]);
  expect(total).toBeGreaterThan(50);
  expect(await held.release()).toMatchObject({ outcome: 'reply', server: held.first.server });

  expect(await manager.systemctl('stop', 'kproxy-ts')).toMatchObject({ status: 0 });
  expect(await node.nft('list', 'tables')).not.toContain('kproxy-ts');
}, 60_000);
