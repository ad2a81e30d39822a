// What manifests say that is unreadable, said twice or not enough: what is told of it, and what stays in force.

import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BROKEN, endpoints, FolderFixture, service, slice, until } from './folder-fixture.ts';

let manifests: FolderFixture;

beforeEach(async () => {
  manifests = await FolderFixture.make();
});

afterEach(() => manifests.remove());

describe('what cannot be read', () => {
  it('is told with file, document and line, and the others of the file are taken', async () => {
    await manifests.put('web.yaml', service('a'), BROKEN, service('c'));
    const { ids, problems } = await manifests.start();
    expect(ids).toEqual(['Service default/a', 'Service default/c']);
    expect(problems).toEqual(
      new Map([
        ['web.yaml document 2', expect.stringMatching(/^UNREADABLE: line 7: unexpected end of the stream/)],
      ]),
    );
  });

  it('keeps the last good state of the object that was there', async () => {
    await manifests.put('web.yaml', service('a'), service('b'), service('c'));
    const recorder = await manifests.start();
    recorder.events.length = 0;
    await manifests.put('web.yaml', service('a'), BROKEN, service('c'));
    await until(() => expect(recorder.problems.size).toBe(1));
    await manifests.put('web.yaml', service('a'), `${BROKEN}# still\n`, service('c'));
    await manifests.put('web.yaml', service('first'), service('a'), `${BROKEN}# still\n`, service('c'));
    await until(() => expect(recorder.ids).toContain('Service default/first'));
    expect(recorder.ids).toContain('Service default/b');
    await manifests.put('web.yaml', service('a'), service('b', '10.96.0.9'), service('c'));
    await until(() => expect(recorder.problems.size).toBe(0));
    expect(recorder.told.filter((one) => !one.startsWith('problem'))).toEqual([
      'upsert Service default/first',
      'upsert Service default/b',
      'delete Service default/first',
    ]);
  });

  it('does not keep what was taken out of another part of the file', async () => {
    await manifests.put('web.yaml', service('a'), BROKEN, service('c'), service('d'));
    const recorder = await manifests.start();
    await manifests.put('web.yaml', service('a'), BROKEN, service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a', 'Service default/c']));
  });

  it('keeps nothing once the broken document is taken out', async () => {
    await manifests.put('web.yaml', service('a'), service('b'));
    const recorder = await manifests.start();
    await manifests.put('web.yaml', service('a'), BROKEN);
    await until(() => expect(recorder.problems.size).toBe(1));
    await manifests.put('web.yaml', service('a'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a']));
    expect(recorder.problems.size).toBe(0);
  });

  it('is a JSON file half written: all of it stays', async () => {
    const text = JSON.stringify({
      kind: 'List',
      items: ['a', 'b'].map((name) => ({ kind: 'Node', metadata: { name } })),
    });
    await manifests.put('all.json', text);
    const recorder = await manifests.start();
    await manifests.put('all.json', text.slice(0, -10));
    await until(() => expect(recorder.problems.get('all.json document 1')).toMatch(/^UNREADABLE: line 1: /));
    expect(recorder.ids).toEqual(['Node /a', 'Node /b']);
    await manifests.put('all.json', text);
    await until(() => expect(recorder.problems.size).toBe(0));
  });

  it('is a document without a name: it keeps what it stood for', async () => {
    await manifests.put('web.yaml', service('a'));
    const recorder = await manifests.start();
    await manifests.put('web.yaml', service('a').replace('name: a', 'nam: a'));
    await until(() =>
      expect([...recorder.problems.values()][0]).toMatch(/^INVALID_FIELD: metadata\.name: must be/),
    );
    expect(recorder.ids).toEqual(['Service default/a']);
  });

  it('is a document of too many levels', async () => {
    await manifests.put(
      'deep.json',
      `{"kind":"Service","metadata":{"name":"a"},"x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    );
    await manifests.put('good.yaml', service('good'));
    const { ids, problems } = await manifests.start();
    expect(ids).toEqual(['Service default/good']);
    expect(problems.get('deep.json document 1')).toMatch(/^UNREADABLE: line 1: /);
  });

  it('is told in few words, however much it is', async () => {
    await manifests.put('bad.json', JSON.stringify({ kind: 'List', items: Array(1000).fill(5) }));
    const { problems } = await manifests.start();
    expect(problems.get('bad.json document 1')).toMatch(
      /items\[4\]: must be an object, got 5; and 995 more$/,
    );
  });
});

describe('an object stated twice', () => {
  it('is taken from the last document in the order of file names; the others are told', async () => {
    await manifests.put('a.yaml', service('web', '10.96.0.1'), service('web', '10.96.0.2'));
    await manifests.put('b.yaml', service('web', '10.96.0.3'));
    const recorder = await manifests.start();
    expect(recorder.objects.get('Service default/web')).toMatchObject({ spec: { clusterIP: '10.96.0.3' } });
    expect(recorder.problems).toEqual(
      new Map([
        ['a.yaml document 1', 'DUPLICATE: Service default/web is also in a.yaml document 2, which wins'],
        ['a.yaml document 2', 'DUPLICATE: Service default/web is also in b.yaml document 1, which wins'],
      ]),
    );
  });

  it('is told anew from the other document when the winner goes', async () => {
    await manifests.put('a.yaml', service('web', '10.96.0.1'), service('other'));
    await manifests.put('b.yaml', service('web', '10.96.0.2'));
    const recorder = await manifests.start();
    recorder.events.length = 0;
    await unlink(join(manifests.path, 'b.yaml'));
    await until(() => {
      expect(recorder.objects.get('Service default/web')).toMatchObject({ spec: { clusterIP: '10.96.0.1' } });
    });
    expect(recorder.told.toSorted()).toEqual([
      'problem-solved a.yaml document 1',
      'upsert Service default/web',
    ]);
  });
});

describe('a Service without cluster IP', () => {
  it('is told as such', async () => {
    await manifests.put('web.yaml', service('web', '""'));
    const recorder = await manifests.start();
    expect(recorder.problems.get('web.yaml document 1')).toMatch(
      /^NO_CLUSTER_IP: Service default\/web is left alone/,
    );
    await manifests.put('web.yaml', service('web'));
    await until(() => expect(recorder.problems.size).toBe(0));
  });
});

describe('Endpoints', () => {
  it('are slices, until a slice of the Service is stated, and again when it is gone', async () => {
    await manifests.put('endpoints.yaml', endpoints('web'), endpoints('db'));
    const recorder = await manifests.start();
    const mirrored = ['EndpointSlice default/db-mirrored-0', 'EndpointSlice default/web-mirrored-0'];
    expect(recorder.ids).toEqual(mirrored);
    await manifests.put('slice.yaml', slice('by-hand', 'web'));
    await until(() => expect(recorder.ids).toEqual(['EndpointSlice default/by-hand', mirrored[0]]));
    await unlink(join(manifests.path, 'slice.yaml'));
    await until(() => expect(recorder.ids).toEqual(mirrored));
  });
});
