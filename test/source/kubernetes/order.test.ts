// Events that come twice, in the wrong order, or not at all.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';
import type { ApiObject } from '../../support/api-server/object-store.ts';
import { KIND_COUNT, SourceUnderTest, service, until } from './harness.ts';

let server: ApiServer;
let source: SourceUnderTest;

beforeEach(async () => {
  server = await startApiServer();
  server.put(service('web'));
  source = await new SourceUnderTest({ master: server.url }).start();
  await until('watching', () => server.watchCount === KIND_COUNT);
});

afterEach(async () => {
  await source.stop();
  await server.close();
});

const lists = () => server.requests.filter(({ kind, verb }) => kind === 'Service' && verb === 'list').length;

const send = (type: string, object: ApiObject): void =>
  server.sendRaw('Service', `${JSON.stringify({ type, object })}\n`);

const clusterIpOf = (name: string) =>
  (source.state.Service.get(`default/${name}`)?.['spec'] as { clusterIP: string } | undefined)?.clusterIP;

async function expectInStep(): Promise<void> {
  server.put(service('probe'));
  await until('in step', () => source.state.Service.has('default/probe'));
}

describe('twice', () => {
  test('an addition and a deletion are what they are once, without a list', async () => {
    const added = server.put(service('api'));
    send('ADDED', added);
    send('ADDED', added);
    await until('added', () => source.names('Service').length === 2);
    server.delete('Service', 'default', 'api');
    const gone = { ...added, metadata: { ...added.metadata, resourceVersion: server.resourceVersion } };
    send('DELETED', gone);
    send('DELETED', gone);
    await expectInStep();
    expect(source.names('Service')).toEqual(['default/probe', 'default/web']);
    expect(lists()).toBe(1);
  });
});

describe('in the wrong order', () => {
  test('an older state does not undo a newer one', async () => {
    const old = server.put(service('web', { clusterIP: '10.96.0.2' }));
    server.put(service('web', { clusterIP: '10.96.0.3' }));
    await until('newest', () => clusterIpOf('web') === '10.96.0.3');
    send('MODIFIED', old);
    await until('listed again', () => lists() === 2);
    await expectInStep();
    expect(clusterIpOf('web')).toBe('10.96.0.3');
    expect(source.lines('warn').map(({ message }) => message)).toEqual([
      'the API server sent events out of order; listing again',
    ]);
  });

  test('an old deletion does not take away what was made anew', async () => {
    const first = server.put(service('api'));
    server.delete('Service', 'default', 'api');
    server.put(service('api', { clusterIP: '10.96.0.7' }));
    await until('made anew', () => clusterIpOf('api') === '10.96.0.7');
    send('DELETED', first);
    await until('listed again', () => lists() === 2);
    await expectInStep();
    expect(clusterIpOf('api')).toBe('10.96.0.7');
  });

  test('again and again is asked for at a bounded pace, and what is right in between counts', async () => {
    const old = server.put(service('web', { clusterIP: '10.96.0.2' }));
    server.put(service('web', { clusterIP: '10.96.0.3' }));
    for (let i = 0; i < 30; i++) {
      server.put(service('api', { clusterIP: `10.97.0.${i}` }));
      send('MODIFIED', old);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // 600 ms at 50 times the speed stand for 30 s: delays of 0.4 s and more, doubling, leave room for seven.
    expect(lists()).toBeLessThanOrEqual(8);
    await until('in the end', () => clusterIpOf('api') === '10.97.0.29');
    await expectInStep();
    expect(clusterIpOf('web')).toBe('10.96.0.3');
  });

  test('versions of which nothing is known are taken as they come', async () => {
    const opaque = (name: string, resourceVersion: string): ApiObject => {
      const object = service(name);
      return { ...object, metadata: { ...object.metadata, resourceVersion } };
    };
    send('ADDED', opaque('a', 'x9'));
    send('ADDED', opaque('b', 'x1'));
    await until('both', () => source.names('Service').length === 3);
    expect(lists()).toBe(1);
  });

  test('longer versions are newer', async () => {
    const at = (name: string, resourceVersion: string): ApiObject => {
      const object = service(name);
      return { ...object, metadata: { ...object.metadata, resourceVersion } };
    };
    send('ADDED', at('a', '999999999999999999999'));
    send('ADDED', at('b', '1000000000000000000000'));
    await until('both', () => source.names('Service').length === 3);
    expect(lists()).toBe(1);
    send('ADDED', at('c', '999999999999999999999'));
    await until('listed again', () => lists() > 1);
    expect(source.names('Service')).not.toContain('default/c');
  });
});

describe('not at all, while there was no watch', () => {
  const away = async (change: () => void) => {
    await server.pause();
    change();
    await server.resume();
    await expectInStep();
  };

  test('what was deleted, made anew, or only there for a moment is known from the history', async () => {
    server.put(service('api'));
    await until('there', () => source.state.Service.has('default/api'));
    await away(() => {
      server.delete('Service', 'default', 'api');
      server.delete('Service', 'default', 'web');
      server.put(service('web', { clusterIP: '10.96.0.8' }));
      server.put(service('moment'));
      server.delete('Service', 'default', 'moment');
    });
    expect(source.names('Service')).toEqual(['default/probe', 'default/web']);
    expect(clusterIpOf('web')).toBe('10.96.0.8');
    expect(lists()).toBe(1);
  });

  test('without a history it is known from a list', async () => {
    server.put(service('api'));
    await until('there', () => source.state.Service.has('default/api'));
    await away(() => {
      server.delete('Service', 'default', 'api');
      server.put(service('web', { clusterIP: '10.96.0.8' }));
      server.compact();
    });
    expect(source.names('Service')).toEqual(['default/probe', 'default/web']);
    expect(clusterIpOf('web')).toBe('10.96.0.8');
    expect(lists()).toBe(2);
  });
});

test('a list with an object of 10 MB is one, too, and the others in it arrive', async () => {
  await source.stop();
  const huge = service('huge');
  huge.metadata['annotations'] = { note: '"\\{['.repeat(2_500_000) };
  server.put(huge);
  server.put(service('zebra'));
  source = await new SourceUnderTest({ master: server.url }).start();
  await source.whenSynced();
  expect(source.names('Service')).toEqual(['default/huge', 'default/web', 'default/zebra']);
  const { note } = source.state.Service.get('default/huge')!.metadata['annotations'] as { note: string };
  expect(note).toHaveLength(10_000_000);
});
