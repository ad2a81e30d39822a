// Requests against a real kernel, and what came back.

import { execFileSync } from 'node:child_process';
import { NETLINK_NETFILTER, NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { dumpAddresses, getGeneration, headersOf, newAddresses } from './requests.ts';

const nftables = openNetlink(NETLINK_NETFILTER);
const generation = headersOf(await nftables.transact(getGeneration(7)));

const sequences = Array.from({ length: 200 }, (_, index) => index + 1000);
const answers = await Promise.all(
  sequences.map(async (seq) => headersOf(await nftables.transact(getGeneration(seq))).map((h) => h.seq)),
);

// Only the kernel may send to the socket. The port id of a socket is in the headers of its replies.
const send =
  'import errno, socket, sys\n' +
  's = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n' +
  'try:\n' +
  '  s.sendto(bytes(16), (int(sys.argv[1]), 0))\n' +
  'except OSError as e:\n' +
  '  print(errno.errorcode[e.errno], end="")';
const port = String(generation[0]?.port);
const env = { PATH: process.env['PATH'] };
const strangerGets = execFileSync('python3', ['-c', send, port], { env, encoding: 'utf8' });
nftables.close();

const addresses = 5000;
const route = openNetlink(NETLINK_ROUTE);
const request = newAddresses(addresses);
const reserved = route.reserveSendBuffer(request.length);
const large = route.transact(request);
let ticksWhileSending = 0;
const ticker = setInterval(() => ticksWhileSending++, 1);
const largeReplies = await large;
clearInterval(ticker);
const dump = await route.transact(dumpAddresses(9));
route.close();

console.log(
  JSON.stringify({
    generation,
    strangerGets,
    inOrder: answers.every((seqs, index) => seqs.length === 1 && seqs[0] === sequences[index]),
    hasReserved: reserved >= request.length,
    largeReplies: largeReplies.length,
    ticksWhileSending,
    dumpDatagrams: dump.length,
    dumpTypes: headersOf(dump).map((header) => header.type),
  }),
);
