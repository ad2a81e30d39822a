// A set of keys as a tree of prefixes, each node small enough to be a chain of rules. Its form is a function of the keys
// alone, whatever the order they came in, so that a restarted daemon finds in the kernel what it wants to write; and a
// change makes only the nodes on its path anew, so that its cost does not grow with the set.
//
//   leaf    a few keys that share the prefix
//   branch  the longest prefix that all its keys share, and a child for each of the four values of the next two bits
//
// Two bits per step make the shortest walk: at most 4 jumps a level, at half as many levels as with one bit.

/** Keys are binary strings, one character (0 to 255) per byte, and compare as such. */
export interface Keyed {
  readonly key: string;
}

export interface Leaf<T extends Keyed> {
  readonly kind: 'leaf';
  /** The prefix in bits: that of the parent and one step. */
  readonly bits: number;
  /** Ordered by key; at least one. */
  readonly entries: readonly T[];
  readonly version: number;
}

export interface Branch<T extends Keyed> {
  readonly kind: 'branch';
  readonly bits: number;
  /** A key with the prefix. */
  readonly key: string;
  /** By the step after the prefix; at least two. */
  readonly children: readonly (TreeNode<T> | undefined)[];
  readonly size: number;
  /** Levels below. */
  readonly height: number;
  /** Whether a leaf below holds more than LEAF_SIZE. */
  readonly isOverfull: boolean;
  readonly version: number;
}

export type TreeNode<T extends Keyed> = Leaf<T> | Branch<T>;

/** A replacement of the entry with a key; undefined deletes it. */
export interface KeyChange<T extends Keyed> extends Keyed {
  readonly entry: T | undefined;
}

const STEP_BITS = 2;
const CHILDREN = 2 ** STEP_BITS;

/** More entries than this are divided. */
export const LEAF_SIZE = 16;
/** So many are left in the root, undivided: a small cluster reads like kube-proxy's. */
export const ROOT_SIZE = 32;
/**
 * Levels below the root. The kernel refuses rules nested deeper than 16 chains (NFT_JUMP_STACK_SIZE), seven of which are
 * around the tree. Nested this deep are only addresses chosen for it; the leaf there takes them all.
 */
export const MAX_DEPTH = 8;

export interface TreeShape {
  /** Length of the keys as far as they may be divided. */
  readonly keyBits: number;
  /** ROOT_SIZE, or Infinity for one that is never divided. */
  readonly rootSize: number;
}

/** What an update did to the nodes below the root. */
export interface TreeUpdate<T extends Keyed> {
  /** The roots, undefined for an empty tree. */
  readonly before: TreeNode<T> | undefined;
  readonly after: TreeNode<T> | undefined;
  /** Nodes that were there and are not any more; the same place may have another node now, which is then in `made`. */
  readonly gone: readonly TreeNode<T>[];
  /** Children before their parents. */
  readonly made: readonly TreeNode<T>[];
}

export class PrefixTree<T extends Keyed> {
  readonly #shape: TreeShape;
  #root: TreeNode<T> | undefined;
  #version = 0;

  constructor(shape: TreeShape) {
    this.#shape = shape;
  }

  get root(): TreeNode<T> | undefined {
    return this.#root;
  }

  get(key: string): T | undefined {
    let node = this.#root;
    while (node?.kind === 'branch') {
      if (commonBits(key, node.key, node.bits) < node.bits) return undefined;
      node = node.children[stepAt(key, node.bits)];
    }
    return node?.entries.find((entry) => entry.key === key);
  }

  /** Applies changes, at most one per key. Nodes are never modified: those of the tree before stay as they were. */
  update(changes: readonly KeyChange<T>[]): TreeUpdate<T> {
    const before = this.#root;
    this.replace(changes);
    return { before, after: this.#root, ...this.#differences(before, this.#root) };
  }

  /** The same without saying what it did. */
  replace(changes: readonly KeyChange<T>[]): void {
    this.#version++;
    this.#root = this.#changed(this.#root, 0, 0, changes.toSorted(byKey));
  }

  #changed(
    node: TreeNode<T> | undefined,
    bits: number,
    depth: number,
    changes: readonly KeyChange<T>[],
  ): TreeNode<T> | undefined {
    if (changes.length === 0) return node;
    if (node?.kind !== 'branch') {
      const entries = merged(node?.entries ?? [], changes);
      return entries === node?.entries ? node : this.#build(entries, bits, depth);
    }
    let shared = node.bits;
    for (const { key, entry } of changes) {
      if (entry !== undefined) shared = Math.min(shared, commonBits(key, node.key, shared));
    }
    // What does not share the prefix is not here to be deleted.
    const within = changes.filter(({ key }) => commonBits(key, node.key, shared) === shared);
    const isWrapped = shared < node.bits;
    const own = stepAt(node.key, shared);
    const children = byStep(within, shared).map((some, step) => {
      const childBits = shared + STEP_BITS;
      const child = isWrapped
        ? step === own
          ? this.#moved(node, childBits, depth + 1)
          : undefined
        : node.children[step];
      return this.#changed(child, childBits, depth + 1, some);
    });
    if (!isWrapped && children.every((child, step) => child === node.children[step])) return node;
    return this.#assembled(children, node.key, shared, bits, depth);
  }

  /** A branch over `children`, or what is simpler and holds the same. */
  #assembled(
    children: readonly (TreeNode<T> | undefined)[],
    key: string,
    shared: number,
    bits: number,
    depth: number,
  ): TreeNode<T> | undefined {
    const present = children.filter((child) => child !== undefined);
    const size = present.reduce((sum, child) => sum + sizeOf(child), 0);
    if (size === 0) return undefined;
    if (size <= this.#capacity(depth)) return this.#build(present.flatMap(entriesOf), bits, depth);
    if (present.length === 1) return this.#moved(present[0]!, bits, depth);
    return {
      kind: 'branch',
      bits: shared,
      key,
      children,
      size,
      height: 1 + Math.max(...present.map(heightOf)),
      isOverfull: present.some(isOverfull),
      version: this.#version,
    };
  }

  /** The same entries at another place: the node itself where it is what `#build` would make there. */
  #moved(node: TreeNode<T>, bits: number, depth: number): TreeNode<T> {
    const fits = node.kind === 'branch' && !node.isOverfull && depth + node.height <= MAX_DEPTH;
    return fits ? node : this.#build(entriesOf(node), bits, depth)!;
  }

  /** What the form of a tree is: all else must come to the same. */
  #build(entries: readonly T[], bits: number, depth: number): TreeNode<T> | undefined {
    if (entries.length === 0) return undefined;
    const shared = commonBits(entries[0]!.key, entries.at(-1)!.key, this.#shape.keyBits);
    if (entries.length <= this.#capacity(depth) || depth === MAX_DEPTH || shared === this.#shape.keyBits) {
      return { kind: 'leaf', bits, entries, version: this.#version };
    }
    const children = byStep(entries, shared).map((some) => this.#build(some, shared + STEP_BITS, depth + 1));
    return this.#assembled(children, entries[0]!.key, shared, bits, depth);
  }

  /** Looks only at what is new: all else is shared by both trees. */
  #differences(
    before: TreeNode<T> | undefined,
    after: TreeNode<T> | undefined,
  ): Pick<TreeUpdate<T>, 'gone' | 'made'> {
    const gone: TreeNode<T>[] = [];
    const made: TreeNode<T>[] = [];
    if (before === after) return { gone, made };
    const kept = new Set<TreeNode<T>>();
    const visitMade = (node: TreeNode<T>): void => {
      // What was the root and is a branch now was no node below the root before.
      if (node.version !== this.#version && node !== before) {
        kept.add(node);
        return;
      }
      for (const child of childrenOf(node)) visitMade(child);
      made.push(node);
    };
    const visitGone = (node: TreeNode<T>): void => {
      if (kept.has(node)) return;
      for (const child of childrenOf(node)) visitGone(child);
      gone.push(node);
    };
    if (after !== undefined) for (const child of childrenOf(after)) visitMade(child);
    if (before !== undefined) for (const child of childrenOf(before)) visitGone(child);
    return { gone, made };
  }

  #capacity(depth: number): number {
    return depth === 0 ? this.#shape.rootSize : LEAF_SIZE;
  }
}

/** All entries below, by key. */
export function entriesOf<T extends Keyed>(node: TreeNode<T>): readonly T[] {
  return node.kind === 'leaf'
    ? node.entries
    : node.children.flatMap((child) => (child ? entriesOf(child) : []));
}

/** A key with the prefix of the node. */
export function keyOf<T extends Keyed>(node: TreeNode<T>): string {
  return node.kind === 'leaf' ? node.entries[0]!.key : node.key;
}

export function childrenOf<T extends Keyed>(node: TreeNode<T>): readonly TreeNode<T>[] {
  return node.kind === 'leaf' ? [] : node.children.filter((child) => child !== undefined);
}

function sizeOf<T extends Keyed>(node: TreeNode<T>): number {
  return node.kind === 'leaf' ? node.entries.length : node.size;
}

function heightOf<T extends Keyed>(node: TreeNode<T>): number {
  return node.kind === 'leaf' ? 0 : node.height;
}

function isOverfull<T extends Keyed>(node: TreeNode<T>): boolean {
  return node.kind === 'leaf' ? node.entries.length > LEAF_SIZE : node.isOverfull;
}

function byKey(a: Keyed, b: Keyed): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/** Divides what is ordered by key into four, by the step at `bit`. */
function byStep<T extends Keyed>(items: readonly T[], bit: number): T[][] {
  const divided = Array.from({ length: CHILDREN }, (): T[] => []);
  for (const item of items) divided[stepAt(item.key, bit)]!.push(item);
  return divided;
}

function stepAt(key: string, bit: number): number {
  return (key.charCodeAt(bit >> 3) >> (8 - STEP_BITS - (bit & 7))) & (CHILDREN - 1);
}

/** How many leading bits, in whole steps and at most `most`, two keys share. */
function commonBits(a: string, b: string, most: number): number {
  let at = 0;
  while (at * 8 < most && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  if (at * 8 >= most) return most;
  const equal = Math.clz32(a.charCodeAt(at) ^ b.charCodeAt(at)) - 24;
  return Math.min(most, at * 8 + equal - (equal % STEP_BITS));
}

/** `entries` with the changes made, both ordered by key; `entries` itself when nothing changes. */
function merged<T extends Keyed>(entries: readonly T[], changes: readonly KeyChange<T>[]): readonly T[] {
  const result: T[] = [];
  let isChanged = false;
  let next = 0;
  for (const { key, entry } of changes) {
    while (next < entries.length && entries[next]!.key < key) result.push(entries[next++]!);
    const present = entries[next]?.key === key ? entries[next++] : undefined;
    if (entry !== undefined) result.push(entry);
    if (entry !== present) isChanged = true;
  }
  if (!isChanged) return entries;
  while (next < entries.length) result.push(entries[next++]!);
  return result;
}
