// Whatever is encoded decodes to itself; and bytes that are cut, changed or random are decoded or are a DecodeError,
// nothing else.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError } from '../../src/errors.ts';
import { collectDump } from '../../src/netlink/dump.ts';
import { decodeStatus, type NetlinkMessage, splitMessages } from '../../src/netlink/message.ts';
import { encodeBatch } from '../../src/netlink/nftables/batch.ts';
import { decodeChain } from '../../src/netlink/nftables/chain.ts';
import { decodeSetElements } from '../../src/netlink/nftables/element.ts';
import { EXPRESSION_KINDS, expression, normalizeExpressions } from '../../src/netlink/nftables/expression.ts';
import { decodeGeneration } from '../../src/netlink/nftables/generation.ts';
import { decodeNotification } from '../../src/netlink/nftables/notification.ts';
import { registerAt } from '../../src/netlink/nftables/register.ts';
import { decodeRule } from '../../src/netlink/nftables/rule.ts';
import { decodeSet } from '../../src/netlink/nftables/set.ts';
import { decodeTable } from '../../src/netlink/nftables/table.ts';
import { Reader } from '../../src/netlink/reader.ts';
import { Writer } from '../../src/netlink/writer.ts';
import { decodedRequest } from './golden/decoded.ts';
import { anyRequest, EXPRESSIONS } from './support/arbitrary.ts';
import { readFixture } from './support/hex.ts';

describe('what is encoded decodes to itself', () => {
  it.each(Object.entries(EXPRESSIONS))('expression %s', (_, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (one) => {
        const writer = new Writer(1);
        expression.encode(writer, one);
        expect(expression.decode(new Reader('test', writer.bytes()))).toEqual(one);
        expect(normalizeExpressions([one])).toEqual([one]);
      }),
      { numRuns: 50 },
    );
  });

  it('every kind of expression is among them', () => {
    expect(Object.keys(EXPRESSIONS).sort()).toEqual([...EXPRESSION_KINDS, 'unknown'].sort());
  });

  it('requests', () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        const [, message] = splitMessages(encodeBatch([request], { firstSeq: 1 }).bytes);
        const { got, want } = decodedRequest(request, message!);
        expect(got).toEqual(want);
      }),
      { numRuns: 500 },
    );
  });

  it('registers have one name, whichever they are given', () => {
    const named = (register: number) => normalizeExpressions([{ kind: 'meta', key: 'mark', register }])[0];
    for (const [both, one] of [
      [8, 1],
      [12, 2],
      [16, 3],
      [20, 4],
    ] as const) {
      expect(named(both)).toEqual({ kind: 'meta', key: 'mark', register: one });
    }
    expect([0, 1, 2, 3, 4, 5, 8].map(registerAt)).toEqual([1, 9, 10, 11, 2, 13, 3]);
  });
});

const DECODERS: readonly ((message: NetlinkMessage) => unknown)[] = [
  decodeTable,
  decodeChain,
  decodeRule,
  decodeSet,
  decodeSetElements,
  decodeGeneration,
  decodeStatus,
];

/** Runs all decoders over a payload; anything but a value or a DecodeError fails the test. */
function tryDecoders(payload: Uint8Array): void {
  for (const type of [2, 3]) attempt(() => decodeStatus({ type, flags: 0x200, seq: 1, portId: 0, payload }));
  for (const decode of DECODERS) attempt(() => decode({ type: 0xa00, flags: 0, seq: 1, portId: 0, payload }));
}

function attempt(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

describe.each(['services', 'services6', 'expressions', 'affinity', 'changes'])('%s, damaged', (name) => {
  const golden = readFixture(name);
  const messages = splitMessages(golden);

  it('cut anywhere is a DecodeError or whole messages', () => {
    for (let length = 0; length < golden.length; length++) {
      attempt(() => {
        const cut = splitMessages(golden.subarray(0, length));
        expect(cut).toEqual(messages.slice(0, cut.length));
      });
    }
  });

  it('each message, cut anywhere, is a DecodeError or has nothing that the whole has not', () => {
    for (const message of messages.slice(1, -1)) {
      const whole = JSON.stringify(decodeNotification(message), printable);
      for (let length = 0; length < message.payload.length; length++) {
        attempt(() => {
          const { payload } = message;
          const part = decodeNotification({ ...message, payload: payload.subarray(0, length) });
          if (part.event === 'other' || part.event === 'newGeneration') throw new Error('another object');
          for (const [field, value] of Object.entries(part.value)) {
            const isDefault = ['expressions', 'elements', 'declaration'].includes(field);
            if (!isDefault)
              expect(whole).toContain(JSON.stringify({ [field]: value }, printable).slice(1, -1));
          }
        });
      }
    }
  });

  it('with any byte changed is decoded or is a DecodeError', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...messages),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        ({ payload }, changes) => {
          const changed = Buffer.from(payload);
          for (const [position, value] of changes) changed[position % changed.length] = value;
          tryDecoders(changed);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

const printable = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value);

it('random bytes are decoded or are a DecodeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      tryDecoders(bytes);
      attempt(() => splitMessages(bytes).map(decodeStatus));
      attempt(() => collectDump([bytes], 0));
    }),
    { numRuns: 3000 },
  );
});
