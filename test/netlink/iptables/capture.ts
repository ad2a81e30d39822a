// Makes a fixture: loads FIXTURE.txt with iptables-nft-restore in a network namespace of its own under strace, and prints
// for each rule the line of iptables-save as a comment and the message that made it as hex. Run by hand when a fixture is
// added, PROGRAM being iptables-nft or ip6tables-nft, or another version of it:
//   node --import ./scripts/register-typescript.mjs test/netlink/iptables/capture.ts FIXTURE PROGRAM… > …/NAME.hex

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cutMessages } from '../support/hex.ts';

/** NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE */
const NEW_RULE = 0x0a06;

const [name = '', ...program] = process.argv.slice(2);
const text = fileURLToPath(new URL(`fixtures/${name}.txt`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-capture-'));
try {
  const trace = join(folder, 'trace');
  const base = program.join(' ');
  const strace = `strace -f -e trace=sendmsg -e write=3,4 -s 16 -o ${trace}`;
  const script = `${strace} ${base}-restore ${text} && ${base}-save`;
  const saved = execFileSync('unshare', ['-n', 'sh', '-c', script], { encoding: 'utf8' });
  const bytes = readFileSync(trace, 'utf8')
    .split('\n')
    .map((line) => /^(?:\d+ +)? \| [0-9a-f]{5,} {2}((?:[0-9a-f]{2} {1,2}){1,16})/.exec(line)?.[1] ?? '')
    .join('');
  const messages = cutMessages(Buffer.from(bytes.replaceAll(' ', ''), 'hex'));
  const rules = messages.filter((message) => message.readUInt16LE(4) === NEW_RULE);
  const lines = saved.split('\n').filter((line) => line.startsWith('-A'));
  if (rules.length !== lines.length) throw new Error(`${rules.length} rules sent, ${lines.length} saved`);
  const version = execFileSync('sh', ['-c', `${base} --version`], { encoding: 'utf8' }).trim();
  process.stdout.write(`# ${version}: ${name}.txt\n`);
  rules.forEach((rule, index) => {
    const hex = rule.toString('hex').replace(/.{80}(?=.)/g, '$&\n');
    process.stdout.write(`\n# ${lines[index]}\n${hex}\n`);
  });
} finally {
  rmSync(folder, { recursive: true });
}
