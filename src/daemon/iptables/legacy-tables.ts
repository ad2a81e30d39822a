// The tables of iptables-legacy (the kernel's ip_tables), which only its own programs read and write: iptables-save and one
// iptables-restore per change. A change takes the kernel a whole table to read and to replace, whatever its size: 0.7 s with
// 10,000 Services of 5 endpoints (160,000 rules), and to read them 0.4 s.

import { KernelError } from '../../errors.ts';
import type { Delta } from '../../mode/iptables/desired.ts';
import type { ObservedChain, SharedPlaces } from '../../mode/iptables/full-sync.ts';
import { isOwnChain } from '../../mode/iptables/names.ts';
import { type ChainPlace, chainId } from '../../mode/iptables/planned-chain.ts';
import type { CountedChain } from '../../mode/iptables/rows.ts';
import type { IpFamily } from '../../model/ip.ts';
import { formatIptablesRule } from '../../netlink/iptables/format.ts';
import { parseIptablesRule } from '../../netlink/iptables/parse.ts';
import { SaveReader } from '../../netlink/iptables/parse-save.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import { findCulprits } from './legacy-culprits.ts';
import { Digester, KnownDigest } from './legacy-digests.ts';
import { ToolError } from './legacy-program.ts';
import { RESTORE_ORDER, type RestoreLine, restoreLines, type SharedChains } from './legacy-restore.ts';
import type { LegacyTool, RefusedLine } from './legacy-tool.ts';
import type { Applied, IptablesRefusal, IptablesTables } from './tables.ts';

/** Reading the tables of a family to notice changes of others takes at most this part of the time. */
const MAX_WATCH_SHARE = 0.01;
/** It has the canary alone, and is read in no time. Whoever flushes everything flushes it as well. */
const ALWAYS_WATCHED: IptablesTable = 'mangle';

interface Look {
  /** When all of a family was last read, and how long that took, in ms of `now`. */
  readonly endedAtMs: number;
  readonly tookMs: number;
}

export interface LegacyIptablesTablesOptions {
  readonly tool: LegacyTool;
  /** A clock that never goes back. */
  readonly now: () => number;
}

export class LegacyIptablesTables implements IptablesTables {
  readonly #tool: LegacyTool;
  readonly #now: () => number;
  /** Lines of chains that others have rules in, as last observed. */
  readonly #sharedLines = new Map<IpFamily, ReadonlyMap<string, readonly string[]>>();
  readonly #known = new Map<IpFamily, ReadonlyMap<IptablesTable, KnownDigest>>();
  readonly #looks = new Map<IpFamily, Look>();

  constructor({ tool, now }: LegacyIptablesTablesOptions) {
    this.#tool = tool;
    this.#now = now;
  }

  async begin(): Promise<void> {
    this.#known.clear();
  }

  async list(family: IpFamily): Promise<readonly ChainPlace[]> {
    const places: ChainPlace[] = [];
    for (const table of RESTORE_ORDER) {
      const reader = new SaveReader(({ name }) => places.push({ table, name }));
      await this.#tool.save(family, table, (line) => reader.take(line));
      reader.end();
    }
    return places;
  }

  async observe(
    family: IpFamily,
    see: (chain: CountedChain) => boolean,
    only?: readonly ChainPlace[],
  ): Promise<void> {
    const beganAtMs = this.#now();
    const known = new Map<IptablesTable, KnownDigest>();
    const sharedLines = new Map<string, readonly string[]>();
    const wanted = only && new Set(only.map(chainId));
    for (const table of RESTORE_ORDER) {
      const digester = new Digester(table);
      const reader = new SaveReader(({ name, lines }, isChain) => {
        const place = { table, name };
        if (!isOwnChain(table, name)) sharedLines.set(chainId(place), lines);
        if (wanted?.has(chainId(place)) !== false) see(new SavedLines(place, lines, family, isChain));
      });
      await this.#tool.save(family, table, (line) => {
        digester.add(line);
        reader.take(line);
      });
      reader.end();
      known.set(table, new KnownDigest(digester.digest));
    }
    this.#sharedLines.set(family, sharedLines);
    this.#known.set(family, known);
    this.#noteLook(family, beganAtMs);
  }

  async apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied> {
    const lines = this.#sharedLines.get(family);
    const places: SharedChains | undefined =
      shared === undefined || lines === undefined ? undefined : { lines, places: shared };
    // The places are those of an observation, which is over with what is written now.
    this.#sharedLines.delete(family);
    const input = () => restoreLines(family, delta, places);
    this.#noteWritten(family, delta);
    const tables: { table: IptablesTable; writes: number }[] = [];
    if (nth(input(), 1) === undefined) return { refusals: [], writes: 0, transactions: 0 };
    const refused = await this.#tool.restore(family, texts(countTables(input(), tables)));
    if (refused === undefined) return { refusals: [], ...sum(tables) };
    const line = nth(input(), refused.number);
    if (line === undefined) throw new ToolError('TOOL_FAILED', `${refused.said} (there is no such line)`);
    const inForce = tables.slice(
      0,
      tables.findIndex(({ table }) => table === line.table),
    );
    return { refusals: await this.#blame(family, input, line, refused), ...sum(inForce) };
  }

  /**
   * Whether our rules are other than they were. All of them are read again when so much time has passed that it is a small
   * part of it: at every call in a small cluster, every 100 s with 10,000 Services. The canary is looked for at every call.
   */
  async hasChanged(): Promise<boolean> {
    if (this.#known.size === 0) return true;
    let hasChanged = false;
    for (const family of this.#known.keys())
      hasChanged = (await this.#hasFamilyChanged(family)) || hasChanged;
    return hasChanged;
  }

  /** Nothing is open between two calls. */
  close(): void {}

  async #hasFamilyChanged(family: IpFamily): Promise<boolean> {
    if (await this.#hasTableChanged(family, ALWAYS_WATCHED)) return true;
    const { endedAtMs, tookMs } = this.#looks.get(family)!;
    if (this.#now() - endedAtMs < tookMs / MAX_WATCH_SHARE) return false;
    const beganAtMs = this.#now();
    let hasChanged = false;
    for (const table of RESTORE_ORDER) {
      if (table !== ALWAYS_WATCHED) hasChanged = (await this.#hasTableChanged(family, table)) || hasChanged;
    }
    this.#noteLook(family, beganAtMs);
    return hasChanged;
  }

  async #hasTableChanged(family: IpFamily, table: IptablesTable): Promise<boolean> {
    const digester = new Digester(table);
    await this.#tool.save(family, table, (line) => digester.add(line));
    return this.#known.get(family)!.get(table)!.hasChanged(digester.digest);
  }

  #noteLook(family: IpFamily, beganAtMs: number): void {
    const endedAtMs = this.#now();
    this.#looks.set(family, { endedAtMs, tookMs: endedAtMs - beganAtMs });
  }

  #noteWritten(family: IpFamily, { added, edited, removed }: Delta): void {
    const known = this.#known.get(family);
    if (known === undefined) return;
    for (const places of [added, edited])
      for (const place of places) known.get(place.table)!.note(place, true);
    for (const place of removed) known.get(place.table)!.note(place, false);
  }

  async #blame(
    family: IpFamily,
    input: () => Iterable<RestoreLine>,
    line: RestoreLine,
    { said }: RefusedLine,
  ): Promise<IptablesRefusal[]> {
    const { kind, table, text, service } = line;
    // What goes is not there, or is still in use: the chain is not what it was taken for.
    if (kind === 'delete' || kind === 'chain')
      throw new ToolError('TOOL_STALE', `-t ${table} ${text}: ${said}`);
    if (kind !== 'commit') return [refusal(service, `-t ${table} ${text}`, said)];
    const culprits = await findCulprits(this.#tool, family, table, input());
    if (culprits.length === 0) return [refusal(undefined, `-t ${table}`, said)];
    return culprits.map((culprit) => refusal(culprit, `rules of table ${table}`, said));
  }
}

/** Parsed when asked: most chains are as they shall be, which their text tells. */
class SavedLines implements ObservedChain {
  readonly table: IptablesTable;
  readonly name: string;
  readonly #lines: readonly string[];
  readonly #family: IpFamily;
  readonly #isChain: (name: string) => boolean;
  #rules: readonly IptablesRule[] | undefined;

  constructor(
    { table, name }: ChainPlace,
    lines: readonly string[],
    family: IpFamily,
    isChain: (name: string) => boolean,
  ) {
    this.table = table;
    this.name = name;
    this.#lines = lines;
    this.#family = family;
    this.#isChain = isChain;
  }

  get rules(): readonly IptablesRule[] {
    this.#rules ??= this.#lines.map((line) => parseIptablesRule(line, this.#family, this.#isChain).rule);
    return this.#rules;
  }

  holds(rules: readonly IptablesRule[]): boolean {
    return (
      rules.length === this.#lines.length &&
      rules.every((rule, i) => formatIptablesRule(this.name, rule, this.#family) === this.#lines[i])
    );
  }
}

function refusal(service: IptablesRefusal['service'], what: string, said: string): IptablesRefusal {
  const told = service === undefined ? what : `service ${service}: ${what}`;
  return { error: new KernelError('EINVAL', 22, told, said), service };
}

/** Counts what is written to each table as the lines pass. */
function* countTables(
  lines: Iterable<RestoreLine>,
  tables: { table: IptablesTable; writes: number }[],
): Generator<RestoreLine> {
  for (const line of lines) {
    if (line.kind === 'table') tables.push({ table: line.table, writes: 0 });
    else if (line.kind !== 'commit') tables.at(-1)!.writes++;
    yield line;
  }
}

function sum(tables: readonly { writes: number }[]): Pick<Applied, 'writes' | 'transactions'> {
  return { writes: tables.reduce((all, { writes }) => all + writes, 0), transactions: tables.length };
}

function nth(lines: Iterable<RestoreLine>, number: number): RestoreLine | undefined {
  let count = 0;
  for (const line of lines) if (++count === number) return line;
  return undefined;
}

function* texts(lines: Iterable<RestoreLine>): Generator<string> {
  for (const { text } of lines) yield text;
}
