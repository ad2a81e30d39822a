// However badly a server behaves, what we ask of it stays bounded.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { OBJECT_KINDS } from '../../../src/model/source-event.ts';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';
import { KIND_COUNT, SourceUnderTest, service, until } from './harness.ts';

let server: ApiServer;
let source: SourceUnderTest;

beforeEach(async () => {
  server = await startApiServer();
  source = new SourceUnderTest({ master: server.url });
});

afterEach(async () => {
  await source.stop();
  await server.close();
});

test('a flapping server does not make a storm of lists', { timeout: 20_000 }, async () => {
  const endMs = performance.now() + 3000;
  await source.start();
  await until('watching', () => server.watchCount === KIND_COUNT);
  while (performance.now() < endMs) {
    server.put(service('api'));
    server.compact();
    server.sendRaw('EndpointSlice', 'garbage\n');
    server.dropWatches();
    await server.pause();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.resume();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  // About 50 flaps. Back-offs pass 50 times faster than asked, so this stood for some 160 s; delays of at least 0.4 s,
  // doubling up to at least 15 s, leave room for 15 attempts after the first.
  const count = (kind: string, verb: string) =>
    server.requests.filter((request) => request.kind === kind && request.verb === verb).length;
  for (const kind of OBJECT_KINDS) {
    expect(count(kind, 'list'), `lists of ${kind}`).toBeLessThanOrEqual(16);
    expect(count(kind, 'watch'), `watches of ${kind}`).toBeLessThanOrEqual(16);
  }
  await until('watching', () => server.watchCount === KIND_COUNT);
  server.put(service('probe'));
  await until('in step', () => source.state.Service.has('default/probe'));
});

test.each([false, true])(
  '410 on every watch does not make a storm of lists (as HTTP status: %s)',
  {
    timeout: 20_000,
  },
  async (isGoneAsStatus) => {
    server.faults.isGoneAsStatus = isGoneAsStatus;
    server.faults.isEveryWatchGone = true;
    await source.start();
    const endMs = performance.now() + 2000;
    let changes = 0;
    while (performance.now() < endMs) {
      server.put(service('api', { clusterIP: `10.96.1.${++changes % 250}` }));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // 2 s at 50 times the speed stand for 100 s: room for 11 attempts.
    const count = (kind: string, verb: string) =>
      server.requests.filter((request) => request.kind === kind && request.verb === verb).length;
    for (const kind of OBJECT_KINDS) {
      expect(count(kind, 'list'), `lists of ${kind}`).toBeGreaterThan(2);
      expect(count(kind, 'list'), `lists of ${kind}`).toBeLessThanOrEqual(12);
      expect(count(kind, 'watch'), `watches of ${kind}`).toBeLessThanOrEqual(12);
    }
    // Each of these lists was a look at the present.
    expect(source.state.Service.has('default/api')).toBe(true);
    server.faults.isEveryWatchGone = false;
    await until('watching', () => server.watchCount === KIND_COUNT);
    server.put(service('probe'));
    await until('in step', () => source.state.Service.has('default/probe'));
  },
);
