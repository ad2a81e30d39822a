// Proxies behind rules of the kernel, in a network namespace: which Service was dialled, from which side, and what listens when.

import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ip, IpFamily } from '../../../src/model/ip.ts';
import { frontend } from '../../support/frontends.ts';
import type { Target } from '../../support/netns/traffic.ts';
import { NODE_IPS, ProxiedNode } from './proxied-node.ts';

let node: ProxiedNode;
beforeEach(async () => {
  node = await ProxiedNode.create();
  for (const [name, address] of [
    ['a', '10.1.0.11'],
    ['b', '10.1.0.12'],
    ['c', '10.1.0.13'],
    ['a6', 'fd00:10:1::11'],
  ] as const) {
    for (const protocol of ['tcp', 'udp'] as const)
      await node.agent.serve({ protocol, port: 8080, name, address });
  }
});
afterEach(() => node.delete());

const [a, b, c, a6] = ['10.1.0.11:8080', '10.1.0.12:8080', '10.1.0.13:8080', '[fd00:10:1::11]:8080'] as const;

async function servers(target: Target, count = 4): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const { outcome, server } = await node.agent.probe(target);
    names.push(server ?? outcome);
  }
  return names;
}

const tcp = (host: string, port = 80): Target => ({ protocol: 'tcp', host, port });
const udp = (host: string, port = 53): Target => ({ protocol: 'udp', host, port, timeoutMs: 300 });

test('TCP: one socket for all Services, and each is known by what was dialled', async () => {
  const one = frontend('one', { address: '10.96.0.1', backends: [a, b] });
  const two = frontend('two', { address: '10.96.0.2', backends: [c] });
  const nodePort = frontend('two', { port: 30080, backends: [b] });
  const six = frontend('six', { address: 'fd00:10:96::1', backends: [a6] });
  expect(await node.update({ one: [one], two: [two, nodePort], six: [six] }, NODE_IPS)).toEqual([]);
  const portal = (await node.portal(one))!;
  expect(portal.ip).toBe('192.168.50.10');
  expect(await node.portal(two)).toEqual(portal);
  expect(await node.portal(nodePort)).toEqual(portal);
  for (const each of [one, two, nodePort]) await node.translate(each, portal);
  await node.translate(six, (await node.portal(six))!);

  expect(await servers(tcp('10.96.0.1'))).toEqual(['a', 'b', 'a', 'b']);
  expect(await servers(tcp('10.96.0.2'), 2)).toEqual(['c', 'c']);
  expect(await servers(tcp('192.168.50.11', 30080), 2)).toEqual(['b', 'b']);
  expect(await servers(tcp('fd00:10:96::1'), 2)).toEqual(['a6', 'a6']);
  const { ports, strangers } = await node.counts();
  const of = (service: string) => ports.find((port) => port.service === service)!.endpoints;
  expect(of('default/one')).toMatchObject([
    { endpoint: a, connections: 2 },
    { endpoint: b, connections: 2 },
  ]);
  expect(of('default/six')).toMatchObject([{ endpoint: a6, connections: 2 }]);
  expect(strangers).toBe(0);
});

test('who dials a port of the proxies themselves is reset, be it the number of a node port too', async () => {
  const web = frontend('web', { address: '10.96.0.1', backends: [a] });
  await node.update({ web: [web] }, NODE_IPS);
  const portal = (await node.portal(web))!;
  const nodePort = frontend('web', { port: portal.port, backends: [a] });
  await node.update({ web: [web, nodePort] });
  // Connection tracking begins with the first rule that asks for it.
  await node.translate(web, portal);
  expect(await servers(tcp(portal.ip, portal.port), 2)).toEqual(['reset', 'reset']);
  // One of no Service.
  const stale = frontend('stale', { address: '10.96.0.9', backends: [a] });
  await node.translate(stale, portal);
  expect(await servers(tcp('10.96.0.9'), 1)).toEqual(['reset']);
  expect((await node.counts()).strangers).toBe(3);
});

test('the inside has a socket, and endpoints, of its own', async () => {
  const outside = { address: '203.0.113.1', backends: [a], insideBackends: [b] };
  const web = frontend('web', { ...outside, kind: 'LoadBalancer', trafficPolicy: 'Local' });
  const dns = frontend('dns', { ...outside, protocol: 'UDP', port: 53, kind: 'LoadBalancer' });
  const plain = frontend('plain', { address: '10.96.0.1', backends: [c] });
  expect(await node.update({ plain: [plain] }, NODE_IPS)).toEqual([]);
  expect(await node.portal(plain, 'inside')).toBeUndefined();
  await node.netns.ip('route add 203.0.113.0/24 dev lo');
  expect(await node.update({ web: [web], dns: [dns] })).toEqual([]);
  expect(await node.portal(plain, 'inside')).toBeUndefined();
  for (const each of [web, dns]) {
    const [out, inside] = [(await node.portal(each))!, (await node.portal(each, 'inside'))!];
    expect(out.port).not.toBe(inside.port);
    await node.translate(each, inside, `meta skuid 0 ip saddr 10.1.0.13`);
    await node.translate(each, out);
  }
  const from = { localAddress: '10.1.0.13' };
  expect(await servers(tcp('203.0.113.1'), 2)).toEqual(['a', 'a']);
  expect(await servers({ ...tcp('203.0.113.1'), ...from }, 2)).toEqual(['b', 'b']);
  expect(await servers(udp('203.0.113.1'), 2)).toEqual(['a', 'a']);
  expect(await servers({ ...udp('203.0.113.1'), ...from }, 2)).toEqual(['b', 'b']);
});

test('UDP: a socket per Frontend, answers from the address that was dialled, both families', async () => {
  const dns = frontend('dns', { address: '10.96.0.10', protocol: 'UDP', port: 53, backends: [a, b] });
  const six = frontend('dns', { address: 'fd00:10:96::10', protocol: 'UDP', port: 53, backends: [a6] });
  expect(await node.update({ dns: [dns, six] }, NODE_IPS)).toEqual([]);
  for (const each of [dns, six]) await node.translate(each, (await node.portal(each))!);
  expect(await servers(udp('10.96.0.10'))).toEqual(['a', 'b', 'a', 'b']);
  expect(await servers(udp('fd00:10:96::10'), 2)).toEqual(['a6', 'a6']);
});

test('an endpoint that is gone gets no new clients; TCP connections to it go on, UDP ones move', async () => {
  const web = frontend('web', { address: '10.96.0.1', backends: [a] });
  const dns = frontend('dns', { address: '10.96.0.10', protocol: 'UDP', port: 53, backends: [a] });
  await node.update({ web: [web], dns: [dns] }, NODE_IPS);
  for (const each of [web, dns]) await node.translate(each, (await node.portal(each))!);
  const held = await node.agent.hold(tcp('10.96.0.1'));
  const asked = await node.agent.hold(udp('10.96.0.10'));
  expect([held.first.server, asked.first.server]).toEqual(['a', 'a']);

  const { backends } = frontend('web', { backends: [b] });
  await node.update({ web: [{ ...web, backends }], dns: [{ ...dns, backends }] });
  expect(await node.portal(dns)).toBeDefined();
  expect(await servers(tcp('10.96.0.1'), 2)).toEqual(['b', 'b']);
  expect(await held.release()).toMatchObject({ outcome: 'reply', server: 'a' });
  expect(await asked.release()).toMatchObject({ outcome: 'reply', server: 'b' });
});

test('what a Service loses another may have at once, and what nobody needs is closed by release', async () => {
  const lost = frontend('old', { address: '10.96.0.1', backends: [a] });
  const won = frontend('new', { address: '10.96.0.1', backends: [b] });
  const dns = frontend('dns', { address: '10.96.0.10', protocol: 'UDP', port: 53, backends: [a] });
  await node.update({ old: [lost], dns: [dns] }, NODE_IPS);
  const portal = (await node.portal(lost))!;
  await node.translate(lost, portal);
  const before = (await node.counts()).descriptors.used;
  expect(before).toBe(2);

  expect(await node.update({ new: [won], old: [] })).toEqual([]);
  expect(await node.portal(won)).toEqual(portal);
  expect(await servers(tcp('10.96.0.1'), 2)).toEqual(['b', 'b']);

  await node.update({ new: [], dns: [] });
  expect(await node.portal(won)).toBeUndefined();
  expect(await servers(tcp('10.96.0.1'), 1)).toEqual(['reset']);
  await node.release();
  expect(await servers(tcp('10.96.0.1'), 1)).toEqual(['refused']);
  expect((await node.counts()).descriptors.used).toBe(0);
});

test('another address: new portals are there at once, old ones until release', async () => {
  const web = frontend('web', { address: '10.96.0.1', backends: [a] });
  const dns = frontend('dns', { address: '10.96.0.10', protocol: 'UDP', port: 53, backends: [a] });
  await node.update({ web: [web], dns: [dns] }, NODE_IPS);
  const old = (await node.portal(web))!;
  await node.translate(web, old);
  const moved: [IpFamily, Ip][] = [[4, '192.168.50.11' as Ip]];
  expect(await node.update({}, moved)).toEqual([]);
  expect((await node.portal(web))!.ip).toBe('192.168.50.11');
  expect((await node.portal(dns))!.ip).toBe('192.168.50.11');
  expect(await servers(tcp('10.96.0.1'), 1)).toEqual(['a']);
  await node.release();
  expect(await servers(tcp('10.96.0.1'), 1)).toEqual(['refused']);
  expect((await node.counts()).descriptors.used).toBe(2);
});

test('node ports are there at the loopback addresses, with the endpoints of the inside, and go with the last of these', async () => {
  const [four, six] = [
    frontend('web', { port: 30080, backends: [], insideBackends: [a] }),
    frontend('web', { port: 30080, backends: [a6] }),
  ];
  const dns = frontend('dns', { port: 30053, protocol: 'UDP', backends: [b] });
  const vip = frontend('web', { address: '10.96.0.1', backends: [a] });
  // No address to listen on is needed for that.
  expect(await node.update({ web: [vip, four, six], dns: [dns] }, [])).toEqual([]);
  expect(await node.portal(four, 'inside')).toBeUndefined();
  expect(await servers(tcp('127.0.0.1', 30080), 1)).toEqual(['a']);
  expect(await servers(tcp('::1', 30080), 1)).toEqual(['a6']);
  expect(await servers(udp('127.0.0.1', 30053), 1)).toEqual(['b']);
  expect(await servers(tcp('192.168.50.10', 30080), 1)).toEqual(['refused']);
  // Three that listen, and one towards the endpoint of the UDP client.
  expect((await node.counts()).descriptors.used).toBe(4);

  const { backends } = frontend('web', { backends: [c] });
  await node.update({ web: [{ ...four, insideBackends: [] }], dns: [{ ...dns, backends }] });
  expect(await servers(tcp('127.0.0.1', 30080), 1)).toEqual(['refused']);
  expect(await servers(tcp('::1', 30080), 1)).toEqual(['refused']);
  expect(await servers(udp('127.0.0.1', 30053), 1)).toEqual(['c']);
  await node.update({ web: [four], dns: [] });
  expect(await servers(tcp('127.0.0.1', 30080), 1)).toEqual(['a']);
  expect(await servers(udp('127.0.0.1', 30053), 1)).toEqual(['refused']);
});

test('a loopback port that somebody else has: told, and tried again', async () => {
  const stop = await node.agent.serve({ protocol: 'tcp', port: 30080, name: 'other', address: '127.0.0.1' });
  const web = frontend('web', { port: 30080, backends: [a] });
  expect(await node.update({ web: [web] }, NODE_IPS)).toEqual([
    { code: 'EADDRINUSE', services: ['default/web'] },
  ]);
  expect(await node.portal(web)).toBeDefined();
  await stop();
  expect(await node.update({})).toEqual([]);
  expect(await servers(tcp('127.0.0.1', 30080), 1)).toEqual(['a']);
});

test('an address that this host has not: told for each Service, and tried again', async () => {
  const web = frontend('web', { address: '10.96.0.1', backends: [a] });
  const empty = frontend('empty', { address: '10.96.0.2', backends: [] });
  const dns = frontend('dns', { address: '10.96.0.10', protocol: 'UDP', port: 53, backends: [a] });
  const elsewhere: [IpFamily, Ip][] = [[4, '192.168.50.99' as Ip]];
  expect(await node.update({ web: [web], empty: [empty], dns: [dns] }, elsewhere)).toEqual([
    { code: 'EADDRNOTAVAIL', services: ['default/web'] },
    { code: 'EADDRNOTAVAIL', services: ['default/dns'] },
  ]);
  expect(await node.portal(web)).toBeUndefined();
  await node.netns.ip('address add 192.168.50.99/32 dev lo');
  expect(await node.update({})).toEqual([]);
  expect((await node.portal(web))!.ip).toBe('192.168.50.99');
  expect((await node.portal(dns))!.ip).toBe('192.168.50.99');
  await node.close();
  expect((await node.counts()).descriptors.used).toBe(0);
});
