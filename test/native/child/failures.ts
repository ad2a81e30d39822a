// Everything that can go wrong with a request, and that the socket works on afterwards.

import { NETLINK_ROUTE, openNetlink, TransactError } from '../../../src/daemon/netlink-socket.ts';
import { dumpAddresses, failureOf, headersOf, NLM_F_ACK, newAddresses, noop } from './requests.ts';

const badProtocol = await failureOf(() => openNetlink(77));

const route = openNetlink(NETLINK_ROUTE, { receiveBufferBytes: 1, replyLimitBytes: 4096 });
const acknowledged = (seq: number) => noop(16, NLM_F_ACK, seq);
const probe = async () => headersOf(await route.transact(acknowledged(99))).map((header) => header.seq);

const largest = route.sendBufferBytes;
const largestReplies = await route.transact(noop(largest));
const tooLarge = await failureOf(() => route.transact(noop(largest + 1)));

const flood = Buffer.concat(Array.from({ length: 500 }, (_, seq) => acknowledged(seq)));
const overrun = await route.transact(flood).catch((error: unknown) => error);
const afterOverrun = await probe();

await route.transact(newAddresses(1000));
const overLimit = await failureOf(() => route.transact(dumpAddresses(5)));
const afterOverLimit = await probe();

const nonsense = await route.transact(dumpAddresses(6, 1));
const existing = headersOf(await route.transact(newAddresses(1)));
route.close();

console.log(
  JSON.stringify({
    badProtocol,
    largestReplies,
    tooLarge,
    overrun:
      overrun instanceof TransactError
        ? { code: overrun.code, seqs: headersOf(overrun.replies).map((header) => header.seq) }
        : 'not a TransactError',
    afterOverrun,
    overLimit,
    afterOverLimit,
    nonsense: Buffer.concat(nonsense).toString('latin1'),
    existing,
  }),
);
