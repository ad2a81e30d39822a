// A virtual machine with Debian's kernel, for what the host's may lack: IPVS, SCTP, an older netfilter. Its file system is
// the host's, read-only, under an overlay in memory: programs have the paths that they have outside, and whatever they
// write is gone with the guest. It has no network device. The command line is that of QEMU 7 (qemu-system-x86_64(1)).

import { type ChildProcess, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants as osConstants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { encodeInitramfs } from './initramfs.ts';

export type Accelerator = 'kvm' | 'tcg';

export interface GuestOptions {
  /** Has `kernel`, `busybox` and `lib/modules/VERSION`: GUEST_FOLDER of scripts/guest-kernel.mjs. */
  readonly folder: string;
  /** Tried in this order; unless given both, the second twice: an emulated boot hangs once in a while. */
  readonly accelerators?: readonly Accelerator[];
  /** From QEMU's start until programs can be run; 120,000 unless given. */
  readonly bootTimeoutMs?: number;
  /** Gets each line of the guest's console. */
  readonly onConsole?: (line: string) => void;
}

/** The guest did not start or has ended; the message has the end of its console. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
}

export interface ProgramOptions {
  /** This process's own unless given. */
  readonly cwd?: string;
  /** Added to PATH, HOME and what tells the tests where they are. */
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
}

/** A program that runs in the guest. */
export interface Program {
  write(text: string): void;
  /** Closes its standard input. */
  end(): void;
  kill(signal?: NodeJS.Signals): void;
  /** Its exit status; 128 + signal number, as a shell reports it, when a signal ended it. */
  readonly ended: Promise<number>;
}

const CPUS = 2;
const MEMORY_MB = 3072;
/** A /dev/kvm that works takes a tenth of that to the guest's first process; one that does not may hang before. */
const KVM_START_MS = 5000;
/** Ten times what it takes on a machine with nothing else to do. */
const TCG_START_MS = 45_000;
const STARTED = 'kproxy-ts guest: started';
const CONSOLE_TAIL = 40;
/** Loaded before there is a root to load others from. */
const BOOT_MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'];
/** How much longer tests wait in there than on a real machine (test/support/patience.ts). */
const PATIENCE: Readonly<Record<Accelerator, number>> = { kvm: 2, tcg: 5 };
const MACHINE: Readonly<Record<Accelerator, readonly string[]>> = {
  kvm: ['-accel', 'kvm', '-cpu', 'host'],
  tcg: ['-accel', 'tcg,thread=multi', '-cpu', 'max'],
};
/** Before whatever the host's has; modprobe is in the last. */
const GUEST_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/bin';
const AGENT = fileURLToPath(new URL('./agent.mjs', import.meta.url));
const INIT = fileURLToPath(new URL('./init.sh', import.meta.url));

/** What agent.mjs says about one program. */
interface AgentMessage {
  readonly id: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly error?: string;
  readonly status?: number | null;
  readonly signal?: NodeJS.Signals | null;
}

interface Running {
  readonly options: ProgramOptions;
  resolve(status: number): void;
  reject(error: Error): void;
}

export class Guest {
  readonly accelerator: Accelerator;
  readonly #qemu: ChildProcess;
  readonly #console: string[] = [];
  readonly #running = new Map<number, Running>();
  /** The host's end of the port. */
  readonly #port: Duplex;
  readonly #ended: Promise<void>;
  #lastId = 0;
  #onStarted = (): void => undefined;
  #onReady = (): void => undefined;
  #whyEnded: string | undefined;

  private constructor(accelerator: Accelerator, argv: readonly string[], onConsole?: (line: string) => void) {
    this.accelerator = accelerator;
    // Killed by the kernel when this process ends, however that happens.
    const [program = '', ...args] = ['setpriv', '--pdeathsig', 'KILL', '--', ...argv];
    this.#qemu = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#port = this.#qemu.stdio[3] as Duplex;
    // Writing to a guest that has ended shows as the failure of its programs.
    this.#port.on('error', () => undefined);
    createInterface({ input: this.#port }).on('line', (line) => this.#hear(JSON.parse(line) as AgentMessage));
    for (const stream of [this.#qemu.stdout!, this.#qemu.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.#console.push(line);
        onConsole?.(line);
        if (line.includes(STARTED)) this.#onStarted();
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#qemu.on('error', (error) => this.#console.push(error.message));
      this.#qemu.on('close', (status, signal) => {
        this.#whyEnded ??= `ended early (QEMU: ${signal ?? `exit status ${status}`})`;
        for (const { reject } of this.#running.values()) reject(this.#error());
        this.#running.clear();
        resolve();
      });
    });
  }

  /** @throws GuestError when it cannot be started. */
  static async start(options: GuestOptions): Promise<Guest> {
    const { accelerators = ['kvm', 'tcg', 'tcg'], bootTimeoutMs = 120_000, onConsole } = options;
    const usable = accelerators.filter((one) => one !== 'kvm' || isAccessible('/dev/kvm'));
    const folder = mkdtempSync(join(tmpdir(), 'kproxy-guest-'));
    let refusal: unknown = new GuestError(`no accelerator among ${accelerators} can be used here`);
    try {
      const initramfs = join(folder, 'initramfs');
      writeFileSync(initramfs, buildInitramfs(options.folder));
      for (const [i, accelerator] of usable.entries()) {
        const guest = new Guest(accelerator, commandLine(options.folder, initramfs, accelerator), onConsole);
        const isLast = i === usable.length - 1;
        try {
          const startMs = accelerator === 'kvm' ? KVM_START_MS : TCG_START_MS;
          await guest.#boot(isLast ? bootTimeoutMs : startMs, bootTimeoutMs);
          return guest;
        } catch (error) {
          await guest.stop();
          refusal = error;
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    throw refusal;
  }

  /** Starts a program in the guest. */
  spawn(argv: readonly string[], options: ProgramOptions = {}): Program {
    const id = ++this.#lastId;
    const ended = new Promise<number>((resolve, reject) => {
      if (this.#whyEnded !== undefined) reject(this.#error());
      this.#running.set(id, { options, resolve, reject });
    });
    const { cwd = process.cwd(), env } = options;
    const path = `${GUEST_PATH}:${process.env['PATH']}`;
    const here = { PATH: path, HOME: '/root', KPROXY_PATIENCE: `${PATIENCE[this.accelerator]}` };
    this.#tell({ id, op: 'spawn', argv, cwd, env: { ...here, ...env } });
    return {
      ended,
      write: (data) => this.#tell({ id, op: 'write', data }),
      end: () => this.#tell({ id, op: 'end' }),
      kill: (signal = 'SIGTERM') => this.#tell({ id, op: 'kill', signal }),
    };
  }

  /** Runs a program to its end and gives what it printed; its standard error is in `stderr`. */
  async run(argv: readonly string[], options: Pick<ProgramOptions, 'cwd' | 'env'> = {}) {
    const result = { status: 0, stdout: '', stderr: '' };
    const program = this.spawn(argv, {
      ...options,
      onStdout: (text) => {
        result.stdout += text;
      },
      onStderr: (text) => {
        result.stderr += text;
      },
    });
    program.end();
    result.status = await program.ended;
    return result;
  }

  /** Ends the guest and everything in it. Idempotent. */
  async stop(): Promise<void> {
    this.#whyEnded ??= 'was stopped';
    this.#qemu.kill('SIGKILL');
    await this.#ended;
  }

  async #boot(startTimeoutMs: number, bootTimeoutMs: number): Promise<void> {
    const started = new Promise<void>((resolve) => {
      this.#onStarted = resolve;
    });
    const ready = new Promise<void>((resolve) => {
      this.#onReady = resolve;
    });
    await this.#within(startTimeoutMs, started, 'start');
    await this.#within(bootTimeoutMs, ready, 'boot');
  }

  async #within(timeoutMs: number, done: Promise<void>, what: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#whyEnded ??= `did not ${what} within ${timeoutMs} ms`;
        resolve();
      }, timeoutMs);
    });
    await Promise.race([done, late, this.#ended]);
    clearTimeout(timer);
    if (this.#whyEnded !== undefined) throw this.#error();
  }

  #error(): GuestError {
    const tail = this.#console.slice(-CONSOLE_TAIL).join('\n');
    return new GuestError(
      `the guest (${this.accelerator}) ${this.#whyEnded}; its console ends with\n${tail}`,
    );
  }

  #tell(request: object): void {
    this.#port.write(`${JSON.stringify(request)}\n`);
  }

  #hear({ id, stdout, stderr, error, status, signal }: AgentMessage): void {
    if (id === 0) this.#onReady();
    const running = this.#running.get(id);
    if (running === undefined) return;
    if (stdout !== undefined) running.options.onStdout?.(stdout);
    else if (stderr !== undefined) running.options.onStderr?.(stderr);
    else {
      this.#running.delete(id);
      if (error !== undefined) running.reject(new Error(`in the guest: ${error}`));
      else running.resolve(status ?? 128 + (signal ? osConstants.signals[signal] : 0));
    }
  }
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function commandLine(folder: string, initramfs: string, accelerator: Accelerator): string[] {
  return [
    'qemu-system-x86_64',
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-machine', 'q35'],
    ...MACHINE[accelerator],
    ...['-smp', `${CPUS}`, '-m', `${MEMORY_MB}`],
    ...['-kernel', join(folder, 'kernel'), '-initrd', initramfs],
    // A kernel that panics or reports a bug of its own ends QEMU.
    ...['-append', 'console=ttyS0 quiet panic=-1 oops=panic rcupdate.rcu_cpu_stall_suppress=1 tsc=reliable'],
    ...['-serial', 'stdio'],
    ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
    ...['-chardev', 'socket,id=agent,fd=3', '-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=agent,name=agent'],
  ];
}

function buildInitramfs(folder: string): Buffer {
  const modulesFolder = join(folder, 'lib/modules');
  const [version = ''] = readdirSync(modulesFolder);
  const moduleFolder = join(modulesFolder, version);
  const modules = inLoadingOrder(readFileSync(join(moduleFolder, 'modules.dep'), 'utf8'), BOOT_MODULES);
  const parameters = {
    MODULES: modules.map(fileName).join(' '),
    MODULE_FOLDER: moduleFolder,
    BUSYBOX: join(folder, 'busybox'),
    NODE: process.execPath,
    AGENT,
  };
  const lines = Object.entries(parameters).map(
    ([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`,
  );
  const folders = ['bin', 'dev', 'host', 'modules', 'proc', 'root', 'sys', 'written'];
  return encodeInitramfs([
    ...folders.map((path) => ({ path })),
    { path: 'init', content: readFileSync(INIT) },
    { path: 'parameters', content: lines.join('') },
    { path: 'bin/busybox', content: readFileSync(join(folder, 'busybox')) },
    ...modules.map((path) => ({
      path: `modules/${fileName(path)}`,
      content: readFileSync(join(moduleFolder, path)),
    })),
  ]);
}

/** Paths of modules, each after all that it needs. `dependencies` is what depmod writes: `PATH: PATH …`. */
function inLoadingOrder(dependencies: string, names: readonly string[]): string[] {
  const needs = new Map(
    dependencies.split('\n').map((line) => {
      const [path = '', ...needed] = line.split(/:? /);
      return [path.replace(/:$/, ''), needed.filter((one) => one !== '')];
    }),
  );
  const ordered = new Set<string>();
  const add = (path: string): void => {
    for (const needed of needs.get(path) ?? []) add(needed);
    ordered.add(path);
  };
  for (const name of names) {
    const path = [...needs.keys()].find((one) => fileName(one) === `${name}.ko`);
    // One that is missing is built in.
    if (path !== undefined) add(path);
  }
  return [...ordered];
}

const fileName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
