// The configured source of objects. Loaded when needed: a daemon on manifests must not pay for a Kubernetes client.

import type { Settings } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import type { Source } from '../source/source.ts';
import type { Log } from './log.ts';

/** Throws ConfigError when the configuration can never work. */
export async function openSource({ source, nodeName }: Settings, log: Log): Promise<Source> {
  if (source.kind === 'manifests') {
    const { createManifestSource } = await import('../source/manifests/manifest-source.ts');
    return createManifestSource({ path: source.path, log });
  }
  const { createKubernetesSource } = await import('../source/kubernetes/kubernetes-source.ts');
  return createKubernetesSource({
    ...source,
    nodeName,
    version: readVersion(),
    log: (level, fields, message) => log[level](fields, message),
  });
}
