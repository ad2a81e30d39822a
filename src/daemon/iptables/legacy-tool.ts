// The programs of iptables-legacy: which there are, which version, and what their exit statuses mean (include/xtables.h,
// enum xtables_exittype).

import type { IpFamily } from '../../model/ip.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import { type RunProgram, ToolError } from './legacy-program.ts';

/** The first with `iptables-restore --wait` and `MASQUERADE --random-fully`; kube-proxy asks for the same two. */
const MIN_VERSION = [1, 6, 2] as const;
/** Before 1.8.0 there was only one iptables, and it is called by that name. */
const NAMES = ['iptables-legacy', 'iptables'] as const;
/** As long as kube-proxy waits. */
const LOCK_WAIT_SECONDS = 5;
/** RESOURCE_PROBLEM: the lock. */
const LOCK_STATUS = 4;

/** A line of restore's input that was refused. */
export interface RefusedLine {
  /** Counted from 1. */
  readonly number: number;
  readonly said: string;
}

export class LegacyTool {
  /** `iptables-legacy v1.8.9` */
  readonly description: string;
  readonly #name: string;
  readonly #run: RunProgram;

  private constructor(run: RunProgram, name: string, version: string) {
    this.#run = run;
    this.#name = name;
    this.description = `${name} v${version}`;
  }

  /** Finds it on this host. Throws ToolError (TOOL_MISSING, TOOL_TOO_OLD). */
  static async find(run: RunProgram): Promise<LegacyTool> {
    for (const name of NAMES) {
      const said = await firstLine(run, [name, '--version']);
      // `iptables v1.8.9 (legacy)`, `iptables v1.6.2`; `(nf_tables)` is the other one under the old name.
      const version = said && /^ip\S+ v(\d+(?:\.\d+)*)(?: \(legacy\))?$/.exec(said)?.[1];
      if (!version) continue;
      if (isOlder(version.split('.').map(Number), MIN_VERSION)) {
        const reason = `needs at least ${MIN_VERSION.join('.')}, for --wait and --random-fully`;
        throw new ToolError('TOOL_TOO_OLD', `${name} v${version}: ${reason}`);
      }
      return new LegacyTool(run, name, version);
    }
    throw new ToolError('TOOL_MISSING', `no iptables-legacy on this host (tried ${NAMES.join(', ')})`);
  }

  /** What iptables-save prints, each line as it comes; of all tables that exist unless one is given, which is then made. */
  async save(
    family: IpFamily,
    table: IptablesTable | undefined,
    onLine: (line: string) => void,
  ): Promise<void> {
    const name = this.#program(family, 'save');
    const { status, stderr } = await this.#run([name, ...(table === undefined ? [] : ['-t', table])], {
      onLine,
    });
    if (status !== 0) throw this.#failure(name, status, stderr);
  }

  /**
   * Carries out the lines, each table of them at once when its COMMIT comes. Returns the line that was refused, if any: no
   * table from there on has changed. Throws ToolError, and what `lines` throws.
   */
  async restore(family: IpFamily, lines: Iterable<string>): Promise<RefusedLine | undefined> {
    const name = this.#program(family, 'restore');
    const argv = [name, '--noflush', '--wait', `${LOCK_WAIT_SECONDS}`];
    const { status, stderr } = await this.#run(argv, { input: ended(lines) });
    if (status === 0) return undefined;
    // Of the two ways to say it, one is for what iptables itself, the other for what libiptc or the kernel refuses.
    const [, first, second] = /^Error occurred at line: (\d+)|: line (\d+) failed/m.exec(stderr) ?? [];
    if (status === LOCK_STATUS || (first ?? second) === undefined) throw this.#failure(name, status, stderr);
    return { number: Number(first ?? second), said: `${this.description}: ${stderr.split('\n', 1)[0]}` };
  }

  #program(family: IpFamily, action: 'save' | 'restore'): string {
    return `${family === 4 ? this.#name : this.#name.replace('ip', 'ip6')}-${action}`;
  }

  #failure(program: string, status: number, stderr: string): ToolError {
    const said = `${this.description}: ${program} ended with status ${status}: ${stderr.split('\n', 3).join(' ')}`;
    if (status !== LOCK_STATUS) return new ToolError('TOOL_FAILED', said);
    return new ToolError(
      'XTABLES_LOCK',
      `another program holds /run/xtables.lock, or it cannot be opened (waited ${LOCK_WAIT_SECONDS} s); ${said}`,
    );
  }
}

async function firstLine(run: RunProgram, argv: readonly string[]): Promise<string | undefined> {
  const lines: string[] = [];
  try {
    await run(argv, { onLine: (line) => lines.push(line) });
  } catch (error) {
    if (!(error instanceof ToolError) || error.code !== 'TOOL_MISSING') throw error;
  }
  return lines[0];
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  for (const [i, least] of than.entries()) {
    const part = version[i] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}

function* ended(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${line}\n`;
}
