// Single watch events, well-formed and not (meta/v1 WatchEvent).

import { describe, expect, test } from 'vitest';
import { MalformedError, StatusError } from '../../../src/source/kubernetes/api-errors.ts';
import { resourcesOf } from '../../../src/source/kubernetes/resources.ts';
import { decodeWatchEvent } from '../../../src/source/kubernetes/watch-event.ts';

const [services, , nodes] = resourcesOf('node-1') as [never, never, never];
const decode = (value: unknown) => decodeWatchEvent(Buffer.from(JSON.stringify(value)), services);
const metadata = { namespace: 'default', name: 'web', resourceVersion: '5' };

describe('decodeWatchEvent', () => {
  test.each(['ADDED', 'MODIFIED'])('%s is an upsert of the object as it is', (type) => {
    const object = { metadata, spec: { anything: ['goes'] } };
    expect(decode({ type, object })).toEqual({
      event: { type: 'upsert', kind: 'Service', object, origin: 'API server' },
      resourceVersion: '5',
    });
  });

  test('DELETED is a delete', () => {
    expect(decode({ type: 'DELETED', object: { metadata } })).toEqual({
      event: { type: 'delete', kind: 'Service', namespace: 'default', name: 'web' },
      resourceVersion: '5',
    });
  });

  test('an object of a kind without namespaces has namespace ""', () => {
    const object = { metadata: { name: 'node-1', resourceVersion: '5' } };
    const line = Buffer.from(JSON.stringify({ type: 'DELETED', object }));
    expect(decodeWatchEvent(line, nodes).event).toEqual({
      type: 'delete',
      kind: 'Node',
      namespace: '',
      name: 'node-1',
    });
  });

  test('BOOKMARK moves the version and says nothing', () => {
    expect(decode({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } })).toEqual({
      event: undefined,
      resourceVersion: '9',
    });
  });

  test('ERROR is the Status it carries', () => {
    const status = {
      kind: 'Status',
      code: 410,
      reason: 'Expired',
      message: 'too old resource version: 1 (2)',
    };
    const error = (() => {
      try {
        return decode({ type: 'ERROR', object: status });
      } catch (thrown) {
        return thrown as StatusError;
      }
    })();
    expect(error).toBeInstanceOf(StatusError);
    expect(error).toMatchObject({ status: 410, isExpired: true, code: 'KUBE' });
  });

  test.each<[string, unknown]>([
    ['not an object', [1]],
    ['a string', 'ADDED'],
    ['null', null],
    ['no object', { type: 'ADDED' }],
    ['an object that is a list', { type: 'ADDED', object: [] }],
    ['no metadata', { type: 'ADDED', object: { spec: {} } }],
    ['no version', { type: 'MODIFIED', object: { metadata: { namespace: 'default', name: 'web' } } }],
    ['an empty version', { type: 'BOOKMARK', object: { metadata: { resourceVersion: '' } } }],
    ['no name', { type: 'DELETED', object: { metadata: { namespace: 'default', resourceVersion: '5' } } }],
    ['a name that is a number', { type: 'DELETED', object: { metadata: { ...metadata, name: 5 } } }],
    ['no namespace', { type: 'DELETED', object: { metadata: { name: 'web', resourceVersion: '5' } } }],
    ['an unknown type', { type: 'CHANGED', object: { metadata } }],
    ['no type', { object: { metadata } }],
  ])('refuses %s', (_, value) => {
    expect(() => decode(value)).toThrow(MalformedError);
  });

  test.each([
    ['broken JSON', Buffer.from('{"type":"ADDED","object":{"metadata"')],
    ['broken UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22])],
  ])('refuses %s', (_, line) => {
    expect(() => decodeWatchEvent(line, services)).toThrow(MalformedError);
  });
});
