// Network namespaces for tests: named, private, with no way out to the host, and gone when this process is.
// A name carries the pid of its maker, so that the next run can remove what a crashed one could not.
// Everything is done by iproute2's `ip`; see ip-netns(8).

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type CommandOptions, type CommandResult, runCommand, tryCommand } from './command.ts';
import { Shell } from './shell.ts';
import { Agent } from './traffic.ts';

const NAME = /^kpt-(\d+)-[0-9a-f]{6}-/;
const live = new Set<Netns>();
let isPrepared = false;

/** One network namespace and the processes started in it. */
export class Netns {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();
  #agent: Agent | undefined;
  #shell: Shell | undefined;

  private constructor(name: string) {
    this.name = name;
  }

  /** A fresh namespace with its loopback up. `label` ends its name, for humans. */
  static async create(label: string): Promise<Netns> {
    prepare();
    const netns = new Netns(`kpt-${process.pid}-${randomBytes(3).toString('hex')}-${label}`);
    live.add(netns);
    try {
      await runCommand(['ip', 'netns', 'add', netns.name]);
      // Without duplicate address detection an IPv6 address is usable at once, as an IPv4 address is.
      await netns.sysctl({
        'net.ipv6.conf.default.accept_dad': 0,
        'net.ipv6.conf.all.accept_dad': 0,
        'net.ipv6.conf.default.accept_ra': 0,
        // No type of ICMP message is rationed, neither by destination nor altogether: refusals in a row are all told.
        'net.ipv4.icmp_ratemask': 0,
        'net.ipv6.icmp.ratemask': '',
      });
      await netns.ip('link set lo up');
    } catch (error) {
      await netns.delete();
      throw error;
    }
    return netns;
  }

  /** Runs a command inside and gives its standard output. @throws CommandError unless its status is 0. */
  exec(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return runCommand(this.#inside(argv), this.#tracked(options));
  }

  /** Runs a command inside to its end, whatever its status. @throws CommandError when it takes too long. */
  tryExec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return tryCommand(this.#inside(argv), this.#tracked(options));
  }

  /** Starts a long-lived process inside, with piped stdio; it is killed with the namespace. */
  spawn(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const [program = '', ...args] = this.#inside(argv);
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: 'pipe' });
    this.#track(child);
    return child;
  }

  /** Runs lines of `ip` commands inside, in one process; stops at the first that fails. */
  async ip(...lines: string[]): Promise<void> {
    await runCommand(['ip', '-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /** Sets kernel parameters of this namespace, such as `net.ipv4.ip_forward`. */
  async sysctl(values: Readonly<Record<string, number | string>>): Promise<void> {
    const writes = Object.entries(values).map(
      ([key, value]) => `echo '${value}' >/proc/sys/${key.replaceAll('.', '/')}`,
    );
    await this.exec(['sh', '-ec', writes.join('\n')]);
  }

  /** The traffic agent of this namespace, started on first use. */
  agent(): Agent {
    this.#agent ??= Agent.start(this);
    return this.#agent;
  }

  /** A shell inside for short commands, started on first use. */
  shell(): Shell {
    this.#shell ??= Shell.start(this);
    return this.#shell;
  }

  /** Kills what still runs inside and removes the namespace. Idempotent. */
  async delete(): Promise<void> {
    const ended = [...this.#children].map(async (child) => {
      child.kill('SIGKILL');
      await once(child, 'close');
    });
    await Promise.all(ended);
    if (!live.delete(this)) return;
    const result = await tryCommand(['ip', 'netns', 'delete', this.name]);
    if (result.status !== 0 && names().includes(this.name)) throw new Error(result.stderr.trim());
  }

  /** The same without an event loop, for a process that is ending. */
  deleteNow(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    deleteNow(this.name);
    live.delete(this);
  }

  #inside(argv: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...argv];
  }

  #tracked(options: CommandOptions): CommandOptions {
    return {
      ...options,
      onStart: (child) => {
        this.#track(child);
        options.onStart?.(child);
      },
    };
  }

  #track(child: ChildProcess): void {
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
  }
}

/** Removes namespaces whose maker no longer runs, and what runs in them. Returns their names. */
export function removeStaleNetns(): string[] {
  const stale = names().filter((name) => {
    const pid = NAME.exec(name)?.[1];
    return pid !== undefined && !isRunning(Number(pid));
  });
  for (const name of stale) {
    for (const pid of pidsIn(name)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Ended by itself meanwhile.
      }
    }
    deleteNow(name);
  }
  return stale;
}

/** Once per process: clears what crashed runs left and arranges that this one leaves nothing. */
function prepare(): void {
  if (isPrepared) return;
  isPrepared = true;
  removeStaleNetns();
  process.once('exit', deleteAllNow);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = () => {
      deleteAllNow();
      // With this listener gone the signal has its usual effect, unless somebody else listens too. Not sooner: a second
      // signal must not interrupt the clearing.
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

function deleteAllNow(): void {
  for (const netns of live) netns.deleteNow();
}

function deleteNow(name: string): void {
  try {
    execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
  } catch {
    // Never made, or removed by another process that clears the same leftovers.
  }
}

function names(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return []; // The folder appears with the first namespace.
  }
}

function pidsIn(name: string): number[] {
  try {
    return execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  } catch {
    return [];
  }
}

/** False once a process has ended, even if its parent has not taken note yet (a zombie). */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
