// Random histories of files: what was told step by step is what a single reading of the last state tells.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Catalog } from '../../../src/source/manifests/catalog.ts';
import {
  type ManifestFile,
  type RawObjects,
  readDocuments,
} from '../../../src/source/manifests/manifest-file.ts';
import { Recorder } from './recorder.ts';

/** Texts of documents by file name. */
type Folder = Readonly<Record<string, readonly string[]>>;

const name = fc.constantFrom('a', 'b', 'c');
const service = fc
  .tuple(name, fc.constantFrom('10.96.0.1', '10.96.0.2', '""'))
  .map(([one, ip]) => `{kind: Service, metadata: {name: ${one}}, spec: {clusterIP: ${ip}}}`);
const slice = fc
  .tuple(name, name)
  .map(
    ([one, of]) =>
      `{kind: EndpointSlice, metadata: {name: ${one}, labels: {kubernetes.io/service-name: ${of}}}}`,
  );
const endpoints = fc
  .tuple(name, fc.nat(3))
  .map(
    ([one, ip]) =>
      `{kind: Endpoints, metadata: {name: ${one}}, subsets: [{addresses: [{ip: 10.1.0.${ip}}]}]}`,
  );
const list = fc
  .array(fc.oneof(service, slice), { maxLength: 3 })
  .map((items) => `{kind: List, items: [${items}]}`);
const sound = fc.oneof(service, service, slice, endpoints, list);
const broken = fc.constantFrom('{kind: Service', '{kind: Service, metadata: {}}', '[');

function history(document: fc.Arbitrary<string>): fc.Arbitrary<Folder[]> {
  const documents = fc.array(document, { maxLength: 4 });
  const folder = fc.dictionary(fc.constantFrom('x.yaml', 'y.yaml'), documents, { noNullPrototype: true });
  return fc.array(folder, { minLength: 1, maxLength: 6 });
}

/** Tells a folder to a catalog as the source does: files whose objects are wanted again are parsed again. */
class Reader {
  readonly recorder = new Recorder();
  readonly #catalog = new Catalog();
  #files: readonly ManifestFile[] = [];

  read(folder: Folder): void {
    const missing = this.#tell(folder, new Set());
    if (missing.size > 0) expect(this.#tell(folder, missing).size).toBe(0);
  }

  /** A first reading that is told file by file. */
  readInParts(folder: Folder): void {
    const names = Object.keys(folder).sort();
    for (const name of names) {
      const raws: RawObjects = new Map();
      const bytes = Buffer.from((folder[name] ?? []).join('\n---\n'));
      const documents = readDocuments(bytes, [], raws, false);
      this.#files = [...this.#files, { name, stamp: '', documents, finding: undefined }];
      this.recorder.sink(this.#catalog.update(this.#files, raws, false).events);
    }
    this.read(folder);
  }

  #tell(folder: Folder, fresh: ReadonlySet<string>): ReadonlySet<string> {
    const raws: RawObjects = new Map();
    this.#files = Object.keys(folder)
      .sort()
      .map((file) => {
        const before = this.#files.find((one) => one.name === file)?.documents ?? [];
        const bytes = Buffer.from((folder[file] ?? []).join('\n---\n'));
        const documents = readDocuments(bytes, before, raws, fresh.has(file));
        return { name: file, stamp: '', documents, finding: undefined };
      });
    const { events, missing } = this.#catalog.update(this.#files, raws);
    this.recorder.sink(events);
    return missing;
  }
}

function replay(folders: readonly Folder[]): Recorder {
  const reader = new Reader();
  for (const folder of folders) reader.read(folder);
  return reader.recorder;
}

it('tells the same in parts as at once', () => {
  fc.assert(
    fc.property(history(sound), (folders) => {
      const folder = folders.at(-1)!;
      const inParts = new Reader();
      inParts.readInParts(folder);
      const atOnce = replay([folder]);
      expect(inParts.recorder.objects).toEqual(atOnce.objects);
      expect(inParts.recorder.problems).toEqual(atOnce.problems);
    }),
  );
});

it('tells the same step by step as at once', () => {
  fc.assert(
    fc.property(history(sound), (folders) => {
      const [stepwise, atOnce] = [replay(folders), replay(folders.slice(-1))];
      expect(stepwise.objects).toEqual(atOnce.objects);
      expect(stepwise.problems).toEqual(atOnce.problems);
    }),
    { numRuns: 500 },
  );
});

it('tells nothing of a folder that did not change', () => {
  fc.assert(
    fc.property(history(fc.oneof(sound, broken)), (folders) => {
      const reader = new Reader();
      for (const folder of folders) reader.read(folder);
      const count = reader.recorder.events.length;
      reader.read(folders.at(-1)!);
      expect(reader.recorder.events).toHaveLength(count);
    }),
    { numRuns: 300 },
  );
});

it('takes all that is sound, whatever is broken beside it', () => {
  fc.assert(
    fc.property(history(fc.oneof(sound, broken)), (folders) => {
      const stepwise = replay(folders);
      for (const [id, object] of replay(folders.slice(-1)).objects) {
        // An id that is held besides being stated elsewhere is still the statement's.
        expect(stepwise.objects.get(id)).toEqual(object);
      }
    }),
    { numRuns: 300 },
  );
});

it('takes nothing away from a file while the documents that may have held it are broken', () => {
  const position = fc.nat({ max: 4 });
  fc.assert(
    fc.property(
      fc.array(sound, { minLength: 1, maxLength: 5 }),
      position,
      position,
      broken,
      (sounds, i, j, text) => {
        const once = sounds.with(i % sounds.length, text);
        const twice = once.with(j % sounds.length, text);
        const folders = [sounds, once, twice, once, sounds].map((documents) => ({ 'x.yaml': documents }));
        const before = replay(folders.slice(0, 1));
        for (const length of [2, 3, 4]) {
          const { ids } = replay(folders.slice(0, length));
          for (const id of before.ids) expect(ids).toContain(id);
        }
        expect(replay(folders).objects).toEqual(before.objects);
        expect(replay(folders).problems).toEqual(before.problems);
      },
    ),
    { numRuns: 300 },
  );
});
