// The cluster as a folder of manifests: a file per namespace, as `kubectl get services,endpointslices -o json` (a List)
// or `-o yaml` (documents) would fill it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dump } from 'js-yaml';
import type { ClusterSize } from './engine.ts';
import { buildEndpointSlice, buildService, podIps, SERVICES_PER_NAMESPACE } from './objects.ts';

export type ManifestFormat = 'json' | 'yaml';

/** Writes the folder; it must not exist. Returns the bytes written. */
export function writeManifests(folder: string, format: ManifestFormat, size: ClusterSize): number {
  mkdirSync(folder);
  let bytes = 0;
  for (let first = 0; first < size.services; first += SERVICES_PER_NAMESPACE) {
    const objects: object[] = [];
    for (let i = first; i < Math.min(first + SERVICES_PER_NAMESPACE, size.services); i++) {
      objects.push(buildService(i), buildEndpointSlice(i, podIps(i, size.endpoints)));
    }
    const text = format === 'json' ? jsonList(objects) : objects.map((one) => `---\n${dump(one)}`).join('');
    bytes += Buffer.byteLength(text);
    writeFileSync(join(folder, `team-${first / SERVICES_PER_NAMESPACE}.${format}`), text);
  }
  return bytes;
}

/** As kubectl prints it. */
function jsonList(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', items, kind: 'List' }, undefined, 4);
}
