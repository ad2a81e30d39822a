import { createServer, get, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DebugOptions, debugHandler } from '../../src/daemon/debug/debug-handler.ts';
import { KernelError } from '../../src/errors.ts';

let server: Server;
let origin: string;
const verbosities: number[] = [];
let tableJson: DebugOptions['tableJson'];
/** Whom requests seem to come from. */
let client: string | undefined;
let isGuarded: boolean;
const errors: unknown[] = [];

beforeEach(async () => {
  verbosities.length = 0;
  tableJson = async () => '[]\n';
  client = undefined;
  isGuarded = false;
  errors.length = 0;
  const handler = debugHandler({
    tableJson: () => tableJson(),
    setVerbosity: (verbosity) => verbosities.push(verbosity),
    isGuarded: () => isGuarded,
    onError: (error) => errors.push(error),
  });
  server = createServer((request, response) => {
    if (client !== undefined) Object.defineProperty(request.socket, 'remoteAddress', { value: client });
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const status = async (path: string, init: RequestInit = {}) => (await fetch(origin + path, init)).status;

it('the index names what there is', async () => {
  const text = await (await fetch(`${origin}/debug/pprof/`)).text();
  for (const path of ['/debug/pprof/profile', '/debug/pprof/heap', '/debug/table', '/debug/flags/v']) {
    expect(text).toContain(path);
  }
});

it.each<[method: string, path: string, status: number]>([
  ['GET', '/debug/pprof/profile?seconds=0', 400],
  ['GET', '/debug/pprof/profile?seconds=301', 400],
  ['GET', '/debug/pprof/profile?seconds=x', 400],
  ['GET', '/debug/pprof', 404],
  ['GET', '/debug/constructor', 404],
  ['POST', '/debug/pprof/', 405],
  ['GET', '/debug/flags/v', 405],
])('%s %s is answered with %i', async (method, path, expected) => {
  expect(await status(path, { method })).toBe(expected);
});

it('a processor profile is what developer tools read', async () => {
  const response = await fetch(`${origin}/debug/pprof/profile?seconds=1`);
  const profile = (await response.json()) as { startTime: number; endTime: number; samples: number[] };
  expect(profile.endTime - profile.startTime).toBeGreaterThan(900_000);
  expect(profile.samples.length).toBeGreaterThan(0);
});

it('a heap snapshot is what developer tools read', async () => {
  const snapshot = (await (await fetch(`${origin}/debug/pprof/heap`)).json()) as { snapshot: object };
  expect(snapshot.snapshot).toMatchObject({ node_count: expect.any(Number) });
}, 60_000);

it('one is made at a time, and none for who has left', async () => {
  const first = get(`${origin}/debug/pprof/profile?seconds=300`);
  first.on('error', () => undefined);
  await expect.poll(() => status('/debug/pprof/heap')).toBe(503);
  first.destroy();
  await expect.poll(() => status('/debug/pprof/profile?seconds=1'), { timeout: 5000 }).toBe(200);
});

describe('the table', () => {
  it.each(['127.0.0.1', '::ffff:127.0.0.1', '::1'])('is for %s', async (address) => {
    client = address;
    const response = await fetch(`${origin}/debug/table`);
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'application/json',
      '[]\n',
    ]);
  });

  it.each(['10.0.0.1', '::ffff:10.0.0.1', 'fd00::1', ''])(
    'nothing is for %j without credentials',
    async (address) => {
      client = address;
      for (const path of ['/debug/table', '/debug/pprof/', '/debug/pprof/heap', '/debug/nothing']) {
        expect(await status(path)).toBe(403);
      }
      expect(await status('/debug/flags/v', { method: 'PUT', body: '4' })).toBe(403);
      expect(verbosities).toEqual([]);
      isGuarded = true;
      expect(await status('/debug/table')).toBe(200);
    },
  );

  it('says why it cannot be read', async () => {
    tableJson = () => Promise.reject(new KernelError('EPERM', 1, 'list chains'));
    const response = await fetch(`${origin}/debug/table`);
    expect([response.status, await response.text()]).toEqual([500, 'list chains: EPERM\n']);
    expect(errors).toEqual([]);
  });

  it('a defect of ours is logged, answered and harms nobody else', async () => {
    const defect = new TypeError('x is undefined');
    tableJson = () => Promise.reject(defect);
    const response = await fetch(`${origin}/debug/table`);
    expect([response.status, await response.text()]).toEqual([500, 'unexpected error; the log has it\n']);
    expect(errors).toEqual([defect]);
    tableJson = async () => '[]\n';
    expect(await status('/debug/table')).toBe(200);
  });
});

it('verbosity is set, by digits only', async () => {
  expect(await status('/debug/flags/v', { method: 'PUT', body: '4\n' })).toBe(200);
  for (const body of ['x', '-1', '', '1'.repeat(20)]) {
    expect(await status('/debug/flags/v', { method: 'PUT', body })).toBe(400);
  }
  expect(verbosities).toEqual([4]);
});

it('a body that never ends ends the request', async () => {
  const request = httpRequest(`${origin}/debug/flags/v`, { method: 'PUT' });
  request.on('error', () => undefined);
  const answer = new Promise<number | undefined>((resolve) =>
    request.on('response', ({ statusCode }) => resolve(statusCode)),
  );
  request.write('1'.repeat(100));
  expect(await answer).toBe(400);
  request.destroy();
});

it('who leaves in the middle of a body harms nobody', async () => {
  const gone = new Promise((resolve) => server.once('request', (request) => request.once('close', resolve)));
  const request = httpRequest(`${origin}/debug/flags/v`, { method: 'PUT', headers: { 'Content-Length': 9 } });
  request.on('error', () => undefined);
  request.write('1');
  await new Promise((resolve) => server.once('request', resolve));
  request.destroy();
  await gone;
  expect(await status('/debug/pprof/')).toBe(200);
  expect([verbosities, errors]).toEqual([[], []]);
});
