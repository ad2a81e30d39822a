// The configuration file: KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1, with our own settings in `kproxyTs`. Read
// strictly: kube-proxy falls back to a reading that ignores what it does not know; here everything odd is told, with its path.

import { ConfigError } from '../errors.ts';
import { isMapping, STRING } from './field-form.ts';
import { API_VERSION, type ConfigFile, fieldPaths, KIND } from './fields.ts';
import type { Flag, Flags } from './flag.ts';
import { nearest } from './nearest.ts';
import { parseYaml } from './parse-yaml.ts';
import { printable, quote } from './printable.ts';

/** Reads a whole file; `flags` declare its fields. */
export function readConfigFile(text: string, flags: Flags): ConfigFile {
  const parsed = parseYaml(text);
  if (parsed.kind === 'unreadable') {
    return { fields: new Map(), errors: [`line ${parsed.line}: ${printable(parsed.reason)}`] };
  }
  const duplicates = parsed.duplicates.map(
    ({ path, line }) => `${printable(path)}: stands twice (line ${line})`,
  );
  const { value } = parsed;
  if (!isMapping(value))
    return { fields: new Map(), errors: [...duplicates, mustBe('', 'a mapping', value)] };
  const { apiVersion, kind, ...rest } = value;
  const wrongType = [
    ...(apiVersion === API_VERSION ? [] : [mustBe('apiVersion', API_VERSION, apiVersion)]),
    ...(kind === KIND ? [] : [mustBe('kind', KIND, kind)]),
  ];
  // Of something else it would be noise to say what is not known in it.
  if (wrongType.length > 0) return { fields: new Map(), errors: [...duplicates, ...wrongType] };
  const reader = new FieldReader(flags);
  reader.readMapping(rest, '');
  return { fields: reader.fields, errors: [...duplicates, ...reader.errors] };
}

class FieldReader {
  readonly fields = new Map<string, readonly string[]>();
  readonly errors: string[] = [];
  readonly #flagsByPath = new Map<string, Flag>();
  /** Names of what a mapping may have, by its path. */
  readonly #names = new Map<string, Set<string>>();

  constructor(flags: Flags) {
    for (const flag of Object.values(flags)) {
      for (const path of fieldPaths(flag.field)) {
        this.#flagsByPath.set(path, flag);
        const names = path.split('.');
        for (const [i, name] of names.entries()) {
          const parent = names.slice(0, i).join('.');
          this.#names.set(parent, (this.#names.get(parent) ?? new Set()).add(name));
        }
      }
    }
  }

  readMapping(mapping: Readonly<Record<string, unknown>>, parent: string): void {
    const names = this.#names.get(parent)!;
    for (const [name, value] of Object.entries(mapping)) {
      const path = parent === '' ? name : `${parent}.${name}`;
      if (!names.has(name)) {
        const suggestion = nearest(name, [...names]);
        const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`;
        this.errors.push(`${printable(path)}: unknown field${hint}`);
        continue;
      }
      // As in Go: null is as if it were not there.
      if (value === null || value === undefined) continue;
      const flag = this.#flagsByPath.get(path);
      if (flag !== undefined) this.#readField(flag, path, value);
      else if (isMapping(value)) this.readMapping(value, path);
      else this.errors.push(mustBe(path, 'a mapping', value));
    }
  }

  #readField({ type }: Flag, path: string, value: unknown): void {
    const form = type.form ?? STRING;
    const texts = form.read(value);
    if (texts === undefined) {
      this.errors.push(mustBe(path, form.kind, value));
      return;
    }
    if (texts.length === 0) return;
    try {
      type.parse(texts);
      this.fields.set(path, texts);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.errors.push(`${path}: ${error.message}`);
    }
  }
}

/** Longest value that a message shows. */
const MAX_SHOWN = 60;

function mustBe(path: string, what: string, value: unknown): string {
  const where = path === '' ? 'the file' : path;
  if (value === undefined || value === null) return `${where}: must be ${what}, and is missing`;
  const kind = Array.isArray(value) ? 'a list' : isMapping(value) ? 'a mapping' : undefined;
  const text = typeof value === 'string' ? quote(value) : String(value);
  return `${where}: must be ${what}, got ${kind ?? (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text)}`;
}
