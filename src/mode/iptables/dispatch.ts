// A chain that all Services share, divided into branches so that no packet passes more than some tens of rules in it
// (README.md, Dispatch). With `--iptables-dispatch=flat` it is one chain, as kube-proxy has it.

import { type Ip, type IpFamily, unpackIp } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { IptablesRule, Target } from '../../netlink/iptables/rule.ts';
import { type Edit, editsBetween } from './edit-rules.ts';
import { type Entry, entryRule, entryText, isSameEntry, PROTOCOLS_IN_ORDER } from './entry.ts';
import { type BranchPrefix, hash16, MAX_CHAIN_NAME } from './names.ts';
import type { ChainPlace, PlannedChain } from './planned-chain.ts';
import {
  childrenOf,
  type KeyChange,
  keyOf,
  PrefixTree,
  ROOT_SIZE,
  type TreeNode,
  type TreeUpdate,
} from './prefix-tree.ts';
import { ofProtocol, to, toPorts } from './rule-parts.ts';
import { isSameRule, ruleText } from './rule-text.ts';

export interface DispatchDeclaration extends ChainPlace {
  /** What the names of branches begin with. */
  readonly branch: BranchPrefix;
  /** What packets are told apart by: destination address, protocol and port; or protocol and port alone. */
  readonly by: 'address' | 'port';
}

/** Rules of the chain that are not about one Service. */
export interface Frame {
  readonly first: readonly IptablesRule[];
  readonly last: readonly IptablesRule[];
}

/**
 * A change of one chain that exists, a rule at a time. In a chain that others have rules in, too, indexes count our rules
 * only: what is inserted comes right behind our rule before it, or at the top of the chain when there is none.
 */
export interface ChainEdit extends ChainPlace {
  readonly edits: readonly (Edit<IptablesRule> & { readonly service: ServiceKey | undefined })[];
}

export interface DispatchDelta {
  readonly added: readonly PlannedChain[];
  readonly edited: readonly ChainEdit[];
  readonly removed: readonly ChainPlace[];
}

type Node = TreeNode<Entry>;
/** What makes one rule of a chain. */
type Item =
  | { readonly kind: 'rule'; readonly rule: IptablesRule }
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'branch'; readonly node: Node; readonly verb: 'jump' | 'goto' };

const UNCHANGED: DispatchDelta = { added: [], edited: [], removed: [] };
const ADDRESS_BITS: Readonly<Record<IpFamily, number>> = { 4: 32, 6: 128 };
const PROTOCOL_BITS = 8;
const PORT_BITS = 16;

export class Dispatch {
  readonly #declaration: DispatchDeclaration;
  readonly #family: IpFamily;
  readonly #tree: PrefixTree<Entry>;
  #frame: Frame;

  constructor(declaration: DispatchDeclaration, family: IpFamily, form: 'tree' | 'flat', frame: Frame) {
    this.#frame = frame;
    this.#declaration = declaration;
    this.#family = family;
    this.#tree = new PrefixTree({
      keyBits: this.#addressBits + PROTOCOL_BITS + PORT_BITS,
      rootSize: form === 'flat' ? Number.POSITIVE_INFINITY : ROOT_SIZE,
    });
  }

  get(key: string): Entry | undefined {
    return this.#tree.get(key);
  }

  /** Applies changes, at most one per key. An equal frame is best given as the same object. */
  update(changes: readonly KeyChange<Entry>[], frame: Frame): DispatchDelta {
    const frameBefore = this.#frame;
    if (changes.length === 0 && frame === frameBefore) return UNCHANGED;
    this.#frame = frame;
    const update = this.#tree.update(changes);
    const delta = this.#branchDelta(update);
    const [before, after] = [this.#root(update.before, frameBefore), this.#root(update.after, frame)];
    const edit = this.#edit(this.#declaration.name, before, after);
    return edit === undefined ? delta : { ...delta, edited: [...delta.edited, edit] };
  }

  /** The same without saying what changes. */
  replace(changes: readonly KeyChange<Entry>[], frame: Frame): void {
    this.#frame = frame;
    this.#tree.replace(changes);
  }

  /** All chains, the one that packets come to last. */
  *chains(): Generator<PlannedChain> {
    const root = this.#tree.root;
    if (root !== undefined) for (const child of childrenOf(root)) yield* this.#chainsBelow(child);
    yield this.#chain(this.#declaration.name, () => this.#root(this.#tree.root, this.#frame));
  }

  *#chainsBelow(node: Node): Generator<PlannedChain> {
    for (const child of childrenOf(node)) yield* this.#chainsBelow(child);
    yield this.#branchChain(node);
  }

  #branchDelta({ gone, made }: TreeUpdate<Entry>): DispatchDelta {
    const goneByName = new Map(gone.map((node) => [this.#nameOf(node), node]));
    const added: PlannedChain[] = [];
    const edited: ChainEdit[] = [];
    for (const node of made) {
      const name = this.#nameOf(node);
      const before = goneByName.get(name);
      if (before === undefined) added.push(this.#branchChain(node));
      else {
        const edit = this.#edit(name, this.#items(before, 'goto'), this.#items(node, 'goto'));
        if (edit !== undefined) edited.push(edit);
        goneByName.delete(name);
      }
    }
    const { table } = this.#declaration;
    return { added, edited, removed: [...goneByName.keys()].map((name) => ({ table, name })) };
  }

  #branchChain(node: Node): PlannedChain {
    return this.#chain(this.#nameOf(node), () => this.#items(node, 'goto'));
  }

  #chain(name: string, items: () => readonly Item[]): PlannedChain {
    const { table } = this.#declaration;
    return {
      table,
      name,
      ownership: 'own',
      service: undefined,
      rules: () => items().map((item) => this.#ruleOf(item)),
    };
  }

  #edit(name: string, before: readonly Item[], after: readonly Item[]): ChainEdit | undefined {
    const { table } = this.#declaration;
    const changes = editsBetween(
      before,
      after,
      (item) => this.#textOf(item),
      (a, b) => this.#isSame(a, b),
    );
    if (changes.length === 0) return undefined;
    const edits = changes.map((edit) =>
      edit.kind === 'delete'
        ? { ...edit, service: undefined }
        : {
            ...edit,
            item: this.#ruleOf(edit.item),
            service: edit.item.kind === 'entry' ? edit.item.entry.service : undefined,
          },
    );
    return { table, name, edits };
  }

  /**
   * What the first chain holds. A packet that no rule of a branch is for comes back here and goes on, so branches are
   * jumped to from here, and from one another by goto: nothing is passed twice.
   */
  #root(root: Node | undefined, { first, last }: Frame): Item[] {
    const items = root === undefined ? [] : this.#items(root, 'jump');
    if (first.length === 0 && last.length === 0) return items;
    return [...first.map(asItem), ...items, ...last.map(asItem)];
  }

  #items(node: Node, verb: 'jump' | 'goto'): Item[] {
    return node.kind === 'leaf'
      ? node.entries.map((entry) => ({ kind: 'entry', entry }))
      : childrenOf(node).map((child) => ({ kind: 'branch', node: child, verb }));
  }

  #isSame(a: Item, b: Item): boolean {
    if (a.kind === 'entry' && b.kind === 'entry') return isSameEntry(a.entry, b.entry);
    if (a.kind === 'rule' && b.kind === 'rule') return isSameRule(a.rule, b.rule);
    if (a.kind !== 'branch' || b.kind !== 'branch' || a.verb !== b.verb) return false;
    return a.node === b.node || this.#nameOf(a.node) === this.#nameOf(b.node);
  }

  #textOf(item: Item): string {
    switch (item.kind) {
      case 'entry':
        return entryText(item.entry);
      case 'rule':
        return ruleText(item.rule);
      case 'branch':
        return `${item.verb} ${this.#nameOf(item.node)}`;
    }
  }

  #ruleOf(item: Item): IptablesRule {
    switch (item.kind) {
      case 'entry':
        return entryRule(item.entry, this.#family);
      case 'rule':
        return item.rule;
      case 'branch':
        return this.#branchRule(item.node, { kind: item.verb, chain: this.#nameOf(item.node) });
    }
  }

  get #addressBits(): number {
    return this.#declaration.by === 'address' ? ADDRESS_BITS[this.#family] : 0;
  }

  #branchRule(node: Node, target: Target): IptablesRule {
    const [key, addressBits] = [keyOf(node), this.#addressBits];
    const address =
      addressBits === 0
        ? undefined
        : { ip: this.#network(node), prefix: Math.min(node.bits, addressBits), family: this.#family };
    const ports = portRange(key.slice(addressBits / 8), node.bits - addressBits);
    return {
      ...(address !== undefined && to(address)),
      ...(ports !== undefined && ofProtocol(ports.protocol)),
      matches: ports === undefined || ports.isWhole ? [] : [toPorts(ports.first, ports.last)],
      target,
    };
  }

  #network(node: Node): Ip {
    const bytes = this.#addressBits / 8;
    const prefix = Math.min(node.bits, this.#addressBits);
    const masked = Array.from(keyOf(node).slice(0, bytes), (char, i) => {
      const kept = Math.max(0, Math.min(8, prefix - 8 * i));
      return char.charCodeAt(0) & (0xff << (8 - kept));
    });
    return unpackIp(String.fromCharCode(...masked));
  }

  /**
   * `KUBE-SVC-S-10.96.32.0-20`, `KUBE-NP-tcp-30208-30271`; with a hash where that is too long: for the ports of one
   * address, and for most of IPv6. The rule that leads there says it in full.
   */
  #nameOf(node: Node): string {
    const { branch, by } = this.#declaration;
    const addressBits = this.#addressBits;
    const ports = portRange(keyOf(node).slice(addressBits / 8), node.bits - addressBits);
    const range = ports && `${ports.protocol.toLowerCase()}-${ports.first}-${ports.last}`;
    const network = by === 'port' ? [] : [`${this.#network(node)}-${Math.min(node.bits, addressBits)}`];
    const text = [...network, ...(range === undefined ? [] : [range])].join('-');
    return branch.length + text.length <= MAX_CHAIN_NAME ? branch + text : branch + hash16(text);
  }
}

function asItem(rule: IptablesRule): Item {
  return { kind: 'rule', rule };
}

/** What `bits` of a packed protocol and port stand for; undefined while they do not tell the protocol. */
function portRange(packed: string, bits: number) {
  if (bits < PROTOCOL_BITS) return undefined;
  const free = PROTOCOL_BITS + PORT_BITS - bits;
  const port = (packed.charCodeAt(1) << 8) | packed.charCodeAt(2);
  const first = (port >> free) << free;
  return {
    protocol: PROTOCOLS_IN_ORDER[packed.charCodeAt(0)]!,
    first,
    last: first + 2 ** free - 1,
    isWhole: free === PORT_BITS,
  };
}
