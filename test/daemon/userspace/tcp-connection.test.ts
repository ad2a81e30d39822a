// Proxied TCP connections on loopback: real sockets, in this process.

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { constants } from 'node:os';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { loadAddon } from '../../../native/load.cjs';
import { Descriptors } from '../../../src/daemon/userspace/descriptors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ending, Loopback, readAll } from './loopback.ts';

const open: Loopback[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) {
    await one.close();
    expect(one.descriptors.used).toBe(0);
    expect(one.service.open).toBe(0);
    for (const { open: count } of one.route.port.traffic.endpoints()) expect(count).toBe(0);
  }
});

function loopback(...options: ConstructorParameters<typeof Loopback>): Loopback {
  const one = new Loopback(...options);
  open.push(one);
  return one;
}

/** Nobody listens there: a port that was free a moment ago. */
async function closedPort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

/** Neither takes connections nor refuses them: its queue is full, and whoever listens there sleeps. */
async function silentEndpoint(): Promise<{ text: string; close(): void }> {
  const listen = `const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('node:fs').writeSync(1, String(server.address().port));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  const queued = [0, 1].map(() => connect(Number(port), '127.0.0.1').on('error', () => undefined));
  await Promise.all(queued.map((socket) => once(socket, 'connect')));
  return { text: `127.0.0.1:${port}`, close: () => child.kill('SIGKILL') };
}

/** Waits until a number of bytes has stopped growing: when the buffers of four sockets are full. */
async function untilStill(taken: () => number): Promise<void> {
  let before = -1;
  await vi.waitFor(
    () => {
      const now = taken();
      const isStill = now === before && now > 0;
      before = now;
      expect(isStill).toBe(true);
    },
    { timeout: 10_000, interval: 200 },
  );
}

const echo = (socket: Socket): void => {
  socket.pipe(socket);
};
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('bytes', () => {
  test('go both ways, megabytes of them at once, and each side closes when it is done', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await proxy.endpoint(echo)] });
    const sent = randomBytes(20_000_000);
    const client = proxy.dial();
    client.end(sent);
    expect(digest(await readAll(client))).toBe(digest(sent));
    await vi.waitFor(() => expect(proxy.service.open).toBe(0));
    expect(proxy.route.port.traffic.endpoints()).toMatchObject([
      { connections: 1, open: 0, failures: 0, bytesToEndpoint: sent.length, bytesToClient: sent.length },
    ]);
  });

  test('a client that has said all is answered for as long as it takes', async () => {
    const proxy = loopback();
    const endpoint = await proxy.endpoint(async (socket) => {
      const request = await readAll(socket);
      for (let i = 0; i < 3; i++) {
        socket.write(`${i}`);
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      socket.end(request);
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    client.end('request');
    expect(`${await readAll(client)}`).toBe('012request');
  });

  test('an endpoint that has said all still hears the client', async () => {
    const proxy = loopback();
    let heard: Promise<Buffer> | undefined;
    const endpoint = await proxy.endpoint((socket) => {
      socket.end('answer');
      heard = readAll(socket);
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    expect(`${await readAll(client)}`).toBe('answer');
    client.end('and thanks');
    expect(`${await heard}`).toBe('and thanks');
  });

  test.each(['client', 'endpoint'])('are held back while the %s does not read', async (slow) => {
    const proxy = loopback();
    const ends: { endpoint?: Socket } = {};
    const endpoint = await proxy.endpoint((socket) => {
      ends.endpoint = socket;
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    await vi.waitFor(() => expect(ends.endpoint).toBeDefined());
    const [from, to] = slow === 'client' ? [ends.endpoint!, client] : [client, ends.endpoint!];
    const bytes = randomBytes(60_000_000);
    from.end(bytes);
    const taken = (): number => {
      const [traffic] = proxy.route.port.traffic.endpoints();
      return slow === 'client' ? traffic!.bytesToClient : traffic!.bytesToEndpoint;
    };
    await untilStill(taken);
    expect(taken()).toBeLessThan(bytes.length / 2);
    expect(digest(await readAll(to))).toBe(digest(bytes));
    expect(taken()).toBe(bytes.length);
  });
});

test('hundreds of clients at once are all served', async () => {
  const proxy = loopback();
  await proxy.serve({ backends: [await proxy.endpoint(echo)] });
  const answers = await Promise.all(
    Array.from({ length: 300 }, async (_, i) => {
      const client = proxy.dial();
      client.end(`${i}`);
      return `${await readAll(client)}`;
    }),
  );
  expect(answers).toEqual(Array.from({ length: 300 }, (_, i) => `${i}`));
});

test('nothing at all is said, and each side hears just that', async () => {
  const proxy = loopback();
  let heard: Promise<Buffer> | undefined;
  const endpoint = await proxy.endpoint((socket) => {
    heard = readAll(socket);
    socket.end();
  });
  await proxy.serve({ backends: [endpoint] });
  const client = proxy.dial();
  client.end();
  expect(await readAll(client)).toHaveLength(0);
  expect(await heard).toHaveLength(0);
  await vi.waitFor(() => expect(proxy.service.open).toBe(0));
});

describe('a reset', () => {
  test('by a client that had said all ends it, though the endpoint says nothing', async () => {
    const proxy = loopback();
    let heard: Promise<Buffer> | undefined;
    const endpoint = await proxy.endpoint((socket) => {
      heard = readAll(socket);
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    client.end('request');
    await vi.waitFor(() => expect(heard).toBeDefined());
    expect(`${await heard}`).toBe('request');
    client.resetAndDestroy();
    await vi.waitFor(() => expect(proxy.service.open).toBe(0));
  });

  test('by a client that much is kept for reaches the endpoint', async () => {
    const proxy = loopback();
    let ended: Promise<string> | undefined;
    const endpoint = await proxy.endpoint((socket) => {
      ended = ending(socket);
      socket.write(randomBytes(60_000_000));
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    await vi.waitFor(() => expect(ended).toBeDefined());
    const taken = (): number => proxy.route.port.traffic.endpoints()[0]!.bytesToClient;
    await untilStill(taken);
    client.resetAndDestroy();
    expect(await ended).toBe('ECONNRESET');
  });

  test('by the endpoint reaches the client as one', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await proxy.endpoint((socket) => socket.resetAndDestroy())] });
    const client = proxy.dial();
    expect(await ending(client)).toBe('ECONNRESET');
  });

  test('by the client reaches the endpoint as one', async () => {
    const proxy = loopback();
    let ended: Promise<string> | undefined;
    const endpoint = await proxy.endpoint((socket) => {
      ended = ending(socket);
      socket.write('x');
    });
    await proxy.serve({ backends: [endpoint] });
    const client = proxy.dial();
    client.once('data', () => client.resetAndDestroy());
    await vi.waitFor(() => expect(ended).toBeDefined());
    expect(await ended).toBe('ECONNRESET');
  });

  test('answers a client when no endpoint takes it', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await closedPort(), await closedPort()] });
    const client = proxy.dial();
    expect(await ending(client)).toBe('ECONNRESET');
    await vi.waitFor(() => expect(proxy.route.port.traffic.refused).toBe(1));
    expect(proxy.route.port.traffic.endpoints()).toMatchObject([
      { failures: 1, connections: 0 },
      { failures: 1, connections: 0 },
    ]);
    expect(proxy.troubles).toMatchObject([{ code: 'NO_ENDPOINT', service: 'default/web' }]);
  });

  test('answers a client with affinity when no endpoint takes it, which chooses anew', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await closedPort(), await closedPort()], affinityTimeoutSeconds: 100 });
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
    await vi.waitFor(() => expect(proxy.service.open).toBe(0));
    expect(proxy.route.port.affinity.size).toBe(0);
  });

  test('answers a client when there is no endpoint', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [] });
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
  });
});

describe('dialling', () => {
  test('goes on to the next endpoint when one refuses', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await closedPort(), await proxy.endpoint(echo)] });
    for (let i = 0; i < 4; i++) {
      const client = proxy.dial();
      client.end('hello');
      expect(`${await readAll(client)}`).toBe('hello');
    }
  });

  test('goes on to the next endpoint when one does not answer in time', async () => {
    const clock = new FakeClock();
    const proxy = loopback({ clock });
    const silent = await silentEndpoint();
    await proxy.serve({ backends: [silent.text, await proxy.endpoint(echo)] });
    const client = proxy.dial();
    client.end('hello');
    // The time that the endpoint has, and the next look at all connections.
    await vi.waitFor(() => expect(clock.timerCount).toBe(2));
    clock.pass(249);
    expect(proxy.route.port.traffic.endpoints()).toEqual([]);
    clock.pass(1);
    expect(`${await readAll(client)}`).toBe('hello');
    expect(proxy.route.port.traffic.endpoints()).toMatchObject([{ failures: 1 }, { connections: 1 }]);
    expect(clock.timerCount).toBe(1);
    silent.close();
  });

  test('ends when the client has gone', async () => {
    const clock = new FakeClock();
    const proxy = loopback({ clock });
    const silent = await silentEndpoint();
    const connections = vi.fn();
    await proxy.serve({ backends: [silent.text, await proxy.endpoint(connections)] });
    const client = proxy.dial();
    await vi.waitFor(() => expect(clock.timerCount).toBe(2));
    client.resetAndDestroy();
    await once(client, 'close');
    clock.pass(250);
    await vi.waitFor(() => expect(proxy.service.open).toBe(0));
    expect(connections).not.toHaveBeenCalled();
    expect(proxy.route.port.traffic.refused).toBe(0);
    silent.close();
  });

  test('keeps to one endpoint per client with affinity, until that fails', async () => {
    const proxy = loopback();
    const name = (text: string) => (socket: Socket) => socket.end(text);
    const [a, b] = [await proxy.endpoint(name('a')), await proxy.endpoint(name('b'))];
    const ask = async (localAddress: string): Promise<string> =>
      `${await readAll(proxy.dial({ localAddress }))}`;
    await proxy.serve({ backends: [a, b], affinityTimeoutSeconds: 100 });
    const first = await ask('127.0.0.1');
    const second = await ask('127.0.0.2');
    expect(new Set([first, second])).toEqual(new Set(['a', 'b']));
    for (let i = 0; i < 3; i++) {
      expect([await ask('127.0.0.1'), await ask('127.0.0.2')]).toEqual([first, second]);
    }
    await proxy.serve({ backends: [first === 'a' ? b : a, await closedPort()], affinityTimeoutSeconds: 100 });
    expect(await ask('127.0.0.1')).toBe(second);
    expect(await ask('127.0.0.1')).toBe(second);
  });

  test('says who the client is first where that is asked for', async () => {
    const proxy = loopback();
    let heard: Promise<Buffer> | undefined;
    const endpoint = await proxy.endpoint((socket) => {
      heard = readAll(socket);
      socket.end();
    });
    await proxy.serve({ backends: [endpoint], proxyProtocol: 'v2' });
    const client = proxy.dial({ localAddress: '127.0.0.9' });
    client.end('hello');
    await once(client, 'connect');
    const { localPort } = client;
    await readAll(client);
    const bytes = await heard!;
    expect(bytes.subarray(0, 16)).toEqual(Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex'));
    expect([...bytes.subarray(16, 24)]).toEqual([127, 0, 0, 9, 10, 96, 0, 1]);
    expect([bytes.readUInt16BE(24), bytes.readUInt16BE(26)]).toEqual([localPort, 80]);
    expect(`${bytes.subarray(28)}`).toBe('hello');
    expect(proxy.route.port.traffic.endpoints()).toMatchObject([{ bytesToEndpoint: 5 }]);
  });
});

test('a connection that lasts is kept alive on both sides', async () => {
  const clock = new FakeClock();
  const proxy = loopback({ clock });
  await proxy.serve({ backends: [await proxy.endpoint(echo)] });
  const client = proxy.dial();
  client.write('x');
  await once(client, 'data');
  const { localPort } = client;
  /** Timers of this process's sockets, by the ports at their ends (linux/Documentation/networking/proc_net_tcp.txt). */
  const timers = (): string[] =>
    readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , remote = '']) => ports.has(Number.parseInt(remote.slice(9), 16)))
      .map(([, , , , , timer = '']) => timer.slice(0, 2));
  const endpointPort = Number(proxy.route.port.traffic.endpoints()[0]!.endpoint.split(':')[1]);
  // The accepted socket's other end is the client; the dialled one's is the endpoint.
  const ports = new Set([localPort, endpointPort]);
  await vi.waitFor(() => expect(timers()).toEqual(['00', '00']));
  clock.pass(10_000);
  await vi.waitFor(() => expect(timers()).toEqual(['02', '02']));
  expect(clock.timerCount).toBe(0);
});

describe('limits', () => {
  test('of a Service: more are reset, and told once; there is room again when one ends', async () => {
    const proxy = loopback();
    await proxy.serve({ backends: [await proxy.endpoint(echo)], maxConnections: 2 });
    const clients = [proxy.dial(), proxy.dial()];
    for (const client of clients) {
      client.write('x');
      await once(client, 'data');
    }
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
    expect(proxy.troubles).toMatchObject([{ code: 'CONNECTION_LIMIT', service: 'default/web', times: 1 }]);
    expect(proxy.route.port.traffic.refused).toBe(2);
    clients[0]!.end();
    await vi.waitFor(() => expect(proxy.service.open).toBe(1));
    const next = proxy.dial();
    next.end('hello');
    expect(`${await readAll(next)}`).toBe('hello');
  });

  test('of the process: more are reset before it runs out, and told once', async () => {
    // A quarter of so few is kept for others.
    const proxy = loopback({ descriptors: new Descriptors({ limit: 8, countOpen: () => undefined }) });
    await proxy.serve({ backends: [await proxy.endpoint(echo)] });
    const clients = [proxy.dial(), proxy.dial(), proxy.dial()];
    for (const client of clients) {
      client.write('x');
      await once(client, 'data');
    }
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
    expect(await ending(proxy.dial())).toBe('ECONNRESET');
    expect(proxy.descriptors.refused).toBe(2);
    expect(proxy.troubles).toMatchObject([{ code: 'DESCRIPTORS', service: undefined, times: 1 }]);
    expect(proxy.troubles[0]!.reason).toContain('6 of 8 descriptors');
    for (const client of clients) client.destroy();
    await vi.waitFor(() => expect(proxy.descriptors.used).toBe(0));
  });
});

test('connections to some endpoints can be reset, though these are gone from the Service', async () => {
  const proxy = loopback();
  const [a, b] = [await proxy.endpoint(echo), await proxy.endpoint(echo)];
  await proxy.serve({ backends: [a, b] });
  const clients = [proxy.dial(), proxy.dial()];
  for (const client of clients) {
    client.write('x');
    await once(client, 'data');
  }
  await proxy.serve({ backends: [b] });
  const endings = clients.map(ending);
  expect(
    proxy.resetIf(({ displayName }, { port }) => displayName === 'default/web' && a.endsWith(`:${port}`)),
  ).toBe(1);
  expect(await Promise.race(endings)).toBe('ECONNRESET');
  await vi.waitFor(() => expect(proxy.service.open).toBe(1));
  for (const client of clients) client.end();
  expect(new Set(await Promise.all(endings))).toEqual(new Set(['ECONNRESET', 'end']));
});

test('closing resets every connection', async () => {
  const proxy = loopback();
  const ends: Socket[] = [];
  await proxy.serve({ backends: [await proxy.endpoint((socket) => ends.push(socket))] });
  const client = proxy.dial();
  await vi.waitFor(() => expect(ends).toHaveLength(1));
  const endings = Promise.all([ending(client), ending(ends[0]!)]);
  await proxy.stop();
  expect(await endings).toEqual(['ECONNRESET', 'ECONNRESET']);
});

describe('connections that are left and gone on with', () => {
  test.each(['client', 'endpoint'])('lose nothing, be much kept for the %s', async (slow) => {
    const [first, second] = [loopback(), loopback()];
    const ends: Socket[] = [];
    const endpoint = await first.endpoint((socket) => ends.push(socket));
    for (const proxy of [first, second]) await proxy.serve({ backends: [endpoint] });
    const client = first.dial();
    await vi.waitFor(() => expect(ends).toHaveLength(1));
    const [from, to] = slow === 'client' ? [ends[0]!, client] : [client, ends[0]!];
    const bytes = randomBytes(60_000_000);
    from.end(bytes);
    await untilStill(() => {
      const [traffic] = first.route.port.traffic.endpoints();
      return slow === 'client' ? traffic!.bytesToClient : traffic!.bytesToEndpoint;
    });
    const left = first.leave();
    expect(left).toHaveLength(1);
    const { unsentToClient, unsentToEndpoint } = left[0]!;
    expect([unsentToClient, unsentToEndpoint].map((text) => text.length > 0)).toEqual([
      slow === 'client',
      slow === 'endpoint',
    ]);
    expect([first.service.open, first.descriptors.used]).toEqual([0, 0]);
    second.resume(left);
    const arrived = readAll(to);
    to.end('thanks');
    expect(digest(await arrived)).toBe(digest(bytes));
    expect(`${await readAll(from)}`).toBe('thanks');
  });

  test('go back and forth while they talk', async () => {
    const proxies = [loopback(), loopback()];
    const endpoint = await proxies[0]!.endpoint(echo);
    for (const proxy of proxies) await proxy.serve({ backends: [endpoint] });
    const client = proxies[0]!.dial();
    const sent = randomBytes(3_000_000);
    const answered = readAll(client);
    for (let i = 0; i < 30; i++) {
      client.write(sent.subarray(i * 100_000, (i + 1) * 100_000));
      await vi.waitFor(() => expect(proxies[i % 2]!.service.open).toBe(1));
      await vi.waitFor(() => expect(proxies[i % 2]!.route.port.traffic.endpoints()[0]?.open).toBe(1));
      proxies[(i + 1) % 2]!.resume(proxies[i % 2]!.leave());
    }
    client.end();
    expect(digest(await answered)).toBe(digest(sent));
  });

  test('in the midst of an ending: the rest of the answer, and then its end', async () => {
    const addon = loadAddon();
    const [first, second] = [loopback(), loopback()];
    const ends: Socket[] = [];
    const endpoint = await first.endpoint((socket) => ends.push(socket));
    for (const proxy of [first, second]) await proxy.serve({ backends: [endpoint] });
    // Reads when it is told to: not all of the answer is on its side yet when the connection is over here.
    const client = addon.connectTcp('127.0.0.1', first.port, 0);
    addon.sendTcp(client, Buffer.from('request'), 7);
    addon.shutdownWriting(client);
    await vi.waitFor(() => expect(ends).toHaveLength(1));
    expect(`${await readAll(ends[0]!)}`).toBe('request');
    const bytes = randomBytes(200_000);
    ends[0]!.write(bytes.subarray(0, 100_000));
    await vi.waitFor(() => expect(first.route.port.traffic.endpoints()[0]!.bytesToClient).toBe(100_000));
    const left = first.leave();
    // Nobody moves anything; then both sides have said all.
    ends[0]!.end(bytes.subarray(100_000));
    await once(ends[0]!, 'close');
    second.resume(left);
    await vi.waitFor(() => expect(second.service.open).toBe(0));
    const room = new Uint8Array(10_000);
    const answer: Buffer[] = [];
    let size = -1;
    while (size !== 0) {
      size = addon.receiveTcp(client, room);
      if (size > 0) answer.push(Buffer.from(room.slice(0, size)));
      else if (size === -constants.errno.EAGAIN) await new Promise((resolve) => setImmediate(resolve));
      else expect(size).toBe(0);
    }
    addon.closeTcp(client, false);
    expect(digest(Buffer.concat(answer))).toBe(digest(bytes));
  });

  test('before an endpoint has answered: the client alone', async () => {
    const clock = new FakeClock();
    const proxy = loopback({ clock });
    const silent = await silentEndpoint();
    await proxy.serve({ backends: [silent.text] });
    const client = proxy.dial();
    client.write('early');
    await vi.waitFor(() => expect(proxy.service.open).toBe(1));
    const [left] = proxy.leave();
    expect(left).toMatchObject({ endpoint: undefined, backend: undefined, unsentToEndpoint: '' });
    const room = new Uint8Array(16);
    await vi.waitFor(() => expect(loadAddon().receiveTcp(left!.client, room)).toBe(5));
    // Nothing of it is dialled or awaited any more.
    clock.pass(60_000);
    expect(proxy.route.port.traffic.endpoints()).toEqual([]);
    loadAddon().closeTcp(left!.client, true);
    expect(await ending(client)).toBe('ECONNRESET');
    silent.close();
  });
});
