// What the health server answers, over real HTTP.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { HealthFacts } from '../../../src/daemon/health/health-answer.ts';
import { healthHandler } from '../../../src/daemon/health/health-server.ts';
import { HttpListener } from '../../../src/daemon/http-listener.ts';
import { createLog } from '../../../src/daemon/log.ts';

const NOW = new Date('2026-03-01T12:00:00Z');
const UPDATED = new Date('2026-03-01T11:00:00Z');
const GOOD: HealthFacts = {
  families: [4, 6],
  isHealthy: true,
  isLive: true,
  isReady: true,
  isNodeEligible: true,
  staleSince: undefined,
  updatedAt: UPDATED,
};

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function logged(): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  return { log: createLog({ format: 'json', verbosity: 0, isTty: false, destination }), lines };
}

async function serve(facts: HealthFacts, onAnswer: (path: string, status: number) => void = () => undefined) {
  const listener = new HttpListener({
    name: 'health',
    address: { host: '127.0.0.1', port: 0 },
    handler: healthHandler({ facts: () => facts, now: () => NOW, onAnswer }),
    log: logged().log,
    isHardFail: true,
  });
  await listener.start();
  closing.push(() => listener.close());
  return async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${listener.port}${path}`, { method });
    return { status: response.status, headers: response.headers, body: await response.text() };
  };
}

test.each<[what: string, over: Partial<HealthFacts>, healthz: number, livez: number, readyz: number]>([
  ['all is well', {}, 200, 200, 200],
  ['the node is not eligible', { isNodeEligible: false }, 503, 200, 200],
  ['what is desired is not in force', { isHealthy: false }, 503, 200, 503],
  ['stuck', { isHealthy: false, isLive: false }, 503, 503, 503],
  ['the probe fails', { probe: { address: 'a', isPassing: false, outcome: 'refused' } }, 200, 200, 503],
  ['the probe passes', { probe: { address: 'a', isPassing: true, outcome: 'connected' } }, 200, 200, 200],
  ['nothing in force yet', { isReady: false, updatedAt: undefined }, 200, 200, 503],
])('%s', async (_, over, healthz, livez, readyz) => {
  const ask = await serve({ ...GOOD, ...over });
  const statuses = await Promise.all(
    ['/healthz', '/livez?verbose', '/readyz'].map(async (path) => (await ask(path)).status),
  );
  expect(statuses).toEqual([healthz, livez, readyz]);
});

test("kube-proxy's keys and headers", async () => {
  const ask = await serve({ ...GOOD, isNodeEligible: false });
  const healthz = await ask('/healthz');
  expect(healthz.headers.get('content-type')).toBe('application/json');
  expect(healthz.headers.get('x-content-type-options')).toBe('nosniff');
  const family = { lastUpdated: UPDATED.toISOString(), healthy: true };
  expect(JSON.parse(healthz.body)).toEqual({
    lastUpdated: UPDATED.toISOString(),
    currentTime: NOW.toISOString(),
    nodeEligible: false,
    healthy: true,
    status: { IPv4: family, IPv6: family },
  });
  const livez = JSON.parse((await ask('/livez', 'POST')).body);
  expect(livez).toMatchObject({ lastUpdated: NOW.toISOString(), healthy: true });
  expect(livez).not.toHaveProperty('nodeEligible');
});

test('objects that nobody has confirmed since are told with their time, and make nobody unhealthy', async () => {
  const ask = await serve({ ...GOOD, staleSince: UPDATED });
  for (const path of ['/healthz', '/livez', '/readyz']) {
    const { status, body } = await ask(path);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ healthy: true, staleSince: UPDATED.toISOString() });
  }
});

test('every answer is counted, and another path is none', async () => {
  const counted: string[] = [];
  const ask = await serve(GOOD, (path, status) => counted.push(`${path} ${status}`));
  await ask('/healthz');
  expect((await ask('/other')).status).toBe(404);
  expect((await ask('/constructor')).status).toBe(404);
  await ask('/livez');
  expect(counted).toEqual(['healthz 200', 'livez 200']);
});

test('a port that is taken is told once; with hard fail it is an error with a code', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => other.close(() => resolve())));
  const { port } = other.address() as AddressInfo;
  const { log, lines } = logged();
  const options = { name: 'health', address: { host: '127.0.0.1', port }, handler: () => undefined, log };
  await expect(new HttpListener({ ...options, isHardFail: true }).start()).rejects.toMatchObject({
    code: 'EADDRINUSE',
    message: `health server: listen on 127.0.0.1:${port}: EADDRINUSE`,
  });
  const patient = new HttpListener({ ...options, isHardFail: false });
  await patient.start();
  closing.push(() => patient.close());
  expect(patient.port).toBeUndefined();
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['cannot listen, trying again']);
});
