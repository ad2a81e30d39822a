// userspace mode under a real systemd: sockets and connections are kept from one start to the next.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE_NAME } from '../support/manifests.ts';
import { POD_CIDR } from '../support/netns/topology.ts';
import { TestNode } from '../support/test-node.ts';
import { DNS, putWebAndDns, WEB } from '../support/web-and-dns.ts';
import { Manager } from './manager.ts';

const ARGS = `--source=/run/kpt/manifests --hostname-override=${NODE_NAME} --cluster-cidr=${POD_CIDR} --proxy-mode=userspace`;

let node: TestNode;
let manager: Manager;

beforeAll(async () => {
  node = await TestNode.create(3);
  putWebAndDns(node.manifests);
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
