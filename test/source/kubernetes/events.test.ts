// Events as an API server gets them.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { oddity, repaired, starting } from '../../../src/daemon/events/compose.ts';
import { KubeError } from '../../../src/errors.ts';
import {
  createKubernetesSource,
  type KubernetesSourceOptions,
} from '../../../src/source/kubernetes/kubernetes-source.ts';
import type { NodeEvent } from '../../../src/source/node-event.ts';
import type { SentRequest, Source } from '../../../src/source/source.ts';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';

let server: ApiServer;
let source: Source | undefined;

beforeEach(async () => {
  server = await startApiServer();
});

afterEach(async () => {
  await source?.stop();
  await server.close();
});

async function start(
  options: Partial<KubernetesSourceOptions> = {},
): Promise<(event: NodeEvent, id?: number) => Promise<void>> {
  const started = createKubernetesSource({
    master: server.url,
    nodeName: 'node-1',
    version: '1.2.3',
    log: () => undefined,
    ...options,
  });
  source = started;
  await started.start(() => undefined);
  return (event, id = 0) => started.writeEvent!({ op: 'create', id, event, atMs: performance.now() });
}

test('an Event is about the Node, in the namespace default, and names the object beside it', async () => {
  const write = await start();
  const before = Date.now();
  await write(oddity({ subject: 'Service default/web', code: 'VIP_CONFLICT', reason: 'taken' }));
  const [event] = server.events.stored;
  expect(event).toMatchObject({
    metadata: { namespace: 'default', name: expect.stringMatching(/^node-1\.[0-9a-f]{16}$/) },
    type: 'Warning',
    reason: 'VipConflict',
    action: 'SyncProxyRules',
    note: 'Service default/web: taken',
    reportingController: 'kproxy-ts',
    reportingInstance: 'node-1',
    regarding: { apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: 'node-1' },
    related: { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' },
  });
  expect(Date.parse(event!.eventTime)).toBeGreaterThanOrEqual(before - 1);
  expect(Date.parse(event!.eventTime)).toBeLessThanOrEqual(Date.now() + 1);
});

test('a series is a count and a time', async () => {
  const write = await start();
  await write(repaired('ipvs'), 7);
  await source!.writeEvent!({ op: 'count', id: 7, count: 12, atMs: performance.now() + 1000 });
  const [event] = server.events.stored;
  expect(event!.series!.count).toBe(12);
  expect(Date.parse(event!.series!.lastObservedTime)).toBeGreaterThan(Date.parse(event!.eventTime));
  expect(server.events.writes).toEqual(['POST 201', 'PATCH 200']);
});

test('whatever a note says and however long the name of the node is, the server takes it', async () => {
  const write = await start({ nodeName: `${'n'.repeat(236)}-${'x'.repeat(16)}` });
  await write(oddity({ subject: 'Service a/b', code: 'INVALID_FIELD', reason: '日本語🚀'.repeat(500) }));
  const [{ note } = { note: '' }] = server.events.stored;
  expect(Buffer.byteLength(note)).toBeGreaterThan(1000);
  expect(note).toMatch(/^Service a\/b: 日本語.*[日本語🚀]…$/u);
  await write(oddity({ subject: 'S', code: 'X', reason: '' }), 1);
  expect(new Set(server.events.stored.map(({ metadata }) => metadata.name)).size).toBe(2);
});

test.each([403, 422, 500])('an answer of %i is an error with that status', async (status) => {
  const write = await start();
  server.faults.failingEvents.push(status);
  await expect(write(starting('1', 'ipvs'))).rejects.toMatchObject({ status });
});

test('a lost answer is an error without a status, and the second attempt says that it is there', async () => {
  const write = await start();
  server.faults.failingEvents.push(0);
  const error = await write(starting('1', 'ipvs')).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(KubeError);
  expect((error as KubeError).status).toBeUndefined();
  await expect(write(starting('1', 'ipvs'))).rejects.toMatchObject({ status: 409 });
});

test('credentials go with it', async () => {
  await server.close();
  server = await startApiServer({ tls: true, tokens: ['secret'] });
  const { mkdtempSync, rmSync, writeFileSync } = await import('node:fs');
  const folder = mkdtempSync('/tmp/kproxy-events-');
  try {
    writeFileSync(`${folder}/config`, server.kubeconfig({ token: 'secret' }));
    const write = await start({ master: undefined, kubeconfig: `${folder}/config` });
    await write(starting('1', 'ipvs'));
    expect(server.events.stored).toHaveLength(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('stop ends a write that gets no answer', async () => {
  const write = await start();
  server.faults.delayMs = 60_000;
  const failed = expect(write(starting('1', 'ipvs'))).rejects.toBeInstanceOf(KubeError);
  await source!.stop();
  await failed;
});

test('every request is told of, with its status, or that there was no answer', async () => {
  const requests: SentRequest[] = [];
  const write = await start();
  source!.observeRequests!((request) => requests.push(request));
  await write(starting('1', 'ipvs'));
  server.faults.failingEvents.push(500, 0);
  for (const id of [1, 2]) await write(starting('1', 'ipvs'), id).catch(() => undefined);
  const posts = requests.filter(({ method }) => method === 'POST');
  expect(posts.map(({ code }) => code)).toEqual(['201', '500', '<error>']);
  expect(new Set(requests.map(({ host }) => host))).toEqual(new Set([new URL(server.url).host]));
  expect(Math.min(...posts.map(({ durationMs }) => durationMs))).toBeGreaterThan(0);
  await expect
    .poll(() => requests.filter(({ method, code }) => method === 'GET' && code === '200').length)
    .toBeGreaterThan(0);
});
