// Makes a fixture: runs `nft -f` in a network namespace of its own under strace, and prints the batch it sends as
// commented hex. Run by hand when a fixture is added:
//   node --import ./scripts/register-typescript.mjs test/netlink/support/capture.ts NAME [LOADED-BEFORE…] > …/NAME.hex

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatMessages } from './hex.ts';

const [name = '', ...before] = process.argv.slice(2);
const fixture = (file: string) => fileURLToPath(new URL(`../fixtures/${file}.nft`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-capture-'));
try {
  const trace = join(folder, 'trace');
  const strace = `strace -e trace=sendmsg -e write=3 -s 16 -o ${trace} nft -f ${fixture(name)}`;
  const script = [...before.map((file) => `nft -f ${fixture(file)}`), strace].join(' && ');
  execFileSync('unshare', ['-n', 'sh', '-c', script], { stdio: 'inherit' });
  const bytes = readFileSync(trace, 'utf8')
    .split('\n')
    .map((line) => /^ \| [0-9a-f]{5,} {2}((?:[0-9a-f]{2} {1,2}){1,16})/.exec(line)?.[1] ?? '')
    .join('');
  const version = execFileSync('nft', ['--version'], { encoding: 'utf8' }).trim();
  process.stdout.write(
    `# ${version}: nft -f ${name}.nft${before.map((file) => `, after ${file}.nft`).join('')}\n`,
  );
  process.stdout.write(formatMessages(Buffer.from(bytes.replaceAll(' ', ''), 'hex')));
} finally {
  rmSync(folder, { recursive: true });
}
