// The source against a well-behaved API server: what is asked for, and what is said.

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';
import { KIND_COUNT, node, SourceUnderTest, service, slice, until } from './harness.ts';

let server: ApiServer;
let source: SourceUnderTest;

beforeEach(async () => {
  server = await startApiServer();
});

afterEach(async () => {
  await source?.stop();
  await server.close();
});

async function startSource(
  options: ConstructorParameters<typeof SourceUnderTest>[0] = {},
): Promise<SourceUnderTest> {
  source = await new SourceUnderTest({ master: server.url, ...options }).start();
  return source;
}

const requestsOf = (kind: string, verb: string) =>
  server.requests.filter((request) => request.kind === kind && request.verb === verb);

describe('list', () => {
  test("asks for kube-proxy's selection, from the server's cache", async () => {
    await startSource();
    await source.whenSynced();
    const query = (kind: string) => requestsOf(kind, 'list')[0]!.query;
    const page = { limit: '500', resourceVersion: '0' };
    expect(query('Service')).toEqual({
      labelSelector: '!service.kubernetes.io/service-proxy-name',
      fieldSelector: 'spec.clusterIP!=None',
      ...page,
    });
    expect(query('EndpointSlice')).toEqual({ labelSelector: '!service.kubernetes.io/headless', ...page });
    expect(query('Node')).toEqual({ fieldSelector: 'metadata.name=node-1', ...page });
    expect(query('ServiceCIDR')).toEqual(page);
    expect(requestsOf('ServiceCIDR', 'list')[0]!.path).toBe('/apis/networking.k8s.io/v1/servicecidrs');
    expect(server.requests[0]!.headers['user-agent']).toBe('kproxy-ts/1.2.3');
  });

  test('delivers the selected objects as they are', async () => {
    const web = server.put(service('web'));
    server.put(service('headless', { clusterIP: 'None' }));
    server.put(service('foreign', { labels: { 'service.kubernetes.io/service-proxy-name': '' } }));
    server.put(slice('web-1'));
    server.put(slice('headless-1', { 'service.kubernetes.io/headless': '' }));
    server.put(node('node-1'));
    server.put(node('node-2'));
    await startSource();
    await source.whenSynced();
    expect(source.names('Service')).toEqual(['default/web']);
    expect(source.state.Service.get('default/web')).toEqual(web);
    expect(source.names('EndpointSlice')).toEqual(['default/web-1']);
    expect(source.names('Node')).toEqual(['/node-1']);
  });

  test('reads pages, one batch each', async () => {
    server.faults.isPagedAtZero = true;
    for (let i = 0; i < 25; i++) server.put(service(`web-${i}`));
    await startSource({ listPageSize: 10 });
    await source.whenSynced();
    expect(source.names('Service')).toHaveLength(25);
    const lists = requestsOf('Service', 'list');
    expect(lists.map(({ query }) => [query['limit'], query['resourceVersion'], 'continue' in query])).toEqual(
      [
        ['10', '0', false],
        ['10', undefined, true],
        ['10', undefined, true],
      ],
    );
    const sizes = source.batches
      .map((batch) => batch.filter((event) => event.type === 'upsert' && event.kind === 'Service').length)
      .filter((size) => size > 0);
    expect(sizes).toEqual([10, 10, 5]);
  });

  test('takes a whole collection in one answer, compressed, in batches of a page', async () => {
    for (let i = 0; i < 2000; i++) server.put(service(`web-${i}`));
    await startSource();
    await source.whenSynced();
    expect(source.names('Service')).toHaveLength(2000);
    expect(requestsOf('Service', 'list')).toHaveLength(1);
    expect(server.requests[0]!.headers['accept-encoding']).toBe('gzip');
    expect(Math.max(...source.batches.map((batch) => batch.length))).toBeLessThanOrEqual(501);
  });

  test('says list-start and list-end also when there is nothing', async () => {
    await startSource();
    await source.whenSynced();
    expect(source.events).toHaveLength(2 * KIND_COUNT);
    expect(source.events).toContainEqual({ type: 'list-start', kind: 'Service' });
    expect(source.events).toContainEqual({ type: 'list-end', kind: 'Service' });
  });
});

describe('watch', () => {
  async function startWatching(
    options: ConstructorParameters<typeof SourceUnderTest>[0] = {},
  ): Promise<void> {
    await startSource(options);
    await until('watching', () => server.watchCount === KIND_COUNT);
  }

  test('goes on from the list with bookmarks and a random time limit', async () => {
    server.put(service('web'));
    const version = server.resourceVersion;
    await startWatching({ random: () => 0.5, watchTimeoutSec: 300 });
    expect(requestsOf('Service', 'watch')[0]!.query).toEqual({
      labelSelector: '!service.kubernetes.io/service-proxy-name',
      fieldSelector: 'spec.clusterIP!=None',
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: version,
      timeoutSeconds: '450',
    });
  });

  test('follows additions, changes, deletions and what starts or stops matching', async () => {
    server.put(service('web'));
    await startWatching();
    server.put(service('api'));
    const changed = server.put(service('web', { clusterIP: '10.96.0.9' }));
    await until(
      'changed',
      () =>
        source.state.Service.get('default/web')?.metadata.resourceVersion ===
        changed.metadata.resourceVersion,
    );
    expect(source.names('Service')).toEqual(['default/api', 'default/web']);
    server.put(service('web', { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } }));
    await until('unmatched', () => !source.state.Service.has('default/web'));
    server.put(service('web'));
    server.delete('Service', 'default', 'api');
    await until('back', () => source.names('Service').join() === 'default/web');
    server.put(slice('web-1'));
    server.put(node('node-2'));
    server.put(node('node-1'));
    await until('others', () => source.state.EndpointSlice.size === 1 && source.state.Node.size === 1);
    expect(source.names('Node')).toEqual(['/node-1']);
    expect(server.requests.filter(({ verb }) => verb === 'list')).toHaveLength(KIND_COUNT);
  });

  test('delivers what arrives together as one batch, in order, also a deletion and re-creation', async () => {
    server.put(service('web'));
    await startWatching();
    const events = ['DELETED', 'ADDED', 'MODIFIED'].map((type, i) =>
      JSON.stringify({
        type,
        object: { metadata: { namespace: 'default', name: 'web', resourceVersion: `10${i}` } },
      }),
    );
    server.sendRaw('Service', `${events.join('\n')}\n`);
    await until(
      'delivered',
      () => source.state.Service.get('default/web')?.metadata.resourceVersion === '102',
    );
    expect(source.batches.at(-1)!.map(({ type }) => type)).toEqual(['delete', 'upsert', 'upsert']);
  });

  test('watches again from the last version seen after a clean end, without a list', async () => {
    await startWatching();
    const { resourceVersion } = server.put(service('web')).metadata;
    await until('seen', () => source.state.Service.size === 1);
    server.endWatches();
    await until('watching again', () => requestsOf('Service', 'watch').length === 2);
    expect(requestsOf('Service', 'watch')[1]!.query['resourceVersion']).toBe(resourceVersion);
    await until('all again', () => server.watchCount === KIND_COUNT);
    server.put(service('api'));
    await until('seen', () => source.state.Service.size === 2);
    expect(server.requests.filter(({ verb }) => verb === 'list')).toHaveLength(KIND_COUNT);
  });

  test('a bookmark moves the version to watch from past a compaction', async () => {
    await startWatching();
    for (let i = 0; i < 3; i++) server.put(node(`other-${i}`));
    server.bookmark();
    server.compact();
    server.endWatches();
    await until(
      'watching again',
      () => server.watchCount === KIND_COUNT && requestsOf('Service', 'watch').length >= 2,
    );
    expect(requestsOf('Service', 'watch').at(-1)!.query['resourceVersion']).toBe(server.resourceVersion);
    expect(requestsOf('Service', 'list')).toHaveLength(1);
  });

  test.each([false, true])(
    'ends after its time limit, without a list (forgotten by the server: %s)',
    async (isForgotten) => {
      server.faults.isTimeLimitIgnored = isForgotten;
      await startWatching({ watchTimeoutSec: 2, random: () => 0 });
      await until('opened again', () => requestsOf('Node', 'watch').length >= 2);
      expect(requestsOf('Node', 'watch')[0]!.query['timeoutSeconds']).toBe('2');
      const [first, second] = requestsOf('Node', 'watch');
      expect(second!.atMs - first!.atMs).toBeGreaterThan(isForgotten ? 2190 : 1990);
      expect(source.sleptMs).toEqual([]);
      expect(requestsOf('Node', 'list')).toHaveLength(1);
    },
  );

  test('TCP probes the peer while the stream is quiet', async () => {
    await startWatching();
    // Columns of proc(5) net/tcp: local address, remote address, state, queues, timer and when it fires (in 10 ms).
    const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, '0');
    const clientSide = new RegExp(`^ *\\d+: \\w+:\\w+ 0100007F:${port} 01 \\S+ (\\w+):(\\w+)`, 'gm');
    const timers = [...readFileSync('/proc/net/tcp', 'utf8').matchAll(clientSide)];
    expect(timers.map(([, timer]) => timer)).toEqual(Array(KIND_COUNT).fill('02')); // keep-alive
    for (const [, , when] of timers) {
      expect(Number.parseInt(when!, 16)).toBeGreaterThan(500);
      expect(Number.parseInt(when!, 16)).toBeLessThanOrEqual(1510);
    }
  });
});

test('nothing is said after stop(), and stop() may be called twice', async () => {
  await startSource();
  await until('watching', () => server.watchCount === KIND_COUNT);
  await source.stop();
  await source.stop();
  const { length } = source.events;
  server.put(service('late'));
  await until('disconnected', () => server.watchCount === 0);
  expect(source.events).toHaveLength(length);
});

test('stop() does not wait for a server that does not answer', async () => {
  server.faults.delayMs = 60_000;
  await startSource();
  await until('asked', () => server.requests.length === KIND_COUNT);
  const startedAtMs = performance.now();
  await source.stop();
  expect(performance.now() - startedAtMs).toBeLessThan(1000);
});

test('stop() between the list and the watch ends it', async () => {
  source = new SourceUnderTest({ master: server.url });
  const stopped = new Promise<void>((resolve) => {
    source.onBatch = () => {
      if (source.synced.size === KIND_COUNT) source.stop().then(resolve, () => undefined);
    };
  });
  await source.start();
  await stopped;
  await until('disconnected', () => server.watchCount === 0);
});
