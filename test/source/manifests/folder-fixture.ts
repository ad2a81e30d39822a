// A folder of manifests of a test's own, sources that read it, and short manifests to put into it.

import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { OBJECT_KINDS } from '../../../src/model/source-event.ts';
import {
  createManifestSource,
  type ManifestSourceOptions,
} from '../../../src/source/manifests/manifest-source.ts';
import type { Source } from '../../../src/source/source.ts';
import { Recorder } from './recorder.ts';

export class FolderFixture {
  /** Where the folder is, for what must lie beside it. */
  readonly root: string;
  readonly path: string;
  readonly sources: Source[] = [];

  private constructor(root: string) {
    this.root = root;
    this.path = join(root, 'manifests');
  }

  static async make(): Promise<FolderFixture> {
    const fixture = new FolderFixture(await mkdtemp(join(tmpdir(), 'manifests-')));
    await mkdir(fixture.path);
    return fixture;
  }

  async remove(): Promise<void> {
    await Promise.all(this.sources.map((source) => source.stop()));
    await rm(this.root, { recursive: true, force: true });
  }

  /** Writes a file in one step, as careful editors do. */
  async put(name: string, ...documents: string[]): Promise<void> {
    await writeFile(join(this.path, '.new'), documents.join('---\n'));
    await rename(join(this.path, '.new'), join(this.path, name));
  }

  /** Starts a source and waits for its first reading. */
  async start(options: Partial<ManifestSourceOptions> = {}): Promise<Recorder> {
    const recorder = new Recorder();
    const source = createManifestSource({ path: this.path, debounceMs: 5, pollMs: 20, ...options });
    this.sources.push(source);
    await source.start(recorder.sink);
    await until(() => expect(recorder.synced).toEqual(new Set(OBJECT_KINDS)));
    return recorder;
  }
}

export function until(assertion: () => void): Promise<void> {
  return vi.waitFor(assertion, { timeout: 10_000, interval: 5 });
}

export function service(name: string, clusterIp = '10.96.0.1'): string {
  return `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: ${clusterIp}, ports: [{port: 80}]}\n`;
}

export function slice(name: string, ofService: string): string {
  const labels = `{kubernetes.io/service-name: ${ofService}}`;
  return `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: ${labels}}\naddressType: IPv4\n`;
}

export function endpoints(name: string): string {
  return `apiVersion: v1\nkind: Endpoints\nmetadata: {name: ${name}}\nsubsets: [{addresses: [{ip: 10.1.0.1}], ports: [{port: 80}]}]\n`;
}

export const BROKEN = 'kind: Service\nmetadata: {name: [\n';
