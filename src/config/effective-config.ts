// The configuration in effect as a KubeProxyConfiguration: what `--write-config-to` writes. Reading it gives the
// settings that it was written from.

import { STRING } from './field-form.ts';
import { API_VERSION, type ConfigFile, fieldPaths, KIND } from './fields.ts';
import type { Flags, GivenFlag } from './flag.ts';
import { impliedFlags } from './given.ts';

/** A value of JSON: mappings of mappings, in alphabetical order as kube-proxy writes them. */
export type EffectiveConfig = Readonly<Record<string, unknown>>;

/** Every field: as flags say, else as the file does, else its default. All of them must be valid. */
export function effectiveConfig(
  flags: Flags,
  given: readonly GivenFlag[],
  file: ConfigFile | undefined,
): EffectiveConfig {
  const values = new Map<string, unknown>([
    ['apiVersion', API_VERSION],
    ['kind', KIND],
  ]);
  const implied = [...given, ...impliedFlags(given, file)];
  for (const [name, { field, type, default: byDefault }] of Object.entries(flags)) {
    const ofFlags = implied.filter((flag) => flag.name === name).map(({ text }) => text ?? '');
    for (const path of fieldPaths(field)) {
      const ofFile = file?.fields.get(path) ?? [];
      const all = ofFlags.length === 0 || type.isAdded === true ? [...ofFile, ...ofFlags] : ofFlags;
      // A flag may be given as '', which a field of a string cannot tell from none.
      const isGiven = all.length > 0 && !(type.form === undefined && all.at(-1) === '');
      values.set(path, (type.form ?? STRING).write(isGiven ? all : [byDefault]));
    }
  }
  const config = {};
  for (const path of [...values.keys()].sort()) put(config, path.split('.'), values.get(path));
  return config;
}

function put(mapping: Record<string, unknown>, [name, ...rest]: string[], value: unknown): void {
  if (rest.length === 0) mapping[name!] = value;
  else {
    mapping[name!] ??= {};
    put(mapping[name!] as Record<string, unknown>, rest, value);
  }
}
