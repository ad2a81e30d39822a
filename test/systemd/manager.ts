// A real systemd in namespaces of its own (PIDs, mounts, control groups; the network is the test's), with no unit but the one
// under test and the targets that it names.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type CommandResult, runCommand, tryCommand } from '../support/netns/command.ts';
import type { Netns } from '../support/netns/netns.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const UNIT = path.join(ROOT, 'systemd/kproxy-ts.service');
const TARGETS = ['default', 'sysinit', 'basic', 'shutdown', 'network'];

/** Runs with a control group of its own, named by the first argument, which holds nothing else: systemd rules all of it. */
const IN_CONTROL_GROUP = `
  root=$(mktemp -d)
  mount -t cgroup2 none "$root"
  mkdir "$root/$1"
  echo $$ >"$root/$1/cgroup.procs"
  umount "$root"
  rmdir "$root"
  shift
  exec unshare --cgroup --mount --pid --fork --kill-child sh "$@"`;

/** Processes that were killed leave their group a moment later. */
const REMOVE_CONTROL_GROUP = `
  root=$(mktemp -d)
  mount -t cgroup2 none "$root"
  tries=0
  until find "$root/$1" -depth -type d -exec rmdir {} + 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 100 ]
    sleep 0.1
  done
  umount "$root"
  rmdir "$root"`;

export class Manager {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #group: string;
  readonly #units: string;
  readonly #pid: string;

  private constructor(process: ChildProcessWithoutNullStreams, group: string, units: string, pid: string) {
    this.#process = process;
    this.#group = group;
    this.#units = units;
    this.#pid = pid;
  }

  /**
   * Starts systemd, and not yet the unit: as it is in systemd/, but for where the program and its folders are, and for
   * `settings` of its section [Service]. Manifests are at /run/kpt/manifests.
   */
  static async start(netns: Netns, manifests: string, settings: readonly string[]): Promise<Manager> {
    const group = `kpt-systemd-${process.pid}`;
    const units = mkdtempSync(path.join(tmpdir(), 'kproxy-units-'));
    for (const name of TARGETS)
      writeFileSync(path.join(units, `${name}.target`), '[Unit]\nDefaultDependencies=no\n');
    const unit = readFileSync(UNIT, 'utf8');
    writeFileSync(path.join(units, 'kproxy-ts.service'), unit);
    const program = '/run/kpt/node/node /run/kpt/program/bin/kproxy-ts';
    const command = /^ExecStart=.*$/m.exec(unit)![0].replace('/usr/bin/kproxy-ts', program);
    mkdirSync(path.join(units, 'kproxy-ts.service.d'));
    writeFileSync(
      path.join(units, 'kproxy-ts.service.d/test.conf'),
      ['[Service]', 'ExecStart=', command, 'EnvironmentFile=', ...settings, ''].join('\n'),
    );
    const script = path.join(import.meta.dirname, 'manager.sh');
    const argv = ['unshare', '--mount', '--uts', '--ipc', 'sh', '-ec', IN_CONTROL_GROUP, 'sh', group, script];
    const child = netns.spawn([...argv, ROOT, path.dirname(process.execPath), manifests, units]);
    child.stderr.resume();
    const [pid] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const manager = new Manager(child, group, units, pid);
    try {
      await manager.#ready();
    } catch (error) {
      await manager.end();
      throw error;
    }
    return manager;
  }

  /** Runs a command where systemd is. */
  exec(...argv: string[]): Promise<CommandResult> {
    return tryCommand(['nsenter', `--target=${this.#pid}`, '--all', ...argv], { timeoutMs: 30_000 });
  }

  systemctl(...args: string[]): Promise<CommandResult> {
    return this.exec('systemctl', ...args);
  }

  /** A property of the unit, as `systemctl show` prints it. */
  async property(name: string): Promise<string> {
    return (await this.systemctl('show', '--value', `--property=${name}`, 'kproxy-ts')).stdout.trim();
  }

  async #ready(): Promise<void> {
    const endMs = performance.now() + 20_000;
    for (;;) {
      const { stdout, stderr } = await this.systemctl('is-system-running');
      // Mounts of this machine that it looks at, and cannot manage here, make it `degraded`.
      if (/^(running|degraded)$/m.test(stdout)) return;
      if (performance.now() > endMs) throw new Error(`systemd does not get ready: ${stdout}${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async end(): Promise<void> {
    this.#process.kill('SIGKILL');
    await once(this.#process, 'close');
    await runCommand(['unshare', '--mount', 'sh', '-ec', REMOVE_CONTROL_GROUP, 'sh', this.#group]);
    rmSync(this.#units, { recursive: true });
  }
}
