// What `npm test`, `npm run demo`, `npm run bench` and `npm run soak` need before they start, from a fresh clone on: system
// packages, npm packages, the compiled program, the addon. Each step is skipped, silently, when there is nothing to do.
// Plain Node without dependencies, because nothing is installed yet when it runs. By hand: node scripts/setup.mjs --for=test

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchGuestKernel, GuestKernelError } from './guest-kernel.mjs';

const require = createRequire(import.meta.url);

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A machine that cannot be made ready; the message says what its owner can do. */
export class SetupError extends Error {}

const COMPILER = ['g++', 'make', 'python3'];

/** Programs used beside Node, by purpose. The daemon itself runs none of them but iptables-legacy, where a node uses that. */
const PROGRAMS = {
  demo: ['ip', 'nft'],
  soak: ['ip', 'nft', 'iptables-nft'],
  // g++ compiles the clients that set up connections; the last two are what proxies are compared with.
  bench: ['ip', 'nft', 'iptables-nft', 'ipvsadm', 'g++', 'haproxy', 'socat'],
  // The addon is compiled by its tests too, with sanitizers.
  test: [
    ...['ip', 'nft', 'iptables-nft', 'iptables-legacy', 'conntrack', 'openssl', 'setpriv', 'systemd-analyze'],
    ...COMPILER,
  ],
  // What its tests run there; it has the file system of this machine.
  guest: ['ip', 'nft', 'iptables-nft', 'conntrack', 'ipvsadm', 'setpriv', 'qemu-system-x86_64', 'xz'],
};

/** Package managers: how they install, and what they call the package of a program where its name differs. */
const MANAGERS = [
  {
    program: 'apt-get',
    // A freshly booted machine often holds the lock for its own updates.
    update: ['update', '-q'],
    install: ['install', '-y', '-q', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120'],
    packages: {
      ip: 'iproute2',
      nft: 'nftables',
      'iptables-nft': 'iptables',
      'iptables-legacy': 'iptables',
      setpriv: 'util-linux',
      'qemu-system-x86_64': 'qemu-system-x86',
      xz: 'xz-utils',
      'systemd-analyze': 'systemd',
    },
  },
  {
    program: 'dnf',
    install: ['install', '-y', '-q'],
    packages: {
      ip: 'iproute',
      nft: 'nftables',
      conntrack: 'conntrack-tools',
      setpriv: 'util-linux',
      'systemd-analyze': 'systemd',
      'g++': 'gcc-c++',
    },
  },
  {
    program: 'apk',
    install: ['add', '--quiet'],
    packages: {
      ip: 'iproute2',
      nft: 'nftables',
      'iptables-nft': 'iptables',
      conntrack: 'conntrack-tools',
    },
  },
  {
    program: 'pacman',
    install: ['-Sy', '--noconfirm', '--needed'],
    packages: {
      ip: 'iproute2',
      nft: 'nftables',
      'iptables-nft': 'iptables',
      'iptables-legacy': 'iptables',
      conntrack: 'conntrack-tools',
      setpriv: 'util-linux',
      'systemd-analyze': 'systemd',
      'g++': 'gcc',
      python3: 'python',
    },
  },
];

/** Makes this machine ready for `purpose`: 'demo', 'test', 'guest', 'bench' or 'soak'. @throws SetupError when it cannot. */
export function setUp(purpose) {
  checkMachine(purpose);
  installPrograms(PROGRAMS[purpose]);
  installModules();
  if (!hasAddon()) installPrograms(COMPILER);
  buildProgram();
  execute([process.execPath, 'scripts/install-addon.mjs'], 'the native addon could not be built');
  if (purpose === 'guest') installGuest();
}

function checkMachine(purpose) {
  if (process.platform !== 'linux')
    throw new SetupError(`kproxy-ts runs on Linux only, not on ${process.platform}`);
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const [needed, present] = [engines.node.replace('>=', ''), process.versions.node].map((version) =>
    version.split('.').map(Number),
  );
  if (present[0] < needed[0] || (present[0] === needed[0] && present[1] < needed[1])) {
    throw new SetupError(`Node.js ${needed.join('.')} or later is needed, and this is ${process.version}`);
  }
  if (process.getuid() !== 0) {
    throw new SetupError(
      `root is needed, to make private network namespaces (nothing outside of them is changed).\n` +
        `Type: sudo ${purpose === 'test' ? 'npm test' : `npm run ${purpose}`}`,
    );
  }
}

function installPrograms(programs) {
  // A root shell opened by `su` has no sbin folders in its path on some distributions.
  const path = process.env.PATH.split(':');
  process.env.PATH = [...new Set([...path, '/usr/local/sbin', '/usr/sbin', '/sbin'])].join(':');
  const missing = programs.filter((program) => !hasProgram(program));
  if (missing.length === 0) return;

  const manager = MANAGERS.find(({ program }) => hasProgram(program));
  if (manager === undefined) {
    throw new SetupError(
      `these programs are missing, and no package manager known here was found: ${missing.join(', ')}.\n` +
        'Install them and try again.',
    );
  }
  const packages = [...new Set(missing.map((program) => manager.packages[program] ?? program))];
  const install = [manager.program, ...manager.install, ...packages];
  console.log(`Installing ${packages.join(', ')} with ${manager.program}`);
  // A failed update may only mean that one of many lists is out of reach: the installation decides.
  if (manager.update) run([manager.program, ...manager.update]);
  const byHand = [manager.program, manager.install[0], ...packages].join(' ');
  execute(install, `these packages are needed and could not be installed. Type: ${byHand}`);
  const still = missing.filter((program) => !hasProgram(program));
  if (still.length > 0) throw new SetupError(`${byHand} succeeded, and ${still.join(', ')} is still missing`);
}

function hasProgram(program) {
  return process.env.PATH.split(':').some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function installModules() {
  const hasLock = existsSync(join(ROOT, 'package-lock.json'));
  const installedMs = modifiedMs('node_modules/.package-lock.json');
  if (installedMs >= modifiedMs(hasLock ? 'package-lock.json' : 'package.json')) return;
  console.log('Installing npm packages');
  const install = npm(hasLock ? 'ci' : 'install', '--include=dev', '--no-audit', '--no-fund');
  execute(install, 'the npm packages could not be installed. Type: npm ci');
}

function buildProgram() {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true }).filter((path) => path.endsWith('.ts'));
  const builtMs = sources.map((path) => modifiedMs(`dist/${path.replace(/\.ts$/, '.js')}`));
  const changedMs = ['package.json', 'tsconfig.json', 'tsconfig.build.json'].map(modifiedMs);
  const isFresh = sources.every((path, i) => builtMs[i] >= Math.max(modifiedMs(`src/${path}`), ...changedMs));
  if (isFresh) return;
  console.log('Compiling TypeScript');
  // Not half a program: what was emitted would pass for complete at the next run.
  execute(npm('run', '--silent', 'build', '--', '--noEmitOnError'), 'the program does not compile');
}

function hasAddon() {
  const { builtPath, findPrebuilt } = require('../native/load.cjs');
  return existsSync(builtPath) || findPrebuilt() !== undefined;
}

function installGuest() {
  try {
    fetchGuestKernel();
  } catch (error) {
    if (!(error instanceof GuestKernelError)) throw error;
    throw new SetupError(`the guest needs a kernel of Debian's: ${error.message}`);
  }
}

/** In milliseconds since the epoch; before everything when there is no such file. */
function modifiedMs(path) {
  return statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY;
}

/** The npm that runs this script, else the one in the path. */
function npm(...args) {
  const cli = process.env.npm_execpath;
  return cli === undefined ? ['npm', ...args] : [process.execPath, cli, ...args];
}

function run([program, ...args]) {
  return spawnSync(program, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

function execute(argv, reason) {
  const { status, stdout, stderr, error } = run(argv);
  if (status === 0) return;
  const said = (error?.message ?? stdout + stderr).trimEnd().split('\n').slice(-40).join('\n');
  throw new SetupError(`${reason}\n(${argv.join(' ')} said:)\n${said}`);
}

/** Runs `setUp` for a script: on failure one message and exit status 1. */
export function setUpOrExit(purpose) {
  try {
    setUp(purpose);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`kproxy-ts: ${error.message}`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const purpose = /^--for=(.*)$/.exec(process.argv[2] ?? '')?.[1];
  if (process.argv.length !== 3 || !Object.hasOwn(PROGRAMS, purpose ?? '')) {
    console.error(`usage: node scripts/setup.mjs --for=${Object.keys(PROGRAMS).join('|')}`);
    process.exit(2);
  }
  setUpOrExit(purpose);
}
