// YAML or JSON (which is YAML) → plain values, with what the parser would stop at first told in full: keys that stand twice.

import { CORE_SCHEMA, load, YAMLException } from 'js-yaml';

export type ParsedYaml =
  | {
      readonly kind: 'value';
      readonly value: unknown;
      /** Of keys that stand more than once in a mapping, each further one: its path, and its line from 1. The last one counts. */
      readonly duplicates: readonly { readonly path: string; readonly line: number }[];
    }
  | { readonly kind: 'unreadable'; readonly line: number; readonly reason: string };

/** A node as the parser saw it: of a mapping the children are keys and values in turn. */
interface Node {
  readonly line: number;
  readonly children: Node[];
  kind: string | null;
  result: unknown;
}

export function parseYaml(text: string): ParsedYaml {
  let refusal: YAMLException;
  try {
    return { kind: 'value', value: load(text, { schema: CORE_SCHEMA }), duplicates: [] };
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    refusal = error;
  }
  try {
    const { value, root } = loadTolerantly(text);
    const duplicates = root.children.flatMap((node) => duplicatesIn(node, ''));
    // Nothing else is tolerated; but a tree that does not show the reason is not to be trusted.
    return duplicates.length === 0 ? unreadable(refusal, text) : { kind: 'value', value, duplicates };
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    return unreadable(error, text);
  }
}

/** Takes keys that stand twice, as JSON.parse does: the last one counts. */
function loadTolerantly(text: string): { value: unknown; root: Node } {
  const root: Node = { line: 0, children: [], kind: null, result: undefined };
  const stack = [root];
  const value = load(text, {
    schema: CORE_SCHEMA,
    json: true,
    listener: (event, state) => {
      if (event === 'open') {
        stack.push({ line: state.line + 1, children: [], kind: null, result: undefined });
        return;
      }
      const node = stack.pop()!;
      node.kind = state.kind;
      node.result = state.result;
      stack.at(-1)!.children.push(node);
    },
  });
  return { value, root };
}

function unreadable(error: YAMLException, text: string): ParsedYaml {
  // js-yaml finds the end of the text one line behind its last.
  const lastLine = text.trimEnd().split('\n').length;
  return { kind: 'unreadable', line: Math.min((error.mark?.line ?? 0) + 1, lastLine), reason: error.reason };
}

function duplicatesIn({ kind, result, children }: Node, path: string): { path: string; line: number }[] {
  const [only] = children;
  // In flow style the parser looks first whether it is a key, one node further in.
  if (children.length === 1 && only!.result === result) return duplicatesIn(only!, path);
  const join = (key: unknown) => (path === '' ? String(key) : `${path}.${String(key)}`);
  if (kind === 'sequence') return children.flatMap((item, i) => duplicatesIn(item, `${path}[${i}]`));
  if (kind !== 'mapping') return [];
  const seen = new Set<unknown>();
  return children.flatMap((key, i) => {
    if (i % 2 === 1) return duplicatesIn(key, join(children[i - 1]!.result));
    const isFirst = !seen.has(key.result);
    seen.add(key.result);
    return isFirst ? [] : [{ path: join(key.result), line: key.line }];
  });
}
