// What nft sends for the rulesets in fixtures/ is what the codecs send and read, byte by byte and object by object.

import { describe, expect, it } from 'vitest';
import { splitMessages } from '../../src/netlink/message.ts';
import { encodeBatch, type NftRequest } from '../../src/netlink/nftables/batch.ts';
import { EXPRESSION_KINDS } from '../../src/netlink/nftables/expression.ts';
import { REQUEST_ENCODINGS } from '../../src/netlink/nftables/request.ts';
import { affinity } from './golden/affinity.ts';
import { changes } from './golden/changes.ts';
import { decodedRequest } from './golden/decoded.ts';
import { expressions } from './golden/expressions.ts';
import { services } from './golden/services.ts';
import { services6 } from './golden/services6.ts';
import { differenceOf } from './support/compare.ts';
import { cutMessages, readFixture } from './support/hex.ts';

const GOLDEN: Readonly<Record<string, readonly NftRequest[]>> = {
  services,
  services6,
  expressions,
  affinity,
  changes,
};
const ACK = 0x4;

/** Of a flush nft 1.0.6 sends the name of the set before that of the table, in all other messages after it. */
function inOurOrder(golden: Buffer): Buffer {
  const messages = cutMessages(golden).map((message) => {
    const isFlush = message.readUInt16LE(4) === 0x0a0e && message.readUInt16LE(22) === 2;
    if (!isFlush) return message;
    const first = 20 + ((message.readUInt16LE(20) + 3) & ~3);
    return Buffer.concat([message.subarray(0, 20), message.subarray(first), message.subarray(20, first)]);
  });
  return Buffer.concat(messages);
}

describe.each(Object.entries(GOLDEN))('%s.nft', (name, requests) => {
  const golden = inOurOrder(readFixture(name));
  const messages = cutMessages(golden);

  it.each(requests.map((request, index) => [index + 1, request.op, request] as const))(
    'message %i, %s: encodes to the bytes of nft',
    (seq, _, request) => {
      const batch = encodeBatch([request], { firstSeq: seq - 1 });
      const message = Buffer.from(cutMessages(batch.bytes)[1]!);
      message.writeUInt16LE(message.readUInt16LE(6) & ~ACK, 6);
      expect(differenceOf(message, messages[seq]!)).toBeUndefined();
    },
  );

  it('encodes as one batch to the bytes of nft, except that the last message asks for an ack', () => {
    const batch = Buffer.from(encodeBatch(requests, { firstSeq: 0 }).bytes);
    const last = batch.length - messages.at(-1)!.length - messages.at(-2)!.length;
    expect(batch.readUInt16LE(last + 6) & ACK).toBe(ACK);
    batch.writeUInt16LE(batch.readUInt16LE(last + 6) & ~ACK, last + 6);
    expect(differenceOf(batch, golden)).toBeUndefined();
  });

  it('decodes to the objects', () => {
    const decoded = splitMessages(golden).slice(1, -1);
    expect(decoded).toHaveLength(requests.length);
    requests.forEach((request, index) => {
      const { got, want } = decodedRequest(request, decoded[index]!);
      expect(got).toEqual(want);
    });
  });
});

describe('fixtures', () => {
  const requests = Object.values(GOLDEN).flat();

  it('have every request', () => {
    expect(new Set(requests.map(({ op }) => op))).toEqual(new Set(Object.keys(REQUEST_ENCODINGS)));
  });

  it('have every kind of expression, but for those of iptables (iptables/golden.test.ts)', () => {
    const kinds = requests.flatMap((request) =>
      'expressions' in request ? (request.expressions ?? []).map(({ kind }) => kind) : [],
    );
    expect(new Set([...kinds, 'match', 'target'])).toEqual(new Set([...EXPRESSION_KINDS, 'unknown']));
  });
});
