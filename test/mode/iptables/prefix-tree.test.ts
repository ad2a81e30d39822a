// The form of the tree: a function of its keys whatever the history, small nodes, short walks, small changes.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  childrenOf,
  entriesOf,
  type Keyed,
  keyOf,
  LEAF_SIZE,
  MAX_DEPTH,
  PrefixTree,
  ROOT_SIZE,
  type TreeNode,
} from '../../../src/mode/iptables/prefix-tree.ts';

interface Entry extends Keyed {
  readonly value: number;
}
type Node = TreeNode<Entry>;

const KEY_BITS = 56;
const newTree = (rootSize = ROOT_SIZE) => new PrefixTree<Entry>({ keyBits: KEY_BITS, rootSize });

/** Leaves a common path at a step, goes a way of its own for two bytes, and ends in one of many ports. */
const keyAt = (step: number, digit: number, noise: number): string => {
  const bytes = new Array<number>(KEY_BITS / 8).fill(0);
  bytes[step >> 2]! |= digit << (6 - 2 * (step & 3));
  bytes[6]! |= noise & 15;
  if (step < 20) bytes[5]! |= noise >> 4;
  return String.fromCharCode(...bytes);
};
/** Keys together at one step: now few, now more than a leaf holds. */
const cluster = fc
  .tuple(fc.nat(KEY_BITS / 2 - 1), fc.integer({ min: 1, max: 3 }), fc.nat(60), fc.nat(24))
  .map(([step, digit, from, count]) =>
    Array.from({ length: count + 1 }, (_, i) => keyAt(step, digit, (from + 3 * i) & 255)),
  );
const history = fc.array(
  fc.record({
    set: fc.array(fc.tuple(cluster, fc.nat(3)), { maxLength: 20, size: 'max' }),
    unset: fc.oneof(
      fc.array(cluster, { maxLength: 10, size: 'max' }).map((clusters) => clusters.flat()),
      fc.constantFrom('half' as const, 'all' as const),
    ),
  }),
  { maxLength: 8, size: 'max' },
);
type Step = typeof history extends fc.Arbitrary<(infer S)[]> ? S : never;

const prefixOf = (node: Node): string => {
  const bits = [...keyOf(node)].map((char) => char.charCodeAt(0).toString(2).padStart(8, '0')).join('');
  return `${bits.slice(0, node.bits)}/${node.bits}`;
};
const formOf = (node: Node | undefined): unknown =>
  node === undefined
    ? undefined
    : node.kind === 'leaf'
      ? { leaf: prefixOf(node), entries: node.entries.map(({ key: text, value }) => `${text}=${value}`) }
      : {
          branch: prefixOf(node),
          size: node.size,
          height: node.height,
          isOverfull: node.isOverfull,
          children: node.children.map(formOf),
        };
const below = (node: Node | undefined): Node[] =>
  node === undefined ? [] : childrenOf(node).flatMap((child) => [child, ...below(child)]);

function changesOf(entries: ReadonlyMap<string, number>, step: Step) {
  const after = new Map(entries);
  const touched = new Set<string>();
  const gone =
    step.unset === 'all'
      ? [...entries.keys()]
      : step.unset === 'half'
        ? [...entries.keys()].filter((_, i) => i % 2 === 0)
        : step.unset;
  for (const one of gone) {
    after.delete(one);
    touched.add(one);
  }
  for (const [keys, value] of step.set) {
    for (const one of keys) {
      after.set(one, value);
      touched.add(one);
    }
  }
  const changes = [...touched].map((one) => {
    const value = after.get(one);
    return { key: one, entry: value === undefined ? undefined : { key: one, value } };
  });
  return { after, changes };
}

describe('PrefixTree', () => {
  test('has one form for a set of keys, and says what a change made of it', () => {
    let deepest = 0;
    let hasOverfull = false;
    fc.assert(
      fc.property(history, (steps) => {
        const tree = newTree();
        let entries: ReadonlyMap<string, number> = new Map();
        const live = new Set<Node>();
        for (const step of steps) {
          const { after, changes } = changesOf(entries, step);
          const update = tree.update(changes);
          entries = after;
          for (const node of update.gone) expect(live.delete(node), 'what goes was there').toBe(true);
          for (const node of update.made) {
            expect(live.has(node), 'what is made is new').toBe(false);
            for (const child of childrenOf(node)) expect(live.has(child), 'children first').toBe(true);
            live.add(node);
          }
          const nodes = below(tree.root);
          expect(live.size).toBe(nodes.length);
          expect(nodes.every((node) => live.has(node))).toBe(true);
          for (const [one, value] of entries) expect(tree.get(one)?.value).toBe(value);
        }
        const scratch = newTree();
        scratch.update([...entries].map(([one, value]) => ({ key: one, entry: { key: one, value } })));
        expect(formOf(tree.root)).toEqual(formOf(scratch.root));
        expect(tree.root === undefined ? [] : entriesOf(tree.root).map((entry) => entry.key)).toEqual(
          [...entries.keys()].sort(),
        );
        const depthOf = (node: Node): number =>
          Math.max(0, ...childrenOf(node).map((one) => 1 + depthOf(one)));
        if (tree.root !== undefined) {
          deepest = Math.max(deepest, depthOf(tree.root));
          hasOverfull ||= tree.root.kind === 'branch' && tree.root.isOverfull;
        }
        expect(deepest).toBeLessThanOrEqual(MAX_DEPTH);
      }),
      { numRuns: 150 },
    );
    // Or the test has seen too little.
    expect(deepest).toBe(MAX_DEPTH);
    expect(hasOverfull).toBe(true);
  });

  test('leaves undivided what is few, and all of it when told to', () => {
    const some = (count: number) =>
      Array.from({ length: count }, (_, i) => {
        const text = String.fromCharCode(10, 96, i >> 8, i & 255, 0, 0, 80);
        return { key: text, entry: { key: text, value: i } };
      });
    const tree = newTree();
    tree.update(some(ROOT_SIZE));
    expect(tree.root?.kind).toBe('leaf');
    tree.update(some(ROOT_SIZE + 1));
    expect(tree.root?.kind).toBe('branch');
    const flat = newTree(Number.POSITIVE_INFINITY);
    flat.update(some(5000));
    expect(flat.root?.kind).toBe('leaf');
  });

  test('makes a branch of a root that something else comes beside, and a root of it again', () => {
    const at = (...bytes: number[]) => String.fromCharCode(...bytes, 0, 0, 80);
    const entry = (text: string) => ({ key: text, entry: { key: text, value: 0 } });
    const tree = newTree();
    tree.update(Array.from({ length: 100 }, (_, i) => entry(at(10, 96, 0, i))));
    const [root, nodes] = [tree.root, below(tree.root)];
    const apart = entry(at(203, 0, 113, 1));
    const added = tree.update([apart]);
    expect(added.gone).toEqual([]);
    expect(added.made.filter((node) => node === root)).toHaveLength(1);
    expect(added.made.filter((node) => nodes.includes(node))).toEqual([]);
    const removed = tree.update([{ ...apart, entry: undefined }]);
    expect(removed.gone.filter((node) => node === root)).toHaveLength(1);
    expect(removed.made).toEqual([]);
    expect(tree.root).toBe(root);
  });

  test('makes nothing of a change that changes nothing', () => {
    const entries = Array.from({ length: 100 }, (_, i) => {
      const text = String.fromCharCode(10, 96, 0, i, 0, 0, 80);
      return { key: text, entry: { key: text, value: i } };
    });
    const tree = newTree();
    tree.update(entries);
    const root = tree.root;
    const absent = { key: String.fromCharCode(10, 96, 0, 200, 0, 0, 80), entry: undefined };
    expect(tree.update([...entries, absent])).toEqual({ before: root, after: root, gone: [], made: [] });
  });

  test('no walk is long, and no change is large, at 10,000 random cluster IPs', () => {
    const keys = new Set<string>();
    let seed = 1;
    while (keys.size < 10_000) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      const host = (seed >>> 8) & 0xfffff;
      keys.add(String.fromCharCode(10, 96 | (host >> 16), (host >> 8) & 255, host & 255, 0, 0, 80));
    }
    const tree = newTree();
    tree.update([...keys].map((one) => ({ key: one, entry: { key: one, value: 0 } })));
    const longest = (node: Node): number =>
      node.kind === 'leaf'
        ? node.entries.length
        : childrenOf(node).length + Math.max(...childrenOf(node).map(longest));
    expect(longest(tree.root!)).toBeLessThanOrEqual(4 * MAX_DEPTH + LEAF_SIZE);
    for (const one of [...keys].slice(0, 500)) {
      const removed = tree.update([{ key: one, entry: undefined }]);
      const added = tree.update([{ key: one, entry: { key: one, value: 1 } }]);
      for (const { gone, made } of [removed, added]) {
        expect(gone.length + made.length).toBeLessThanOrEqual(2 * (MAX_DEPTH + 4));
      }
    }
  });
});
