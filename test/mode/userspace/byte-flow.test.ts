// One direction of a connection between sides that are scripted: what is there when, and what is taken when.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ByteFlow,
  type ByteSink,
  type ByteSource,
  type Progress,
} from '../../../src/mode/userspace/byte-flow.ts';

const EAGAIN = 11;
const ECONNRESET = 104;
const TURN_BYTES = 1 << 20;

/** Has what it was given, then nothing, its end or an error; as a socket it knows that it is empty once it was tried. */
class Source implements ByteSource {
  isReadable = true;
  reads = 0;
  #bytes: number[] = [];
  #end: number | undefined;

  give(bytes: readonly number[]): void {
    this.#bytes.push(...bytes);
    this.isReadable = true;
  }

  /** 0, or a negative errno. */
  end(result: number): void {
    this.#end = result;
    this.isReadable = true;
  }

  receive(buffer: Uint8Array): number {
    this.reads++;
    const some = this.#bytes.splice(0, buffer.length);
    buffer.set(some);
    if (some.length > 0) return some.length;
    if (this.#end !== undefined) return this.#end;
    this.isReadable = false;
    return -EAGAIN;
  }
}

class Sink implements ByteSink {
  isWritable = true;
  isBroken = false;
  readonly taken: number[] = [];
  endings = 0;
  #room = 0;

  make(room: number): void {
    this.#room += room;
    this.isWritable = true;
  }

  send(bytes: Uint8Array, count: number): number {
    if (this.isBroken) return -ECONNRESET;
    const sent = Math.min(count, this.#room);
    this.taken.push(...bytes.subarray(0, sent));
    this.#room -= sent;
    if (sent < count) this.isWritable = false;
    return sent;
  }

  endWriting(): void {
    this.endings++;
  }
}

/** The buffer is everybody's: whatever one flow leaves in it is another's to overwrite. */
function moveAndSpoil(flow: ByteFlow, buffer: Uint8Array): Progress {
  const progress = flow.move(buffer);
  buffer.fill(255);
  return progress;
}

const step = fc.oneof(
  fc.record({ kind: fc.constant('give' as const), bytes: fc.array(fc.nat(250), { maxLength: 40 }) }),
  fc.record({ kind: fc.constant('room' as const), room: fc.nat(30) }),
);

test('whatever comes when: all of it arrives in its order, and then its end, once', () => {
  fc.assert(
    fc.property(fc.array(step), fc.integer({ min: 1, max: 16 }), fc.nat(8), (steps, size, firstBytes) => {
      const [source, sink, buffer] = [new Source(), new Sink(), new Uint8Array(size)];
      const flow = new ByteFlow(source, sink);
      const first = Array.from({ length: firstBytes }, (_, i) => i);
      flow.begin(Uint8Array.from(first));
      const given = [...first];
      for (const one of steps) {
        if (one.kind === 'room') sink.make(one.room);
        else {
          source.give(one.bytes);
          given.push(...one.bytes);
        }
        expect(moveAndSpoil(flow, buffer)).toBe('waiting');
        // What was received and not sent is kept, and is no more than a buffer's worth.
        expect([...sink.taken, ...flow.unsent]).toEqual(given.slice(0, firstBytes + flow.received));
        expect(flow.unsent.length).toBeLessThanOrEqual(Math.max(size, firstBytes));
        expect(sink.endings).toBe(0);
      }
      source.end(0);
      sink.make(given.length);
      expect(moveAndSpoil(flow, buffer)).toBe('ended');
      expect(moveAndSpoil(flow, buffer)).toBe('ended');
      expect(sink.taken).toEqual(given);
      expect([sink.endings, flow.hasEnded, flow.received]).toEqual([1, true, given.length - firstBytes]);
    }),
  );
});

test('nothing is read for a side that is full', () => {
  const [source, sink] = [new Source(), new Sink()];
  const flow = new ByteFlow(source, sink);
  source.give([1, 2, 3]);
  sink.make(2);
  expect(flow.move(new Uint8Array(8))).toBe('waiting');
  expect([sink.taken, [...flow.unsent]]).toEqual([[1, 2], [3]]);
  const { reads } = source;
  source.give([4]);
  source.end(0);
  expect(flow.move(new Uint8Array(8))).toBe('waiting');
  expect(source.reads).toBe(reads);
  expect([...flow.unsent]).toEqual([3]);
  // Nor for one that became full with the last byte that there was.
  const [other, full] = [new Source(), new Sink()];
  full.isWritable = false;
  other.give([1]);
  expect(new ByteFlow(other, full).move(new Uint8Array(8))).toBe('waiting');
  expect(other.reads).toBe(0);
});

test('after a turn it is others’ turn, however much there is', () => {
  const buffer = new Uint8Array(1000);
  let sent = 0;
  const endless: ByteSource = { isReadable: true, receive: ({ length }) => length };
  const greedy: ByteSink = {
    isWritable: true,
    send: (_bytes, count) => {
      sent += count;
      return count;
    },
    endWriting: () => undefined,
  };
  const flow = new ByteFlow(endless, greedy);
  for (let turn = 1; turn <= 3; turn++) {
    expect(flow.move(buffer)).toBe('more');
    expect(sent).toBe(flow.received);
    expect(sent).toBeGreaterThanOrEqual(turn * TURN_BYTES);
    expect(sent).toBeLessThan(turn * (TURN_BYTES + buffer.length));
  }
});

describe('broken is told', () => {
  const pair = (): { source: Source; sink: Sink; flow: ByteFlow } => {
    const [source, sink] = [new Source(), new Sink()];
    sink.make(100);
    return { source, sink, flow: new ByteFlow(source, sink) };
  };

  test('of the side that is read, after all that it had said', () => {
    const { source, sink, flow } = pair();
    source.give([1, 2]);
    source.end(-ECONNRESET);
    expect(flow.move(new Uint8Array(8))).toBe('broken');
    expect([sink.taken, sink.endings, flow.hasEnded]).toEqual([[1, 2], 0, false]);
  });

  test('of the side that is written', () => {
    const { source, sink, flow } = pair();
    source.give([1]);
    sink.isBroken = true;
    expect(flow.move(new Uint8Array(8))).toBe('broken');
  });

  test('of the side that is written, with what was kept for it', () => {
    const { sink, flow } = pair();
    flow.begin(Uint8Array.of(1));
    sink.isBroken = true;
    expect(flow.move(new Uint8Array(8))).toBe('broken');
  });
});
