// Makes the fixtures: runs ipvsadm in a network namespace of its own under strace, and writes what it sent and what the kernel
// answered as commented hex. Run by hand in a kernel with IPVS; README.md says how.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cutMessages } from '../support/hex.ts';
import { LISTED, REQUESTS } from './commands.ts';

const IPVS_CMD_GET_INFO = 15;
const CTRL_CMD_GETFAMILY = 3;
const GENL_ID_CTRL = 16;
/** NLMSG_ERROR and NLMSG_DONE */
const ENDS = [2, 3];

const [folder = '.'] = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'kproxy-ts-capture-'));
const namespace = `kpx-capture-${process.pid}`;

interface Datagram {
  readonly isSent: boolean;
  readonly bytes: Buffer;
}

/** The datagrams of one ipvsadm. */
function trace(words: string): Datagram[] {
  const file = join(scratch, 'trace');
  const options = [
    '-e',
    'trace=sendmsg,recvmsg',
    '-e',
    'write=all',
    '-e',
    'read=all',
    '-s',
    '16',
    '-o',
    file,
  ];
  execFileSync('ip', ['netns', 'exec', namespace, 'strace', ...options, 'ipvsadm', ...words.split(' ')]);
  const datagrams: { isSent: boolean; hex: string }[] = [];
  let isPeek = false;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const call = /^(sendmsg|recvmsg)\(/.exec(line)?.[1];
    if (call !== undefined) {
      isPeek = line.includes('MSG_PEEK');
      if (!isPeek) datagrams.push({ isSent: call === 'sendmsg', hex: '' });
    }
    const bytes = /^ \| [0-9a-f]{5,} {2}((?:[0-9a-f]{2} {1,2}){1,16})/.exec(line)?.[1];
    const last = datagrams.at(-1);
    if (bytes !== undefined && !isPeek && last !== undefined) last.hex += bytes.replaceAll(' ', '');
  }
  return datagrams.map(({ isSent, hex }) => ({ isSent, bytes: Buffer.from(hex, 'hex') }));
}

/** What ipvsadm asked after it had found the family, and asked for the version. */
function requestOf(words: string): Buffer {
  const sent = trace(words).flatMap(({ isSent, bytes }) => (isSent ? cutMessages(bytes) : []));
  return sent.filter((message) => !isPrelude(message)).at(-1)!;
}

function isPrelude(message: Buffer): boolean {
  const isFamilyQuery = message.readUInt16LE(4) === GENL_ID_CTRL && message[16] === CTRL_CMD_GETFAMILY;
  return isFamilyQuery || message[16] === IPVS_CMD_GET_INFO;
}

/** Each request of ipvsadm, with the messages of its answer. */
function exchangesOf(words: string): { request: Buffer; answer: Buffer[] }[] {
  const exchanges: { request: Buffer; answer: Buffer[] }[] = [];
  for (const { isSent, bytes } of trace(words)) {
    if (isSent) exchanges.push({ request: bytes, answer: [] });
    else exchanges.at(-1)!.answer.push(...cutMessages(bytes));
  }
  return exchanges;
}

function format(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${(hex.match(/.{1,64}/g) ?? []).map((line) => line.replace(/.{8}(?=.)/g, '$& ')).join('\n')}\n`;
}

function save(name: string, title: string, parts: readonly (readonly [string, Buffer])[]): void {
  const text = parts.map(([comment, bytes]) => `\n# ${comment}\n${format(bytes)}`).join('');
  writeFileSync(join(folder, `${name}.hex`), `# ${title}\n${text}`);
}

execFileSync('ip', ['netns', 'add', namespace]);
try {
  // Without any address there is no table of local routes, and the kernel takes no IPv4 address for unicast.
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  const versions = [
    execFileSync('ipvsadm', ['--version'], { encoding: 'utf8' }).split(' (')[0]!,
    `Linux ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}`,
  ].join(', ');

  save(
    'requests',
    `what ipvsadm sends: ${versions}`,
    REQUESTS.map(({ words }) => [`ipvsadm ${words}`, requestOf(words)] as const),
  );
  execFileSync('ip', ['netns', 'exec', namespace, 'ipvsadm', '-C']);
  for (const words of LISTED) trace(words);

  const exchanges = exchangesOf('-Ln --nosort');
  const ofCommand = (type: number, command: number) =>
    exchanges.filter(
      ({ request }) =>
        (request.readUInt16LE(4) === GENL_ID_CTRL) === (type === GENL_ID_CTRL) && request[16] === command,
    );
  const whole = ({ answer }: { answer: Buffer[] }) => Buffer.concat(answer);
  save('family', `the kernel's answer to CTRL_CMD_GETFAMILY: ${versions}`, [
    ['messages', whole(ofCommand(GENL_ID_CTRL, CTRL_CMD_GETFAMILY)[0]!)],
  ]);
  save('info', `to IPVS_CMD_GET_INFO: ${versions}`, [
    ['messages', whole(ofCommand(0, IPVS_CMD_GET_INFO)[0]!)],
  ]);
  save('virtual-servers', `to IPVS_CMD_GET_SERVICE: ${versions}`, [
    ['messages, without the end', withoutEnd(ofCommand(0, 4)[0]!.answer)],
  ]);
  save('real-servers', `to IPVS_CMD_GET_DEST for each virtual server of virtual-servers.hex: ${versions}`, [
    ...ofCommand(0, 8).map((exchange) => ['messages, without the end', withoutEnd(exchange.answer)] as const),
  ]);
  save('timeouts', `to IPVS_CMD_GET_CONFIG: ${versions}`, [
    ['messages', whole(exchangesOf('-L --timeout').filter(({ request }) => request[16] === 13)[0]!)],
  ]);
} finally {
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(scratch, { recursive: true });
}

function withoutEnd(messages: Buffer[]): Buffer {
  return Buffer.concat(messages.filter((message) => !ENDS.includes(message.readUInt16LE(4))));
}
