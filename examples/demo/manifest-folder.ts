// A private copy of the example manifests, of which the demo edits the endpoints as a controller would.

import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dump, loadAll } from 'js-yaml';

interface Manifest {
  readonly kind?: string;
  readonly metadata?: {
    readonly namespace?: string;
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly type?: string; readonly clusterIP?: string };
  endpoints?: { readonly addresses: readonly string[] }[];
}

const EXAMPLES = fileURLToPath(new URL('..', import.meta.url));

export class ManifestFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'kproxy-demo-'));
  readonly #files = readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml'));

  constructor() {
    for (const file of this.#files) copyFileSync(join(EXAMPLES, file), join(this.path, file));
  }

  /** Leaves of the service's original endpoints only those that `isKept` accepts by address. */
  keepEndpoints(service: string, isKept: (address: string) => boolean): void {
    for (const file of this.#files) {
      const manifests = readManifests(file);
      const slices = manifests.filter(
        ({ kind, metadata }) =>
          kind === 'EndpointSlice' && metadata?.labels?.['kubernetes.io/service-name'] === service,
      );
      if (slices.length === 0) continue;
      for (const slice of slices) {
        slice.endpoints = (slice.endpoints ?? []).filter(({ addresses }) => isKept(addresses[0]!));
      }
      // Renamed into place, so that nobody reads half a file.
      const draft = join(this.path, `.${file}.draft`);
      writeFileSync(draft, manifests.map((manifest) => dump(manifest)).join('---\n'));
      renameSync(draft, join(this.path, file));
    }
  }

  /** `namespace/name` of the headless and ExternalName services. */
  namesWithoutVip(): string[] {
    return this.#files
      .flatMap(readManifests)
      .filter(
        ({ kind, spec }) =>
          kind === 'Service' && (spec?.type === 'ExternalName' || spec?.clusterIP === 'None'),
      )
      .map(({ metadata }) => `${metadata?.namespace ?? 'default'}/${metadata?.name}`);
  }

  delete(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The documents of an example as they were written, empty ones left out. */
function readManifests(file: string): Manifest[] {
  return (loadAll(readFileSync(join(EXAMPLES, file), 'utf8')) as (Manifest | null)[]).filter(
    (it) => it !== null,
  );
}
