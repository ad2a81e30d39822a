// The source against an API server that misbehaves.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OBJECT_KINDS } from '../../../src/model/source-event.ts';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';
import type { Kind } from '../../support/api-server/object-store.ts';
import { KIND_COUNT, node, SourceUnderTest, service, serviceCidr, slice, until } from './harness.ts';

let server: ApiServer;
let source: SourceUnderTest;

beforeEach(async () => {
  server = await startApiServer();
  server.put(service('web'));
  server.put(slice('web-1'));
});

afterEach(async () => {
  await source?.stop();
  await server.close();
});

type Options = ConstructorParameters<typeof SourceUnderTest>[0];

async function startSource(options: Options = {}): Promise<void> {
  source = await new SourceUnderTest({ master: server.url, ...options }).start();
}

async function startWatching(options: Options = {}): Promise<void> {
  await startSource(options);
  await until('watching', () => server.watchCount === KIND_COUNT);
}

const requestsOf = (kind: Kind, verb: 'list' | 'watch') =>
  server.requests.filter((request) => request.kind === kind && request.verb === verb);

/** What is put into the server from now on arrives. */
async function expectInStep(): Promise<void> {
  server.put(service('probe'));
  await until('in step', () => source.state.Service.has('default/probe'));
}

describe('versions that are gone', () => {
  test.each([false, true])(
    '410 on a watch leads to one list (as HTTP status: %s)',
    async (isGoneAsStatus) => {
      server.faults.isGoneAsStatus = isGoneAsStatus;
      await startWatching();
      const seen = source.state.Service.get('default/web')!.metadata.resourceVersion;
      await server.pause();
      server.put(service('api'));
      server.delete('Service', 'default', 'web');
      server.compact();
      await server.resume();
      await until('listed', () => source.names('Service').join() === 'default/api');
      const lists = requestsOf('Service', 'list');
      expect(lists).toHaveLength(2);
      // At least as new as what was seen, from the cache: no limit.
      expect(lists[1]!.query['limit']).toBeUndefined();
      expect(Number(lists[1]!.query['resourceVersion'])).toBeGreaterThanOrEqual(Number(seen));
      await expectInStep();
    },
  );

  test('a continue token that expires half-way leads to the whole list at once', async () => {
    server.faults.isPagedAtZero = true;
    for (let i = 0; i < 30; i++) server.put(service(`web-${String(i).padStart(2, '0')}`));
    source = new SourceUnderTest({ master: server.url, listPageSize: 10 });
    source.onBatch = () => server.expireContinueTokens();
    await source.start();
    await source.whenSynced();
    expect(requestsOf('Service', 'list')).toHaveLength(3);
    expect(requestsOf('Service', 'list')[1]!.query).toHaveProperty('continue');
    expect(requestsOf('Service', 'list')[2]!.query).toMatchObject({ resourceVersion: '0' });
    expect(requestsOf('Service', 'list')[2]!.query).not.toHaveProperty('limit');
    expect(source.names('Service')).toHaveLength(31);
    const starts = source.events.filter((event) => event.type === 'list-start' && event.kind === 'Service');
    expect(starts).toHaveLength(2);
  });

  test('versions that went backwards lead to the newest list there is', async () => {
    for (let i = 0; i < 10; i++) server.put(service('web'));
    await startWatching();
    await server.pause();
    server.rewind(3);
    server.put(service('restored'));
    await server.resume();
    await until('listed', () => source.state.Service.has('default/restored'));
    expect(requestsOf('Service', 'list').at(-1)!.query).toMatchObject({ limit: '500' });
    expect(requestsOf('Service', 'list').at(-1)!.query).not.toHaveProperty('resourceVersion');
    await expectInStep();
  });
});

describe('connections', () => {
  test('a dropped watch goes on from the last version, without a list', async () => {
    await startWatching();
    server.dropWatches();
    server.put(service('api'));
    await until('seen', () => source.state.Service.has('default/api'));
    expect(requestsOf('Service', 'list')).toHaveLength(1);
    expect(requestsOf('Service', 'watch').length).toBeGreaterThanOrEqual(2);
  });

  test('the last state stays in force while the server is away; loss and recovery are one line each', async () => {
    await startWatching();
    const { length } = source.events;
    await server.pause();
    await until('several attempts', () => source.sleptMs.length > 15);
    expect(source.events).toHaveLength(length);
    expect(source.names('Service')).toEqual(['default/web']);
    await server.resume();
    await until('back', () => source.lines('info').at(-1)!.message === 'API server is back');
    await expectInStep();
    const lines = source.lines('warn', 'error', 'info').filter(({ message }) => message !== 'listed');
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ['warn', 'API server cannot be reached; the last known state stays in force'],
      ['info', 'API server is back'],
    ]);
    expect(lines[0]!.fields['err']).toContain('ECONNREFUSED');
    expect(server.requests.filter(({ verb }) => verb === 'list')).toHaveLength(KIND_COUNT);
  });

  test('a server that is not there yet is waited for', async () => {
    await server.pause();
    await startSource();
    await until('several attempts', () => source.sleptMs.length > 6);
    expect(source.events).toEqual([]);
    await server.resume();
    await source.whenSynced();
    expect(source.names('Service')).toEqual(['default/web']);
  });

  test('a name that does not resolve is waited for', async () => {
    await startSource({ master: 'http://api.invalid:6443' });
    await until('several attempts', () => source.sleptMs.length > 6);
    expect(source.lines('warn')).toHaveLength(1);
    expect(source.lines('warn')[0]!.fields['err']).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });

  test('back-off grows with jitter and starts afresh after a healthy watch', async () => {
    let nowMs = 0;
    const clock = {
      now: () => nowMs,
      sleep: async (ms: number) => {
        sleptMs.push(ms);
        await new Promise((resolve) => setImmediate(resolve));
      },
    };
    const sleptMs: number[] = [];
    const failing = { matches: ({ kind }: { kind: Kind }) => kind === 'Service' };
    server.faults.failNext(7, 503, failing);
    await startWatching({ clock, random: () => 1 });
    expect(sleptMs).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    server.dropWatches();
    await until('again', () => server.watchCount === KIND_COUNT && sleptMs.length === 7 + KIND_COUNT);
    expect(sleptMs.slice(7).sort((a, b) => a - b)).toEqual([800, 800, 800, 30_000]);
    // An event of each kind proves that the source, too, knows that its watches are open.
    for (const object of [service('probe'), slice('probe'), node('node-1'), serviceCidr('probe')])
      server.put(object);
    await until('following', () =>
      OBJECT_KINDS.every((kind) => [...source.state[kind].keys()].some((name) => /probe|node-1/.test(name))),
    );
    nowMs += 30_000;
    server.dropWatches();
    await until('again', () => server.watchCount === KIND_COUNT && sleptMs.length === 7 + 2 * KIND_COUNT);
    expect(sleptMs.slice(7 + KIND_COUNT)).toEqual([800, 800, 800, 800]);
  });

  test('a stalled watch is given up and opened again from the last version, without a list', async () => {
    await startWatching({ stallTimeoutMs: 200 });
    server.faults.isStalled = true;
    server.put(service('api'));
    await until('given up', () => requestsOf('Service', 'watch').length >= 2);
    server.unstall();
    await until('seen', () => source.state.Service.has('default/api'));
    expect(requestsOf('Service', 'list')).toHaveLength(1);
  });

  test('a server that accepts and never answers is given up', async () => {
    server.faults.delayMs = 400;
    await startSource({ stallTimeoutMs: 100 });
    await until('given up', () => source.lines('warn').length > 0);
    expect(source.lines('warn')[0]!.fields['err']).toContain('was silent for too long');
    server.faults.delayMs = 0;
    await source.whenSynced();
  });

  test('a slow body is waited for as long as something arrives', async () => {
    for (let i = 0; i < 20; i++) server.put(service(`web-${i}`));
    server.faults.pace = { bytes: 256, delayMs: 20 };
    await startSource({ stallTimeoutMs: 150 });
    await source.whenSynced();
    expect(source.names('Service')).toHaveLength(21);
    expect(requestsOf('Service', 'list')).toHaveLength(1);
  });

  test.each([1, 3000])(
    'a list of %i cut short is asked for again, and nothing is lost meanwhile',
    async (count) => {
      // The larger one is compressed.
      for (let i = 1; i < count; i++) server.put(service(`web-${i}`));
      await startWatching();
      server.faults.cutListAfterBytes = 300;
      server.compact();
      await server.pause();
      server.put(service('api'));
      server.compact();
      await server.resume();
      await until('cut twice', () => requestsOf('Service', 'list').length >= 3);
      expect(source.state.Service.has('default/web')).toBe(true);
      server.faults.cutListAfterBytes = undefined;
      await until('listed', () => source.state.Service.size === count + 1);
      await expectInStep();
    },
  );
});

describe('answers', () => {
  test('429 with Retry-After is waited for as long as asked', async () => {
    server.faults.failNext(1, 429, { retryAfterSec: 7, matches: ({ kind }) => kind === 'Node' });
    await startSource();
    await source.whenSynced();
    expect(source.sleptMs).toEqual([7000]);
    expect(source.lines('warn')[0]!.fields['err']).toContain('HTTP 429');
  });

  test.each([500, 503, 404, 301])('%i on lists and watches is retried', async (status) => {
    server.faults.failNext(6, status, { matches: ({ kind }) => kind !== 'ServiceCIDR' });
    await startSource();
    await source.whenSynced();
    await until('watching', () => server.watchCount === KIND_COUNT);
    expect(source.lines('warn')).toHaveLength(1);
    expect(source.lines('warn')[0]!.message).toContain(`HTTP ${status}`);
    await expectInStep();
  });

  test('403 names verb, resource and what is missing, and is retried slowly', async () => {
    server.faults.forbidden.add('list endpointslices').add('watch services');
    await startSource({ random: () => 0 });
    await until('retried', () => requestsOf('EndpointSlice', 'list').length >= 2);
    expect(source.sleptMs.slice(0, 2)).toEqual([15_000, 15_000]);
    const messages = source.lines('error').map(({ message }) => message);
    expect(messages).toHaveLength(2);
    expect(messages).toContain(
      'not allowed to list endpointslices: a ClusterRole bound to this user must allow the verbs list and watch ' +
        'on endpointslices in API group discovery.k8s.io',
    );
    expect(messages.join()).toContain('not allowed to watch services');
    expect(source.synced).toEqual(new Set(['Service', 'Node', 'ServiceCIDR']));
    await server.pause();
    await until('lost', () => source.lines('warn').length === 1);
    await server.resume();
    await until('back', () => source.lines('info').at(-1)!.message === 'API server is back');
    expect(source.lines('error')).toHaveLength(2);
    server.faults.forbidden.clear();
    await source.whenSynced();
  });
});

describe('ServiceCIDRs, which not every server has', () => {
  const V1 = '/apis/networking.k8s.io/v1/servicecidrs';
  const BETA = '/apis/networking.k8s.io/v1beta1/servicecidrs';
  const asked = () => server.requests.filter(({ kind }) => kind === 'ServiceCIDR');
  const told = () => source.events.filter((event) => 'kind' in event && event.kind === 'ServiceCIDR');

  test('are read at their beta version where there is no other', async () => {
    server.faults.absentPaths.add(V1);
    server.put(serviceCidr('kubernetes', '10.96.0.0/16'));
    await startWatching();
    expect(source.names('ServiceCIDR')).toEqual(['/kubernetes']);
    expect(asked().map(({ verb, path }) => [verb, path])).toEqual([
      ['list', V1],
      ['list', BETA],
      ['watch', BETA],
    ]);
    expect(source.sleptMs).toEqual([]);
    expect(source.lines('warn', 'error')).toEqual([]);
  });

  test('are found at the version that a newer server has', async () => {
    server.faults.absentPaths.add(V1);
    await startWatching();
    server.faults.absentPaths.clear();
    server.faults.absentPaths.add(BETA);
    server.endWatches();
    await until('watching v1', () => asked().some(({ verb, path }) => verb === 'watch' && path === V1));
    server.put(serviceCidr('more', '10.97.0.0/16'));
    await until('in step', () => source.state.ServiceCIDR.has('/more'));
    expect(Math.max(...source.sleptMs)).toBeLessThan(60_000);
  });

  test('are none, told once, on a server without; it is asked again after a long while', async () => {
    server.faults.absentPaths.add(V1).add(BETA);
    await startSource({ random: () => 0, absentRetryMs: 20_000 });
    await source.whenSynced();
    expect(told()).toEqual([
      { type: 'list-start', kind: 'ServiceCIDR' },
      { type: 'list-end', kind: 'ServiceCIDR' },
    ]);
    await until('asked again', () => asked().length >= 6);
    expect(new Set(source.sleptMs)).toEqual(new Set([10_000]));
    expect(told()).toHaveLength(2);
    const lines = source.lines('info', 'warn', 'error').filter(({ message }) => message !== 'listed');
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ['info', 'this API server has no servicecidrs: going on without'],
    ]);
    server.faults.absentPaths.clear();
    server.put(serviceCidr('kubernetes', '10.96.0.0/16'));
    await until('found', () => source.state.ServiceCIDR.has('/kubernetes'));
  });

  test('are none, told once, where a role does not allow them; it is no outage and no error', async () => {
    server.faults.forbidden.add('list servicecidrs');
    await startSource({ random: () => 0, absentRetryMs: 20_000 });
    await source.whenSynced();
    await until('asked again', () => asked().length >= 3);
    expect(told()).toHaveLength(2);
    expect(source.lines('warn', 'error').map(({ level, message }) => [level, message])).toEqual([
      [
        'warn',
        'not allowed to list servicecidrs: a ClusterRole bound to this user must allow the verbs list and watch ' +
          'on servicecidrs in API group networking.k8s.io; going on without',
      ],
    ]);
    await expectInStep();
  });

  test('stay as they were when they can no longer be read', async () => {
    server.put(serviceCidr('kubernetes', '10.96.0.0/16'));
    await startWatching({ random: () => 0, absentRetryMs: 20_000 });
    server.faults.forbidden.add('list servicecidrs').add('watch servicecidrs');
    server.endWatches();
    await until('asked again', () => source.lines('warn').length >= 2);
    expect(source.names('ServiceCIDR')).toEqual(['/kubernetes']);
    server.faults.forbidden.clear();
    server.delete('ServiceCIDR', '', 'kubernetes');
    await until('in step', () => source.state.ServiceCIDR.size === 0);
  });

  test('are not listed in a storm where lists work and watches do not', async () => {
    server.faults.failNext(12, 404, {
      matches: ({ kind, verb }) => kind === 'ServiceCIDR' && verb === 'watch',
    });
    await startWatching();
    expect(source.sleptMs).toHaveLength(12);
    expect(Math.min(...source.sleptMs)).toBeGreaterThanOrEqual(400);
    expect(source.sleptMs.at(-1)).toBeGreaterThanOrEqual(15_000);
  });

  test('are left alone for minutes unless told otherwise', async () => {
    server.faults.absentPaths.add(V1).add(BETA);
    await startSource();
    await until('asked', () => source.sleptMs.length > 0);
    expect(source.sleptMs[0]).toBeGreaterThanOrEqual(300_000);
    expect(source.sleptMs[0]).toBeLessThanOrEqual(600_000);
  });
});

describe('bytes', () => {
  test('an event may be split anywhere, also inside a character', async () => {
    server.faults.pace = { bytes: 1, delayMs: 0 };
    await startWatching();
    const object = service('web');
    object.metadata['annotations'] = { note: 'größer 日本語 🚀' };
    const { metadata } = server.put(object);
    await until(
      'seen',
      () => source.state.Service.get('default/web')?.metadata.resourceVersion === metadata.resourceVersion,
    );
    expect(source.state.Service.get('default/web')!.metadata['annotations']).toEqual({
      note: 'größer 日本語 🚀',
    });
  });

  test('an object of 10 MB arrives', async () => {
    await startWatching();
    const object = service('huge');
    object.metadata['annotations'] = { note: 'x'.repeat(10_000_000) };
    server.put(object);
    await until('seen', () => source.state.Service.has('default/huge'));
    expect(
      (source.state.Service.get('default/huge')!.metadata['annotations'] as { note: string }).note,
    ).toHaveLength(1e7);
  });

  test.each([
    ['broken JSON', '{"type":"ADDED","object":{"metadata"\n'],
    ['an event without metadata', '{"type":"MODIFIED","object":{"spec":{}}}\n'],
    [
      'an unknown event',
      '{"type":"CHANGED","object":{"metadata":{"name":"a","namespace":"b","resourceVersion":"1"}}}\n',
    ],
    ['a page of HTML', '<html>502 Bad Gateway</html>\n'],
  ])('%s is reported and leads to a list that sets things right', async (_, bytes) => {
    await startWatching();
    const added = JSON.stringify({
      type: 'ADDED',
      object: { metadata: { namespace: 'default', name: 'ghost', resourceVersion: '3' } },
    });
    server.sendRaw('Service', `${added}\n${bytes}`);
    await until('solved', () => source.events.some(({ type }) => type === 'problem-solved'));
    const [problem] = source.events.filter((event) => event.type === 'problem');
    expect(problem).toMatchObject({ subject: 'API server: services', code: 'UNREADABLE' });
    expect(source.events).toContainEqual({ type: 'problem-solved', subject: 'API server: services' });
    expect(source.lines('warn')[0]!.message).toContain('unreadable');
    // What came before it in the same chunk was applied; the list knows better.
    expect(source.events).toContainEqual(
      expect.objectContaining({
        type: 'upsert',
        object: expect.objectContaining({ metadata: expect.objectContaining({ name: 'ghost' }) }),
      }),
    );
    expect(source.names('Service')).toEqual(['default/web']);
    expect(requestsOf('Service', 'list')).toHaveLength(2);
    expect(requestsOf('EndpointSlice', 'list')).toHaveLength(1);
    await expectInStep();
  });

  test('an ERROR event other than 410 leads to a list', async () => {
    await startWatching();
    const status = { kind: 'Status', code: 500, message: 'etcdserver: no leader' };
    server.sendRaw('Service', `${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    await until('listed', () => requestsOf('Service', 'list').length === 2);
    expect(source.lines('warn')[0]!.fields['err']).toContain('etcdserver: no leader');
    await expectInStep();
  });

  test.each<[string, (body: string) => string]>([
    ['broken', (body) => body.replace('"spec":', '"spec"')],
    ['truncated', (body) => body.slice(0, -20)],
    ['no list', () => '[]'],
  ])('a list that is %s is reported and asked for again, until it is right', async (_, mangle) => {
    server.faults.mangleList = (body) => (body.includes('ServiceList') ? mangle(body) : body);
    await startSource();
    await until('reported', () => requestsOf('Service', 'list').length >= 3);
    expect(source.synced.has('Service')).toBe(false);
    expect(source.events).toContainEqual(expect.objectContaining({ type: 'problem', code: 'UNREADABLE' }));
    expect(source.lines('warn')).toHaveLength(1);
    server.faults.mangleList = undefined;
    await source.whenSynced();
    expect(source.events).toContainEqual({ type: 'problem-solved', subject: 'API server: services' });
  });
});
