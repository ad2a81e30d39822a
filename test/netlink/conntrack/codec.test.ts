// The ctnetlink codec against what the kernel sent and the conntrack tool asked for; cut, changed and random bytes are
// decoded or are a DecodeError, nothing else.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError, KernelError } from '../../../src/errors.ts';
import { readFlowDump } from '../../../src/netlink/conntrack/dump.ts';
import { decodeFlow, type Flow, flowAttributes } from '../../../src/netlink/conntrack/flow.ts';
import {
  encodeFlowDeletion,
  encodeFlowDump,
  encodeStatsQuery,
} from '../../../src/netlink/conntrack/request.ts';
import { splitMessages } from '../../../src/netlink/message.ts';
import { Writer } from '../../../src/netlink/writer.ts';
import { differenceOf } from '../support/compare.ts';
import { cutMessages, parseHex } from '../support/hex.ts';
import { attribute, be32, i32, message, u32 } from '../support/naive.ts';
import { FLOWS, FLOWS6, packed } from './golden.ts';

const fixture = (name: string): Buffer =>
  parseHex(readFileSync(new URL(`fixtures/${name}.hex`, import.meta.url), 'utf8'));

const DUMPS = [
  ['flows', fixture('flows'), FLOWS],
  ['flows6', fixture('flows6'), FLOWS6],
] as const;

/** struct nfgenmsg */
const header = (family: number): Buffer => Buffer.from([family, 0, 0, 0]);
const byte = (value: number): Buffer => Buffer.from([value]);
const be16 = (value: number): Buffer => Buffer.from([value >>> 8, value & 255]);

/** All flows of a dump in one list, and whether it was interrupted. */
function readAll(datagrams: readonly Buffer[], seq: number): { flows: Flow[]; isInterrupted: boolean } {
  const dump = readFlowDump(datagrams, seq, 'list flows');
  const flows: Flow[] = [];
  for (let step = dump.next(); ; step = dump.next()) {
    if (step.done) return { flows, isInterrupted: step.value };
    flows.push(...step.value);
  }
}

/** The kernel's ids differ with every boot. */
const withoutId = (flow: Flow): Flow => ({ ...flow, id: 0 });

function attempt(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

describe.each(DUMPS)('%s', (_, bytes, flows) => {
  const messages = splitMessages(bytes);
  const seq = messages[0]!.seq;

  it('decodes to the flows that were made', () => {
    const read = readAll([bytes], seq);
    expect(read.flows.map(withoutId)).toEqual(flows);
    expect(new Set(read.flows.map(({ id }) => id)).size).toBe(flows.length);
    expect(read.isInterrupted).toBe(false);
  });

  it('cut anywhere has no end, or is a DecodeError', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readAll([bytes.subarray(0, length)], seq)).toThrow(DecodeError);
    }
  });

  it('each flow, cut anywhere, is a DecodeError or lacks only what is optional', () => {
    for (const one of messages.slice(0, -1)) {
      const whole = decodeFlow(one);
      for (let length = 0; length < one.payload.length; length++) {
        attempt(() =>
          expect(whole).toMatchObject(decodeFlow({ ...one, payload: one.payload.subarray(0, length) })),
        );
      }
    }
  });

  it('with any byte changed is decoded or is a DecodeError', () => {
    fc.assert(
      fc.property(fc.constantFrom(...messages), fc.nat(), fc.nat(255), (one, position, value) => {
        const payload = Buffer.from(one.payload);
        payload[position % payload.length] = value;
        attempt(() => decodeFlow({ ...one, payload }));
      }),
      { numRuns: 2000 },
    );
  });
});

it('random bytes are decoded or are a DecodeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
      attempt(() => decodeFlow({ type: 0x100, flags: 2, seq: 1, portId: 0, payload }));
      attempt(() => readAll([Buffer.from(payload)], 0));
    }),
    { numRuns: 2000 },
  );
});

it('what is encoded decodes to itself', () => {
  const u32Value = fc.nat(2 ** 32 - 1);
  const tuple = (length: number) => {
    const address = fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((ip) => String.fromCharCode(...ip));
    const port = fc.nat(65535);
    const fields = { sourcePort: port, destinationPort: port, zone: port };
    return fc.record(
      { source: address, destination: address, protocol: fc.nat(255), ...fields },
      { requiredKeys: ['source', 'destination', 'protocol'] },
    );
  };
  for (const [family, length] of [
    [4, 4],
    [6, 16],
  ] as const) {
    const flow = fc.record(
      {
        original: tuple(length),
        reply: tuple(length),
        status: u32Value,
        timeoutSec: u32Value,
        mark: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        zone: fc.nat(65535),
        id: u32Value,
      },
      { requiredKeys: ['original', 'reply'] },
    );
    fc.assert(
      fc.property(flow, (one) => {
        const writer = new Writer();
        writer.bytesOf(header(family === 4 ? 2 : 10));
        flowAttributes[family].encode(writer, one);
        const decoded = decodeFlow({ type: 0x100, flags: 2, seq: 1, portId: 0, payload: writer.bytes() });
        expect(decoded).toEqual({ ...one, family });
      }),
    );
  }
});

describe('a dump', () => {
  const [flow] = cutMessages(fixture('flows'));
  const seq = splitMessages(flow!)[0]!.seq;
  const done = message(3, 2, seq, i32(0));

  it('is read one datagram at a time', () => {
    const dump = readFlowDump([Buffer.concat([flow!, flow!]), flow!, done], seq, 'list flows');
    expect([dump.next(), dump.next(), dump.next()].map(({ value }) => (value as Flow[]).length)).toEqual([
      2, 1, 0,
    ]);
    expect(dump.next()).toEqual({ done: true, value: false });
  });

  it('leaves out what answers another request', () => {
    const other = Buffer.from(flow!);
    other.writeUInt32LE(seq + 1, 8);
    expect(readAll([other, flow!, done], seq).flows).toHaveLength(1);
  });

  it('says when it was interrupted', () => {
    const marked = Buffer.from(flow!);
    marked.writeUInt16LE(0x12, 6);
    expect(readAll([marked, flow!, done], seq).isInterrupted).toBe(true);
    expect(readAll([flow!, message(3, 0x12, seq, i32(0))], seq).isInterrupted).toBe(true);
  });

  it('that is refused is a KernelError which names the operation', () => {
    const refused = message(2, 0x100, seq, i32(-1), Buffer.alloc(16));
    expect(() => readAll([refused], seq)).toThrow(KernelError);
    expect(() => readAll([refused], seq)).toThrow('list flows: EPERM');
  });
});

describe('a request', () => {
  it('lists by protocol, port and address, as far as the kernel can', () => {
    const wanted = message(
      0x101,
      0x301,
      7,
      header(2),
      attribute(1, [
        attribute(1, [attribute(2, Buffer.from([10, 96, 0, 10]))]),
        attribute(2, [attribute(1, byte(17)), attribute(3, be16(53))]),
      ]),
      attribute(25, [attribute(1, u32(0b101010))]),
    );
    const filter = { protocol: 17, destination: packed('10.96.0.10'), destinationPort: 53 };
    expect(differenceOf(encodeFlowDump(4, filter, 7), wanted)).toBeUndefined();

    const wanted6 = message(
      0x101,
      0x301,
      8,
      header(10),
      attribute(1, [attribute(2, [attribute(1, byte(17))])]),
      attribute(25, [attribute(1, u32(0b001000))]),
    );
    expect(differenceOf(encodeFlowDump(6, { protocol: 17 }, 8), wanted6)).toBeUndefined();
  });

  it('that only wants an answer', () => {
    expect(differenceOf(encodeStatsQuery(9), message(0x105, 0x5, 9, header(2)))).toBeUndefined();
  });

  it('deletes by the tuple of the answers, spelt as the conntrack tool does, zone and id', () => {
    const tool = fixture('delete');
    // Behind the headers: tuple of the original (52 bytes), of the reply (52), status, timeout, mark, zone.
    const reply = tool.subarray(20 + 52, 20 + 104);
    const zone = tool.subarray(20 + 104 + 24, 20 + 104 + 32);
    const wanted = message(0x102, 0x5, 3, header(2), reply, zone, attribute(12, be32(0x12345678)));
    const writer = new Writer();
    encodeFlowDeletion(writer, { ...FLOWS[1]!, id: 0x12345678 }, 3);
    expect(differenceOf(writer.bytes(), wanted)).toBeUndefined();
  });
});

it('reads 250,000 flows in less than two seconds of processor time', () => {
  const [one] = cutMessages(fixture('flows'));
  const seq = splitMessages(one!)[0]!.seq;
  const datagram = Buffer.concat(Array.from({ length: 150 }, () => one!));
  const datagrams = Array.from({ length: 1667 }, () => datagram);
  const start = process.cpuUsage();
  const { flows } = readAll([...datagrams, message(3, 2, seq, i32(0))], seq);
  expect(flows).toHaveLength(250_050);
  expect(process.cpuUsage(start).user / 1000).toBeLessThan(2000);
});
