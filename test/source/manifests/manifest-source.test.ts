// Real folders, real inotify. What must not happen is shown by what happens next: changes are told in order.

import { mkdir, mkdtemp, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../../src/errors.ts';
import {
  createManifestSource,
  type ManifestSourceOptions,
} from '../../../src/source/manifests/manifest-source.ts';
import type { Source } from '../../../src/source/source.ts';
import { Recorder } from './recorder.ts';

let root: string;
let folder: string;
let sources: Source[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'manifests-'));
  folder = join(root, 'manifests');
  await mkdir(folder);
  sources = [];
});

afterEach(async () => {
  await Promise.all(sources.map((source) => source.stop()));
  await rm(root, { recursive: true, force: true });
});

async function start(options: Partial<ManifestSourceOptions> = {}): Promise<Recorder> {
  const recorder = new Recorder();
  const source = createManifestSource({ path: folder, debounceMs: 5, pollMs: 20, ...options });
  sources.push(source);
  await source.start(recorder.sink);
  await until(() => expect(recorder.synced).toEqual(new Set(['Service', 'EndpointSlice', 'Node'])));
  return recorder;
}

function until(assertion: () => void): Promise<void> {
  return vi.waitFor(assertion, { timeout: 10_000, interval: 5 });
}

function put(name: string, ...documents: string[]): Promise<void> {
  return writeFile(join(folder, name), documents.join('---\n'));
}

function service(name: string, clusterIp = '10.96.0.1'): string {
  return `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: ${clusterIp}, ports: [{port: 80}]}\n`;
}

function slice(name: string, ofService: string): string {
  const labels = `{kubernetes.io/service-name: ${ofService}}`;
  return `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: ${labels}}\naddressType: IPv4\n`;
}

function endpoints(name: string): string {
  return `apiVersion: v1\nkind: Endpoints\nmetadata: {name: ${name}}\nsubsets: [{addresses: [{ip: 10.1.0.1}], ports: [{port: 80}]}]\n`;
}

const BROKEN = 'kind: Service\nmetadata: {name: [\n';

describe('the first reading', () => {
  it('lists the three kinds, with what the files hold', async () => {
    await put('b.yaml', service('web'), '# nothing here\n', slice('web-1', 'web'));
    await put('a.json', JSON.stringify({ kind: 'List', items: [{ kind: 'Node', metadata: { name: 'n' } }] }));
    const { told } = await start();
    expect(told).toEqual([
      'list-start Service',
      'list-start EndpointSlice',
      'list-start Node',
      'upsert Node /n',
      'upsert Service default/web',
      'upsert EndpointSlice default/web-1',
      'list-end Service',
      'list-end EndpointSlice',
      'list-end Node',
    ]);
  });

  it('tells where an object came from', async () => {
    await put('web.yaml', service('a'), service('b'));
    const { events } = await start();
    const origins = events.flatMap((event) => (event.type === 'upsert' ? [event.origin] : []));
    expect(origins).toEqual(['web.yaml document 1', 'web.yaml document 2']);
  });

  it('reads .yaml, .yml and .json files directly in the folder, and nothing else', async () => {
    const names = [
      'a.yaml',
      'b.yml',
      'C.YAML',
      '.hidden.yaml',
      '.a.yaml.swp',
      'a.yaml~',
      '#a.yaml#',
      'a.yaml.bak',
      'README.md',
    ];
    for (const [i, name] of names.entries()) await put(name, service(`s${i}`));
    await put('d.json', JSON.stringify({ kind: 'Node', metadata: { name: 'n' } }));
    await mkdir(join(folder, 'sub.yaml'));
    await writeFile(join(folder, 'sub.yaml', 'x.yaml'), service('below'));
    await symlink('nowhere', join(folder, 'dangling.yaml'));
    const { ids, problems } = await start();
    expect(ids).toEqual(['Node /n', 'Service default/s0', 'Service default/s1', 'Service default/s2']);
    expect(problems).toEqual(new Map());
  });

  it('of an empty folder lists nothing, and is complete', async () => {
    const { ids } = await start();
    expect(ids).toEqual([]);
  });

  it.each([
    ['no such path', () => join(root, 'nowhere'), /nowhere: ENOENT/],
    [
      'a path through a file',
      async () => {
        await writeFile(join(root, 'file'), '');
        return join(root, 'file', 'x');
      },
      /ENOTDIR/,
    ],
    ['a device', () => '/dev/null', /neither a folder nor a file/],
  ])('fails for %s', async (_, path, message) => {
    const source = createManifestSource({ path: await path() });
    await expect(source.start(() => {})).rejects.toThrow(message);
    await expect(source.start(() => {})).rejects.toBeInstanceOf(ConfigError);
    await source.stop();
  });
});

describe('one file', () => {
  it('is read and followed alone', async () => {
    await put('a.yaml', service('a'));
    await put('b.yaml', service('b'));
    const recorder = await start({ path: join(folder, 'a.yaml') });
    expect(recorder.ids).toEqual(['Service default/a']);
    await put('new.yaml', service('c'));
    await writeFile(join(folder, 'temporary'), service('a2'));
    await rename(join(folder, 'temporary'), join(folder, 'a.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a2']));
  });

  it('that is deleted stays in force until it is back', async () => {
    await put('a.yaml', service('a'));
    const warn = vi.fn();
    const recorder = await start({ path: join(folder, 'a.yaml'), log: { debug() {}, info() {}, warn } });
    await unlink(join(folder, 'a.yaml'));
    await until(() => expect(warn).toHaveBeenCalledOnce());
    expect(recorder.ids).toEqual(['Service default/a']);
    await put('a.yaml', service('b'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
  });
});

describe('a change', () => {
  it('is told, and nothing but the change', async () => {
    await put('web.yaml', service('a'), service('b'), service('c'));
    const recorder = await start();
    recorder.events.length = 0;
    await put('web.yaml', service('a'), service('b', '10.96.0.2'), service('c'), service('d'));
    await until(() => expect(recorder.ids).toContain('Service default/d'));
    expect(recorder.told).toEqual(['upsert Service default/b', 'upsert Service default/d']);
  });

  it('of one entry in a large list is told alone', async () => {
    const item = (name: string, clusterIP: string) => ({
      kind: 'Service',
      metadata: { name },
      spec: { clusterIP },
    });
    const items = Array.from({ length: 500 }, (_, i) => item(`s${i}`, '10.96.0.1'));
    await put('all.json', JSON.stringify({ kind: 'List', items }));
    const recorder = await start();
    recorder.events.length = 0;
    items[123] = item('s123', '10.96.0.2');
    await put('all.json', JSON.stringify({ kind: 'List', items }));
    await until(() => expect(recorder.told).toEqual(['upsert Service default/s123']));
  });

  it('that changes nothing is not told: rewritten, reformatted, touched, moved between documents', async () => {
    await put('web.yaml', service('a'), service('b'));
    const recorder = await start();
    recorder.events.length = 0;
    await put('web.yaml', service('a'), service('b'));
    await put(
      'web.yaml',
      `# a comment\n${service('b')}`,
      service('a').replace('{name: a}', '\n  name:   "a"'),
    );
    await utimes(join(folder, 'web.yaml'), 1, 1);
    await put('last.yaml', service('last'));
    await until(() => expect(recorder.ids).toContain('Service default/last'));
    expect(recorder.told).toEqual(['upsert Service default/last']);
  });

  it('of size and time unknown to the clock is seen all the same', async () => {
    await put('web.yaml', service('a', '10.96.0.1'));
    const recorder = await start();
    for (let i = 2; i <= 9; i++) {
      await put('web.yaml', service('a', `10.96.0.${i}`));
      await utimes(join(folder, 'web.yaml'), 1, 1);
      await until(() => {
        expect(recorder.objects.get('Service default/a')).toMatchObject({
          spec: { clusterIP: `10.96.0.${i}` },
        });
      });
    }
  });

  it('is a file deleted, renamed, or replaced as editors do it', async () => {
    await put('a.yaml', service('a'));
    await put('b.yaml', service('b'));
    const recorder = await start();
    await unlink(join(folder, 'a.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
    recorder.events.length = 0;
    await rename(join(folder, 'b.yaml'), join(folder, 'c.yaml'));
    await put('.c.yaml.swp', service('c'));
    await rename(join(folder, '.c.yaml.swp'), join(folder, 'c.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/c']));
    expect(recorder.told.toSorted()).toEqual(['delete Service default/b', 'upsert Service default/c']);
  });

  it('is never told after stop', async () => {
    await put('a.yaml', service('a'));
    const recorder = await start();
    await put('b.yaml', service('b'));
    await sources[0]?.stop();
    await sources[0]?.stop();
    recorder.events.length = 0;
    await put('c.yaml', service('c'));
    const other = await start();
    expect(other.ids).toHaveLength(3);
    expect(recorder.events).toEqual([]);
  });
});

describe('what cannot be read', () => {
  it('is told with file, document and line, and the others of the file are taken', async () => {
    await put('web.yaml', service('a'), BROKEN, service('c'));
    const { ids, problems } = await start();
    expect(ids).toEqual(['Service default/a', 'Service default/c']);
    expect(problems).toEqual(
      new Map([
        ['web.yaml document 2', expect.stringMatching(/^UNREADABLE: line 7: unexpected end of the stream/)],
      ]),
    );
  });

  it('keeps the last good state of the object that was there', async () => {
    await put('web.yaml', service('a'), service('b'), service('c'));
    const recorder = await start();
    recorder.events.length = 0;
    await put('web.yaml', service('a'), BROKEN, service('c'));
    await until(() => expect(recorder.problems.size).toBe(1));
    await put('web.yaml', service('a'), `${BROKEN}# still\n`, service('c'));
    await put('web.yaml', service('first'), service('a'), `${BROKEN}# still\n`, service('c'));
    await until(() => expect(recorder.ids).toContain('Service default/first'));
    expect(recorder.ids).toContain('Service default/b');
    await put('web.yaml', service('a'), service('b', '10.96.0.9'), service('c'));
    await until(() => expect(recorder.problems.size).toBe(0));
    expect(recorder.told.filter((one) => !one.startsWith('problem'))).toEqual([
      'upsert Service default/first',
      'upsert Service default/b',
      'delete Service default/first',
    ]);
  });

  it('does not keep what was taken out of another part of the file', async () => {
    await put('web.yaml', service('a'), BROKEN, service('c'), service('d'));
    const recorder = await start();
    await put('web.yaml', service('a'), BROKEN, service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a', 'Service default/c']));
  });

  it('keeps nothing once the broken document is taken out', async () => {
    await put('web.yaml', service('a'), service('b'));
    const recorder = await start();
    await put('web.yaml', service('a'), BROKEN);
    await until(() => expect(recorder.problems.size).toBe(1));
    await put('web.yaml', service('a'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a']));
    expect(recorder.problems.size).toBe(0);
  });

  it('is a JSON file half written: all of it stays', async () => {
    const text = JSON.stringify({
      kind: 'List',
      items: ['a', 'b'].map((name) => ({ kind: 'Node', metadata: { name } })),
    });
    await put('all.json', text);
    const recorder = await start();
    await put('all.json', text.slice(0, -10));
    await until(() => expect(recorder.problems.get('all.json document 1')).toMatch(/^UNREADABLE: line 1: /));
    expect(recorder.ids).toEqual(['Node /a', 'Node /b']);
    await put('all.json', text);
    await until(() => expect(recorder.problems.size).toBe(0));
  });

  it('is a document without a name: it keeps what it stood for', async () => {
    await put('web.yaml', service('a'));
    const recorder = await start();
    await put('web.yaml', service('a').replace('name: a', 'nam: a'));
    await until(() =>
      expect([...recorder.problems.values()][0]).toMatch(/^INVALID_FIELD: metadata\.name: must be/),
    );
    expect(recorder.ids).toEqual(['Service default/a']);
  });

  it('is a document of too many levels', async () => {
    await put(
      'deep.json',
      `{"kind":"Service","metadata":{"name":"a"},"x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    );
    await put('good.yaml', service('good'));
    const { ids, problems } = await start();
    expect(ids).toEqual(['Service default/good']);
    expect(problems.get('deep.json document 1')).toMatch(/^UNREADABLE: line 1: /);
  });

  it('is told in few words, however much it is', async () => {
    await put('bad.json', JSON.stringify({ kind: 'List', items: Array(1000).fill(5) }));
    const { problems } = await start();
    expect(problems.get('bad.json document 1')).toMatch(
      /items\[4\]: must be an object, got 5; and 995 more$/,
    );
  });
});

describe('an object stated twice', () => {
  it('is taken from the last document in the order of file names; the others are told', async () => {
    await put('a.yaml', service('web', '10.96.0.1'), service('web', '10.96.0.2'));
    await put('b.yaml', service('web', '10.96.0.3'));
    const recorder = await start();
    expect(recorder.objects.get('Service default/web')).toMatchObject({ spec: { clusterIP: '10.96.0.3' } });
    expect(recorder.problems).toEqual(
      new Map([
        ['a.yaml document 1', 'DUPLICATE: Service default/web is also in a.yaml document 2, which wins'],
        ['a.yaml document 2', 'DUPLICATE: Service default/web is also in b.yaml document 1, which wins'],
      ]),
    );
  });

  it('is told anew from the other document when the winner goes', async () => {
    await put('a.yaml', service('web', '10.96.0.1'), service('other'));
    await put('b.yaml', service('web', '10.96.0.2'));
    const recorder = await start();
    recorder.events.length = 0;
    await unlink(join(folder, 'b.yaml'));
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
    await put('web.yaml', service('web', '""'));
    const recorder = await start();
    expect(recorder.problems.get('web.yaml document 1')).toMatch(
      /^NO_CLUSTER_IP: Service default\/web is left alone/,
    );
    await put('web.yaml', service('web'));
    await until(() => expect(recorder.problems.size).toBe(0));
  });
});

describe('Endpoints', () => {
  it('are slices, until a slice of the Service is stated, and again when it is gone', async () => {
    await put('endpoints.yaml', endpoints('web'), endpoints('db'));
    const recorder = await start();
    const mirrored = ['EndpointSlice default/db-mirrored-0', 'EndpointSlice default/web-mirrored-0'];
    expect(recorder.ids).toEqual(mirrored);
    await put('slice.yaml', slice('by-hand', 'web'));
    await until(() => expect(recorder.ids).toEqual(['EndpointSlice default/by-hand', mirrored[0]]));
    await unlink(join(folder, 'slice.yaml'));
    await until(() => expect(recorder.ids).toEqual(mirrored));
  });
});

describe('the folder', () => {
  it('may be deleted and made again: the last state stays in force meanwhile', async () => {
    await put('a.yaml', service('a'));
    const log = { debug() {}, info: vi.fn(), warn: vi.fn() };
    const recorder = await start({ log });
    recorder.events.length = 0;
    await rm(folder, { recursive: true });
    await until(() => expect(log.warn).toHaveBeenCalled());
    await mkdir(folder);
    await put('b.yaml', service('b'));
    await until(() => expect(recorder.ids).toContain('Service default/b'));
    await put('c.yaml', service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b', 'Service default/c']));
    expect(log.warn).toHaveBeenCalledOnce();
    expect(log.info).toHaveBeenCalledOnce();
  });

  it('may be a symbolic link, pointed elsewhere later', async () => {
    await put('a.yaml', service('a'));
    await mkdir(join(root, 'second'));
    await writeFile(join(root, 'second', 'a.yaml'), service('b'));
    const path = join(root, 'link');
    await symlink('manifests', path);
    const recorder = await start({ path });
    expect(recorder.ids).toEqual(['Service default/a']);
    await symlink('second', join(root, 'link2'));
    await rename(join(root, 'link2'), path);
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
    await writeFile(join(root, 'second', 'c.yaml'), service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b', 'Service default/c']));
  });

  it('may be a mounted ConfigMap, whose ..data link is swapped', async () => {
    for (const [version, name] of [
      ['..1', 'a'],
      ['..2', 'b'],
    ] as const) {
      await mkdir(join(folder, version));
      await writeFile(join(folder, version, 'web.yaml'), service(name));
    }
    await symlink('..1', join(folder, '..data'));
    await symlink('..data/web.yaml', join(folder, 'web.yaml'));
    const recorder = await start();
    expect(recorder.ids).toEqual(['Service default/a']);
    await symlink('..2', join(folder, '..tmp'));
    await rename(join(folder, '..tmp'), join(folder, '..data'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
  });

  it.each(['ENOSPC', 'EMFILE'])(
    'is read again and again where it cannot be watched (%s), which is told once',
    async (code) => {
      const warn = vi.fn();
      const watch = (): never => {
        throw Object.assign(new Error(`${code}: watch`), { code });
      };
      const recorder = await start({ watch, log: { debug() {}, info() {}, warn } });
      for (const name of ['a', 'b']) {
        await put(`${name}.yaml`, service(name));
        await until(() => expect(recorder.ids).toContain(`Service default/${name}`));
      }
      expect(warn).toHaveBeenCalledOnce();
    },
  );
});
