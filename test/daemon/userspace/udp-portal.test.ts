// Proxied UDP clients on loopback: real sockets, in this process.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import { Descriptors } from '../../../src/daemon/userspace/descriptors.ts';
import { Route } from '../../../src/daemon/userspace/route.ts';
import { RoutedService } from '../../../src/daemon/userspace/routed-service.ts';
import { type Trouble, Troubles } from '../../../src/daemon/userspace/troubles.ts';
import { UdpPortal, type UdpPortalOptions } from '../../../src/daemon/userspace/udp-portal.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type FrontendSpec, frontend } from '../../support/frontends.ts';

const HOST = '127.0.0.1' as Ip;
const closing: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of closing.splice(0)) one.close();
});

interface Site {
  readonly portal: UdpPortal;
  readonly route: Route;
  readonly clock: FakeClock;
  readonly descriptors: Descriptors;
  readonly troubles: Trouble[];
  serve(spec: Partial<FrontendSpec> & { readonly backends: readonly string[] }): void;
}

async function open(
  spec: Partial<FrontendSpec> & { readonly backends: readonly string[] },
  options: Partial<UdpPortalOptions> = {},
): Promise<Site> {
  const of = (one: typeof spec) => frontend('dns', { address: '10.96.0.10', protocol: 'UDP', ...one });
  const [clock, troubles, descriptors] = [
    new FakeClock(),
    [] as Trouble[],
    new Descriptors({ limit: 100, countOpen: () => undefined }),
  ];
  const service = new RoutedService(of(spec).service);
  service.set([of(spec)]);
  const route = new Route(service, of(spec), 'outside', clock);
  const portal = (await UdpPortal.open(
    { ip: HOST, port: 0 },
    {
      route,
      timeouts: { unrepliedMs: 30_000, repliedMs: 120_000 },
      maxClients: 10,
      descriptors,
      troubles: new Troubles((trouble) => troubles.push(trouble), clock),
      clock,
      mark: 0,
      ...options,
    },
  )) as UdpPortal;
  closing.push(portal);
  const serve = (one: typeof spec): void => {
    service.set([of(one)]);
    route.replace(of(one));
    portal.endGone();
  };
  return { portal, route, clock, descriptors: options.descriptors ?? descriptors, troubles, serve };
}

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4');
  closing.push(socket);
  socket.bind(0, HOST);
  await once(socket, 'listening');
  return socket;
}

/** Answers `name: ` and what it was sent; returns its `ip:port`. */
async function endpoint(name: string): Promise<string> {
  const socket = await bound();
  socket.on('message', (message, { port, address }) => socket.send(`${name}: ${message}`, port, address));
  return `${HOST}:${socket.address().port}`;
}

/** Takes what it is sent, and says nothing. */
async function mute(): Promise<string> {
  return `${HOST}:${(await bound()).address().port}`;
}

async function ask(client: Socket, { portal }: Site, text = 'x'): Promise<string> {
  client.send(text, portal.address.port, HOST);
  const [message] = (await once(client, 'message', { signal: AbortSignal.timeout(2000) })) as [Buffer];
  return `${message}`;
}

test('a client keeps its endpoint, the next one has the next', async () => {
  const site = await open({ backends: [await endpoint('a'), await endpoint('b')] });
  const [one, two] = [await bound(), await bound()];
  expect([await ask(one, site), await ask(two, site), await ask(one, site), await ask(two, site)]).toEqual([
    'a: x',
    'b: x',
    'a: x',
    'b: x',
  ]);
  expect(site.portal.clients).toBe(2);
  expect(site.route.port.traffic.endpoints()).toMatchObject([
    { connections: 1, open: 1, bytesToEndpoint: 2, bytesToClient: 8 },
    { connections: 1, open: 1, bytesToEndpoint: 2, bytesToClient: 8 },
  ]);
});

test('the largest datagram there is', async () => {
  const site = await open({ backends: [await endpoint('a')] });
  const text = 'y'.repeat(65_507 - 3);
  expect(await ask(await bound(), site, text)).toBe(`a: ${text}`);
});

test('datagrams that come before there is a socket for them are not lost, nor out of order', async () => {
  const site = await open({ backends: [await endpoint('a')] });
  const client = await bound();
  const heard: string[] = [];
  client.on('message', (message) => heard.push(`${message}`));
  const sent = Array.from({ length: 20 }, (_, i) => `${i}`);
  for (const text of sent) client.send(text, site.portal.address.port, HOST);
  await vi.waitFor(() => expect(heard).toEqual(sent.map((text) => `a: ${text}`)));
});

test('who is silent is forgotten: sooner when there was no answer', async () => {
  const site = await open({ backends: [await endpoint('a'), await mute()] });
  const [answered, unheard] = [await bound(), await bound()];
  await ask(answered, site);
  unheard.send('x', site.portal.address.port, HOST);
  await vi.waitFor(() => expect(site.portal.clients).toBe(2));
  site.clock.pass(29_000);
  expect(site.portal.clients).toBe(2);
  site.clock.pass(2_000);
  expect(site.portal.clients).toBe(1);
  expect(site.descriptors.used).toBe(1);
  site.clock.pass(90_000);
  expect(site.portal.clients).toBe(0);
  expect(site.clock.timerCount).toBe(0);
  // And is known again, as a new one.
  expect(await ask(answered, site)).toBe('a: x');
  expect(site.portal.clients).toBe(1);
});

test('of too many clients the one that was silent for longest makes room', async () => {
  const site = await open({ backends: [await endpoint('a')] }, { maxClients: 2 });
  const [one, two, three] = [await bound(), await bound(), await bound()];
  for (const client of [one, two, one, three]) {
    site.clock.pass(1);
    await ask(client, site);
  }
  expect(site.portal.clients).toBe(2);
  const { connections } = site.route.port.traffic.endpoints()[0]!;
  await ask(one, site);
  expect(site.route.port.traffic.endpoints()[0]!.connections).toBe(connections);
  await ask(two, site);
  expect(site.route.port.traffic.endpoints()[0]!.connections).toBe(connections + 1);
});

test('without descriptors the oldest client makes room too, and that is told', async () => {
  const site = await open(
    { backends: [await endpoint('a')] },
    { descriptors: new Descriptors({ limit: 2, countOpen: () => undefined }) },
  );
  expect(await ask(await bound(), site)).toBe('a: x');
  expect(await ask(await bound(), site)).toBe('a: x');
  expect(await ask(await bound(), site)).toBe('a: x');
  expect(site.portal.clients).toBe(2);
  expect(site.troubles).toMatchObject([{ code: 'DESCRIPTORS' }]);
});

test('an endpoint that refuses loses its client to the next', async () => {
  const gone = await bound();
  const text = `${HOST}:${gone.address().port}`;
  closing.splice(closing.indexOf(gone), 1);
  await new Promise<void>((resolve) => gone.close(resolve));
  const site = await open({ backends: [text, await endpoint('b')] });
  const client = await bound();
  client.send('lost', site.portal.address.port, HOST);
  await vi.waitFor(() =>
    expect(site.route.port.traffic.endpoints()).toMatchObject([{ failures: 1, open: 0 }]),
  );
  expect(await ask(client, site)).toBe('b: x');
});

test('so does one that the system does not let us send to', async () => {
  const site = await open({ backends: ['255.255.255.255:9', await endpoint('b')] });
  const client = await bound();
  client.send('lost', site.portal.address.port, HOST);
  await vi.waitFor(() =>
    expect(site.route.port.traffic.endpoints()).toMatchObject([{ failures: 1, open: 0 }]),
  );
  expect(await ask(client, site)).toBe('b: x');
});

test('clients of an endpoint that is gone move with the next datagram; those of others stay', async () => {
  const [a, b, c] = [await endpoint('a'), await endpoint('b'), await endpoint('c')];
  const site = await open({ backends: [a, b] });
  const [one, two] = [await bound(), await bound()];
  expect([await ask(one, site), await ask(two, site)]).toEqual(['a: x', 'b: x']);
  site.serve({ backends: [b, c] });
  expect(site.portal.clients).toBe(1);
  const moved = await ask(one, site);
  expect(moved).toMatch(/^[bc]: x$/);
  expect([await ask(one, site), await ask(two, site)]).toEqual([moved, 'b: x']);
});

test('with affinity a client has one endpoint, from whichever port it asks', async () => {
  const site = await open({
    backends: [await endpoint('a'), await endpoint('b')],
    affinityTimeoutSeconds: 10,
  });
  const first = await ask(await bound(), site);
  expect(await ask(await bound(), site)).toBe(first);
  site.clock.pass(9_999);
  expect(await ask(await bound(), site)).toBe(first);
  site.clock.pass(10_000);
  expect(await ask(await bound(), site)).not.toBe(first);
});

test('nobody to answer: nothing is sent, and it is counted', async () => {
  const site = await open({ backends: [] });
  (await bound()).send('x', site.portal.address.port, HOST);
  await vi.waitFor(() => expect(site.route.port.traffic.refused).toBe(1));
  expect(site.portal.clients).toBe(0);
});
