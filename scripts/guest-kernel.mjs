// The kernel of the tests' guest (test/vm): Debian's, with the modules that the tests can ask for, and a static busybox.
// The packages are unpacked into the user's cache folder and not installed; what is there already is used as it is.
// Plain Node without dependencies, because it is part of the set-up (setup.mjs).

import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Raised when what is kept here changes. */
const LAYOUT = 1;
/** Holds `kernel`, `busybox` and `lib/modules/VERSION`. */
export const GUEST_FOLDER = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'kproxy-ts',
  `guest-${LAYOUT}`,
);

/** Depends on the package of the newest kernel. */
const META_PACKAGE = 'linux-image-amd64';
const BUSYBOX_PACKAGE = 'busybox-static';
/** What is kept of 400 MB: all of networking, and what the guest starts with. */
const MODULES = [
  'arch/x86/crypto',
  'crypto',
  'drivers/char/virtio_console.ko',
  'drivers/net/dummy.ko',
  'drivers/net/veth.ko',
  'drivers/virtio',
  'fs/9p',
  'fs/fscache',
  'fs/netfs',
  'fs/overlayfs',
  'lib',
  'net',
];
const MODULE_LISTS = ['modules.builtin', 'modules.builtin.modinfo', 'modules.order'];

/** Programs that decompress a kernel, by how its compressed part begins. */
const DECOMPRESSORS = [
  { magic: 'fd377a585a00', argv: ['xz', '-dc', '--single-stream'] },
  { magic: '28b52ffd', argv: ['zstd', '-dcq'] },
];

/** The guest cannot be had; the message says why. */
export class GuestKernelError extends Error {}

/** Makes GUEST_FOLDER unless it is there. @throws GuestKernelError */
export function fetchGuestKernel() {
  if (existsSync(GUEST_FOLDER)) return;
  if (process.arch !== 'x64')
    throw new GuestKernelError(`its kernel is for x64, and this is ${process.arch}`);
  console.log(`Unpacking Debian's kernel into ${GUEST_FOLDER}`);
  mkdirSync(join(GUEST_FOLDER, '..'), { recursive: true });
  // Made aside: half a kernel would pass for a whole one, and somebody else may be at it.
  const folder = mkdtempSync(`${GUEST_FOLDER}-`);
  const unpacked = join(folder, 'unpacked');
  try {
    unpack([BUSYBOX_PACKAGE, kernelPackage()], unpacked);
    const busybox = join(folder, 'busybox');
    cpSync(join(unpacked, 'bin/busybox'), busybox);
    const [version] = readdirSync(join(unpacked, 'lib/modules'));
    const modules = join('lib/modules', version);
    const kept = [...MODULES.map((path) => join('kernel', path)), ...MODULE_LISTS];
    for (const path of kept.map((one) => join(modules, one)).filter((one) => existsSync(join(unpacked, one))))
      cpSync(join(unpacked, path), join(folder, path), { recursive: true });
    run([busybox, 'depmod', '-b', folder, version]);
    writeFileSync(
      join(folder, 'kernel'),
      decompress(readFileSync(join(unpacked, `boot/vmlinuz-${version}`))),
    );
    rmSync(unpacked, { recursive: true });
    renameSync(folder, GUEST_FOLDER);
  } catch (error) {
    if (!existsSync(join(GUEST_FOLDER, 'kernel'))) throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function kernelPackage() {
  const depends = () => /Depends: (linux-image-\S+)/.exec(run(['apt-cache', 'depends', META_PACKAGE]))?.[1];
  let name = tryTo(depends);
  if (name === undefined) {
    run(['apt-get', 'update', '-q']);
    name = depends();
  }
  if (name === undefined)
    throw new GuestKernelError(`the package lists have no kernel behind ${META_PACKAGE}`);
  return name;
}

function tryTo(ask) {
  try {
    return ask();
  } catch (error) {
    if (error instanceof GuestKernelError) return undefined;
    throw error;
  }
}

function unpack(packages, folder) {
  const downloads = join(folder, 'packages');
  mkdirSync(downloads, { recursive: true });
  // As the user that we are: apt's own could not write here.
  run(['apt-get', 'download', '-q', '-o', `APT::Sandbox::User=root`, ...packages], { cwd: downloads });
  for (const name of readdirSync(downloads)) run(['dpkg-deb', '-x', join(downloads, name), folder]);
}

/** What is inside of a bzImage (Documentation/x86/boot.rst): emulated, the kernel would take seconds to unpack itself. */
function decompress(image) {
  const start = (image[0x1f1] + 1) * 512 + image.readUInt32LE(0x248);
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c));
  const found = DECOMPRESSORS.find(({ magic }) => payload.toString('hex', 0, magic.length / 2) === magic);
  if (found === undefined) return image;
  const [program, ...args] = found.argv;
  // The decompressed length, which the kernel's build appends, is no part of the stream.
  const { stdout } = spawnSync(program, args, { input: payload.subarray(0, -4), maxBuffer: 1 << 30 });
  // QEMU takes either.
  return stdout?.toString('latin1', 0, 4) === '\x7fELF' ? stdout : image;
}

/** Gives what a command printed. */
function run([program, ...args], options = {}) {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env, ...options });
  if (status === 0) return stdout;
  throw new GuestKernelError(
    `${[program, ...args].join(' ')} failed: ${(error?.message ?? stdout + stderr).trim()}`,
  );
}
