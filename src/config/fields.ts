// The fields of KubeProxyConfiguration that flags stand for.

import type { FieldPath } from './flag.ts';
import type { ProxyMode } from './flags.ts';

export const API_VERSION = 'kubeproxy.config.k8s.io/v1alpha1';
export const KIND = 'KubeProxyConfiguration';

/** A configuration file that was read. */
export interface ConfigFile {
  /** The texts of each field that is given and valid, by path: `iptables.masqueradeBit`. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  /** One for each problem, each beginning with a path. */
  readonly errors: readonly string[];
}

/** Every path that a flag's value has in the file. */
export function fieldPaths(field: FieldPath | undefined): readonly string[] {
  if (field === undefined) return [];
  return typeof field === 'string' ? [field] : [...new Set(Object.values(field))];
}

/** The one that counts in a mode. */
export function fieldIn(mode: ProxyMode, field: FieldPath | undefined): string | undefined {
  return typeof field === 'object' ? field[mode] : field;
}
