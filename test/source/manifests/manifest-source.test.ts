// Real folders, real inotify. What must not happen is shown by what happens next: changes are told in order.

import { mkdir, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../../src/errors.ts';
import { createManifestSource } from '../../../src/source/manifests/manifest-source.ts';
import { FolderFixture, service, slice, until } from './folder-fixture.ts';

let manifests: FolderFixture;

beforeEach(async () => {
  manifests = await FolderFixture.make();
});

afterEach(() => manifests.remove());

describe('the first reading', () => {
  it('lists every kind, with what the files hold', async () => {
    await manifests.put('b.yaml', service('web'), '# nothing here\n', slice('web-1', 'web'));
    await manifests.put(
      'a.json',
      JSON.stringify({ kind: 'List', items: [{ kind: 'Node', metadata: { name: 'n' } }] }),
    );
    const { told } = await manifests.start();
    expect(told).toEqual([
      'list-start Service',
      'list-start EndpointSlice',
      'list-start Node',
      'list-start ServiceCIDR',
      'upsert Node /n',
      'upsert Service default/web',
      'upsert EndpointSlice default/web-1',
      'list-end Service',
      'list-end EndpointSlice',
      'list-end Node',
      'list-end ServiceCIDR',
    ]);
  });

  it('tells where an object came from', async () => {
    await manifests.put('web.yaml', service('a'), service('b'));
    const { events } = await manifests.start();
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
    for (const [i, name] of names.entries()) await manifests.put(name, service(`s${i}`));
    await manifests.put('d.json', JSON.stringify({ kind: 'Node', metadata: { name: 'n' } }));
    await mkdir(join(manifests.path, 'sub.yaml'));
    await writeFile(join(manifests.path, 'sub.yaml', 'x.yaml'), service('below'));
    await symlink('nowhere', join(manifests.path, 'dangling.yaml'));
    const { ids, problems } = await manifests.start();
    expect(ids).toEqual(['Node /n', 'Service default/s0', 'Service default/s1', 'Service default/s2']);
    expect(problems).toEqual(new Map());
  });

  it('of an empty folder lists nothing, and is complete', async () => {
    const { ids } = await manifests.start();
    expect(ids).toEqual([]);
  });

  it.each([
    ['no such path', () => join(manifests.root, 'nowhere'), /nowhere: ENOENT/],
    [
      'a path through a file',
      async () => {
        await writeFile(join(manifests.root, 'file'), '');
        return join(manifests.root, 'file', 'x');
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
    await manifests.put('a.yaml', service('a'));
    await manifests.put('b.yaml', service('b'));
    const recorder = await manifests.start({ path: join(manifests.path, 'a.yaml') });
    expect(recorder.ids).toEqual(['Service default/a']);
    await manifests.put('new.yaml', service('c'));
    await writeFile(join(manifests.path, 'temporary'), service('a2'));
    await rename(join(manifests.path, 'temporary'), join(manifests.path, 'a.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/a2']));
  });

  it('that is deleted stays in force until it is back', async () => {
    await manifests.put('a.yaml', service('a'));
    const warn = vi.fn();
    const recorder = await manifests.start({
      path: join(manifests.path, 'a.yaml'),
      log: { debug() {}, info() {}, warn },
    });
    await unlink(join(manifests.path, 'a.yaml'));
    await until(() => expect(warn).toHaveBeenCalledOnce());
    expect(recorder.ids).toEqual(['Service default/a']);
    await manifests.put('a.yaml', service('b'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
  });
});

describe('a change', () => {
  it('is told, and nothing but the change', async () => {
    await manifests.put('web.yaml', service('a'), service('b'), service('c'));
    const recorder = await manifests.start();
    recorder.events.length = 0;
    await manifests.put('web.yaml', service('a'), service('b', '10.96.0.2'), service('c'), service('d'));
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
    await manifests.put('all.json', JSON.stringify({ kind: 'List', items }));
    const recorder = await manifests.start();
    recorder.events.length = 0;
    items[123] = item('s123', '10.96.0.2');
    await manifests.put('all.json', JSON.stringify({ kind: 'List', items }));
    await until(() => expect(recorder.told).toEqual(['upsert Service default/s123']));
  });

  it('that changes nothing is not told: rewritten, reformatted, touched, moved between documents', async () => {
    await manifests.put('web.yaml', service('a'), service('b'));
    const recorder = await manifests.start();
    recorder.events.length = 0;
    await manifests.put('web.yaml', service('a'), service('b'));
    await manifests.put(
      'web.yaml',
      `# a comment\n${service('b')}`,
      service('a').replace('{name: a}', '\n  name:   "a"'),
    );
    await utimes(join(manifests.path, 'web.yaml'), 1, 1);
    await manifests.put('last.yaml', service('last'));
    await until(() => expect(recorder.ids).toContain('Service default/last'));
    expect(recorder.told).toEqual(['upsert Service default/last']);
  });

  it('that leaves inode, size and time of the file as they were is seen all the same', async () => {
    await manifests.put('web.yaml', service('a', '10.96.0.1'));
    const recorder = await manifests.start();
    for (let i = 2; i <= 9; i++) {
      await writeFile(join(manifests.path, 'web.yaml'), service('a', `10.96.0.${i}`));
      await utimes(join(manifests.path, 'web.yaml'), 1, 1);
      await until(() => {
        expect(recorder.objects.get('Service default/a')).toMatchObject({
          spec: { clusterIP: `10.96.0.${i}` },
        });
      });
    }
  });

  it('is a file deleted, renamed, or replaced as editors do it', async () => {
    await manifests.put('a.yaml', service('a'));
    await manifests.put('b.yaml', service('b'));
    const recorder = await manifests.start();
    await unlink(join(manifests.path, 'a.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
    recorder.events.length = 0;
    await rename(join(manifests.path, 'b.yaml'), join(manifests.path, 'c.yaml'));
    await manifests.put('.c.yaml.swp', service('c'));
    await rename(join(manifests.path, '.c.yaml.swp'), join(manifests.path, 'c.yaml'));
    await until(() => expect(recorder.ids).toEqual(['Service default/c']));
    expect(recorder.told.toSorted()).toEqual(['delete Service default/b', 'upsert Service default/c']);
  });

  it('is never told after stop', async () => {
    await manifests.put('a.yaml', service('a'));
    const recorder = await manifests.start();
    await manifests.put('b.yaml', service('b'));
    await manifests.sources[0]?.stop();
    await manifests.sources[0]?.stop();
    recorder.events.length = 0;
    await manifests.put('c.yaml', service('c'));
    const other = await manifests.start();
    expect(other.ids).toHaveLength(3);
    expect(recorder.events).toEqual([]);
  });
});

describe('the folder', () => {
  it('may be deleted and made again: the last state stays in force meanwhile', async () => {
    await manifests.put('a.yaml', service('a'));
    const log = { debug() {}, info: vi.fn(), warn: vi.fn() };
    const recorder = await manifests.start({ log });
    recorder.events.length = 0;
    await rm(manifests.path, { recursive: true });
    await until(() => expect(log.warn).toHaveBeenCalled());
    await mkdir(manifests.path);
    await manifests.put('b.yaml', service('b'));
    await until(() => expect(recorder.ids).toContain('Service default/b'));
    await manifests.put('c.yaml', service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b', 'Service default/c']));
    expect(log.warn).toHaveBeenCalledOnce();
    expect(log.info).toHaveBeenCalledOnce();
  });

  it('may be a symbolic link, pointed elsewhere later', async () => {
    await manifests.put('a.yaml', service('a'));
    await mkdir(join(manifests.root, 'second'));
    await writeFile(join(manifests.root, 'second', 'a.yaml'), service('b'));
    const path = join(manifests.root, 'link');
    await symlink('manifests', path);
    const recorder = await manifests.start({ path });
    expect(recorder.ids).toEqual(['Service default/a']);
    await symlink('second', join(manifests.root, 'link2'));
    await rename(join(manifests.root, 'link2'), path);
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
    await writeFile(join(manifests.root, 'second', 'c.yaml'), service('c'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b', 'Service default/c']));
  });

  it('may be a mounted ConfigMap, whose ..data link is swapped', async () => {
    for (const [version, name] of [
      ['..1', 'a'],
      ['..2', 'b'],
    ] as const) {
      await mkdir(join(manifests.path, version));
      await writeFile(join(manifests.path, version, 'web.yaml'), service(name));
    }
    await symlink('..1', join(manifests.path, '..data'));
    await symlink('..data/web.yaml', join(manifests.path, 'web.yaml'));
    const recorder = await manifests.start();
    expect(recorder.ids).toEqual(['Service default/a']);
    await symlink('..2', join(manifests.path, '..tmp'));
    await rename(join(manifests.path, '..tmp'), join(manifests.path, '..data'));
    await until(() => expect(recorder.ids).toEqual(['Service default/b']));
  });

  it.each(['ENOSPC', 'EMFILE'])(
    'is read again and again where it cannot be watched (%s), which is told once',
    async (code) => {
      const warn = vi.fn();
      const watch = (): never => {
        throw Object.assign(new Error(`${code}: watch`), { code });
      };
      const recorder = await manifests.start({ watch, log: { debug() {}, info() {}, warn } });
      for (const name of ['a', 'b']) {
        await manifests.put(`${name}.yaml`, service(name));
        await until(() => expect(recorder.ids).toContain(`Service default/${name}`));
      }
      expect(warn).toHaveBeenCalledOnce();
    },
  );
});
