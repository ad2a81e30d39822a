// What `kubectl kustomize` makes of a folder, as far as the folders of deploy/ go: resources, components and JSON patches (RFC 6902).
// Anything else in a kustomization is an error: this must never quietly do less than the real one.

import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import yaml from 'js-yaml';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

interface Kustomization {
  readonly apiVersion: string;
  readonly kind: string;
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly {
    readonly target: { readonly kind: string; readonly name: string };
    readonly patch: string;
  }[];
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly value: unknown;
}

/** The objects of the kustomization in `folder`, and of `components` on top of it. */
export function build(folder: string, components: readonly string[] = []): Manifest[] {
  return [...components].reduce(apply, apply([], folder));
}

/** A kustomization of a user's own, given as text, in `folder`. */
export function buildText(text: string, folder: string): Manifest[] {
  return combine([], yaml.load(text) as Kustomization, folder);
}

function apply(objects: Manifest[], folder: string): Manifest[] {
  const text = readFileSync(path.join(folder, 'kustomization.yaml'), 'utf8');
  return combine(objects, yaml.load(text) as Kustomization, folder);
}

function combine(objects: Manifest[], kustomization: Kustomization, folder: string): Manifest[] {
  const { apiVersion, kind, resources = [], components = [], patches = [], ...others } = kustomization;
  if (
    !/^(kustomize\.config\.k8s\.io\/v1(alpha|beta)1) (Component|Kustomization)$/.test(`${apiVersion} ${kind}`)
  ) {
    throw new Error(`${folder}: not a kustomization: ${apiVersion} ${kind}`);
  }
  if (Object.keys(others).length > 0) throw new Error(`${folder}: not understood: ${Object.keys(others)}`);
  let all = [...objects, ...resources.flatMap((name) => read(path.join(folder, name)))];
  for (const name of components) all = apply(all, path.join(folder, name));
  for (const { target, patch } of patches) {
    const found = all.filter(({ kind, metadata }) => kind === target.kind && metadata.name === target.name);
    if (found.length === 0) throw new Error(`${folder}: nothing to patch: ${target.kind} ${target.name}`);
    const operations = yaml.load(patch) as Operation[];
    all = all.map((one) => (found.includes(one) ? operations.reduce(patched, one) : one));
  }
  return all;
}

function read(file: string): Manifest[] {
  if (statSync(file).isDirectory()) return apply([], file);
  return yaml.loadAll(readFileSync(file, 'utf8')) as Manifest[];
}

function patched<T>(object: T, { op, path: pointer, value }: Operation): T {
  // YAML aliases are one object in several places.
  const copy = JSON.parse(JSON.stringify(object)) as T;
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop()!;
  let at = copy as unknown;
  for (const key of keys) at = (at as Record<string, unknown>)[key];
  if (typeof at !== 'object' || at === null) throw new Error(`nothing at ${pointer}`);
  if (Array.isArray(at) && op === 'add') at.splice(last === '-' ? at.length : Number(last), 0, value);
  else if (op === 'add' || (op === 'replace' && Object.hasOwn(at, last))) {
    (at as Record<string, unknown>)[last] = value;
  } else throw new Error(`cannot ${op} ${pointer}`);
  return copy;
}
