// What of ipvs mode the behaviour table has no rows for: pings, and endpoints that answer past the node.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import { connect } from '../support/netns/topology.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';
import { listServers } from './ipvsadm.ts';

const VIP = '10.96.0.1';
const VIP6 = 'fd00:10:96::1';
const DIRECT = '203.0.113.10';
/** Between the client and the pod, past the node. */
const CLIENT_SIDE = '192.168.70.2';
const POD_SIDE = '192.168.70.11';

let node: TestNode;

beforeAll(async () => {
  node = await TestNode.create(2);
  node.manifests.put(
    'web',
    service('web', { clusterIps: [VIP, VIP6], ports: [{ port: 80 }] }),
    slice('web', 'web-4', { ports: [{ port: 8080 }], endpoints: [podIp(1)] }),
    slice('web', 'web-6', { ports: [{ port: 8080 }], endpoints: [podIp6(1)] }),
    service('direct', {
      clusterIps: ['10.96.0.2'],
      ports: [{ port: 8080 }],
      externalIps: [DIRECT],
      annotations: { 'kproxy-ts.io/direct-routing': 'tunnel' },
    }),
    slice('direct', 'direct', { ports: [{ port: 8080 }], endpoints: [podIp(1)] }),
  );
  await node.start('--proxy-mode=ipvs');
});

afterAll(() => node?.delete());

test.each([VIP, VIP6, DIRECT])('%s answers a ping, from outside and from a pod', async (address) => {
  for (const netns of [node.topology.client, node.topology.pod('pod-2')]) {
    const { status, stdout } = await netns.tryExec(['/run/bin/ping', '-c', '1', '-W', '5', address]);
    expect([status, stdout]).toEqual([0, expect.stringContaining('1 packets received')]);
  }
});

test('an endpoint in a tunnel sees the client, and answers it past the node', async () => {
  const pod = node.topology.pod('pod-1');
  const { client } = node.topology;
  await connect(
    { netns: client, device: 'eth1', addresses: [`${CLIENT_SIDE}/24`] },
    { netns: pod, device: 'eth1', addresses: [`${POD_SIDE}/24`] },
  );
  // What docs/annotations.md asks of an endpoint; and its way to the client.
  await pod.ip('link set tunl0 up', `address add ${DIRECT}/32 dev tunl0`);
  await pod.ip(`route add 192.168.50.2/32 via ${CLIENT_SIDE}`);
  await pod.sysctl({ 'net.ipv4.conf.tunl0.rp_filter': 0, 'net.ipv4.conf.all.rp_filter': 0 });
  await client.sysctl({ 'net.ipv4.conf.eth1.rp_filter': 0, 'net.ipv4.conf.all.rp_filter': 0 });
  expect((await listServers(node.netns))[`TCP ${DIRECT}:8080`]!.realServers).toMatchObject({
    [`${podIp(1)}:8080`]: { forwarding: 'Tunnel' },
  });

  const received = (): Promise<number> => receivedPackets('eth1');
  const before = await received();
  const reply = await client.agent().probe({ protocol: 'tcp', host: DIRECT, port: 8080 });
  expect(reply).toMatchObject({ outcome: 'reply', server: 'pod-1', peer: '192.168.50.2' });
  expect(await received()).toBeGreaterThan(before);

  // Inside clients have no use for it: they are answered through the node.
  const inside = await node.topology
    .pod('pod-2')
    .agent()
    .probe({ protocol: 'tcp', host: DIRECT, port: 8080 });
  expect(inside).toMatchObject({ outcome: 'reply', server: 'pod-1' });

  async function receivedPackets(device: string): Promise<number> {
    return Number(await client.exec(['cat', `/sys/class/net/${device}/statistics/rx_packets`]));
  }
});
