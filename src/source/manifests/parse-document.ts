// The text of one document → a plain value as JSON would have it. YAML is the schema that kubectl takes: core types and
// merge keys, no other tags. JSON goes through JSON.parse, which is an order of magnitude faster.

import { CORE_SCHEMA, load, Type, YAMLException } from 'js-yaml';

/** Either a value, or why there is none; `line` counts from 0 within the document. */
export type ParsedDocument =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'unreadable'; readonly line: number; readonly reason: string };

const MERGE_KEY = new Type('tag:yaml.org,2002:merge', { kind: 'scalar', resolve: (text) => text === '<<' });
const SCHEMA = CORE_SCHEMA.extend({ implicit: [MERGE_KEY] });
/** Characters and values that aliases may expand to: far above any manifest, far below what hurts. */
const MAX_EXPANDED_SIZE = 10_000_000;

/** Parses a document. What it returns shares nothing with `text`, so that the text can be forgotten. */
export function parseDocument(text: string): ParsedDocument {
  const json = /^\s*[[{]/.test(text) ? parseJson(text) : undefined;
  return json ?? parseYaml(text);
}

/** undefined when it is not JSON: it may still be YAML's flow style, and YAML's parser knows lines. */
function parseJson(text: string): ParsedDocument | undefined {
  try {
    return { kind: 'value', value: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function parseYaml(text: string): ParsedDocument {
  let value: unknown;
  try {
    value = load(text, { schema: SCHEMA });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    // js-yaml finds the end of the text one line behind its last.
    const lastLine = text.trimEnd().split('\n').length - 1;
    return { kind: 'unreadable', line: Math.min(error.mark?.line ?? 0, lastLine), reason: error.reason };
  }
  if (text.includes('*') && isLarger(value, MAX_EXPANDED_SIZE)) {
    return { kind: 'unreadable', line: 0, reason: 'aliases expand to a document without end or measure' };
  }
  // Strings that js-yaml cuts out keep the whole text alive; those that JSON.parse makes do not.
  return { kind: 'value', value: value === undefined ? null : JSON.parse(JSON.stringify(value)) };
}

/** True when a value, written out in full, has more than `limit` characters and values; also when it contains itself. */
function isLarger(value: unknown, limit: number): boolean {
  const pending = [value];
  let size = 0;
  while (pending.length > 0) {
    const next = pending.pop();
    size += typeof next === 'string' ? next.length + 1 : 1;
    if (typeof next === 'object' && next !== null) {
      for (const [key, one] of Object.entries(next)) {
        size += key.length;
        pending.push(one);
      }
    }
    if (size > limit) return true;
  }
  return false;
}
