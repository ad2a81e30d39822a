// One direction of a connection: what comes from one side goes to the other, and so does its end.
//
// INVARIANTS: what was received is sent in the same order, once. Nothing is received while something is unsent, so at most one
// buffer's worth is held, and nothing of an idle connection.

/** Where bytes come from. */
export interface ByteSource {
  /** False while it is known that there is nothing. */
  readonly isReadable: boolean;
  /** How many bytes it put into the buffer, 0 at the end, or a negative errno, which is no failure when it is not readable any more. */
  receive(buffer: Uint8Array): number;
}

/** Where they go. */
export interface ByteSink {
  /** False while it is known to be full. */
  readonly isWritable: boolean;
  /** How many of the first `count` bytes it took, all of them while it is writable; or a negative errno when it takes none any more. */
  send(bytes: Uint8Array, count: number): number;
  /** Says that this was all. That nobody hears it is found out by who reads from there. */
  endWriting(): void;
}

/**
 * `waiting`: one of the sides has to become able to do more. `more`: there may be more at once, after others have had their turn.
 * `ended`: all that there was has been sent, and its end has been told. `broken`: one side is no more, without having said so.
 */
export type Progress = 'waiting' | 'more' | 'ended' | 'broken';

/** After so many bytes it is others' turn: less than a millisecond's worth. */
const TURN_BYTES = 1 << 20;

const NOTHING = new Uint8Array(0);

export class ByteFlow {
  readonly #from: ByteSource;
  readonly #to: ByteSink;
  #unsent: Uint8Array = NOTHING;
  #received = 0;
  #hasEnded = false;

  constructor(from: ByteSource, to: ByteSink) {
    this.#from = from;
    this.#to = to;
  }

  /** Bytes so far, but for those that were there from the beginning. */
  get received(): number {
    return this.#received;
  }

  /** Received and not sent yet, or there from the beginning. */
  get unsent(): Uint8Array {
    return this.#unsent;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Bytes that go first; before anything is moved. */
  begin(bytes: Uint8Array): void {
    this.#unsent = bytes;
  }

  /** Moves what can be moved now, by way of `buffer`, where nothing is left. */
  move(buffer: Uint8Array): Progress {
    if (this.#hasEnded) return 'ended';
    const start = this.#received;
    for (;;) {
      if (!this.#to.isWritable) return 'waiting';
      if (this.#unsent.length > 0) {
        if (!this.#send(this.#unsent, this.#unsent.length)) return 'broken';
        continue;
      }
      if (!this.#from.isReadable) return 'waiting';
      if (this.#received - start >= TURN_BYTES) return 'more';
      const size = this.#from.receive(buffer);
      if (size < 0) return this.#from.isReadable ? 'broken' : 'waiting';
      if (size === 0) {
        this.#hasEnded = true;
        this.#to.endWriting();
        return 'ended';
      }
      this.#received += size;
      if (!this.#send(buffer, size)) return 'broken';
    }
  }

  /** False when the other side is no more. What it does not take now is kept. */
  #send(bytes: Uint8Array, count: number): boolean {
    const sent = this.#to.send(bytes, count);
    if (sent < 0) return false;
    if (sent === count) this.#unsent = NOTHING;
    // The buffer is everybody's.
    else this.#unsent = bytes === this.#unsent ? bytes.subarray(sent) : bytes.slice(sent, count);
    return true;
  }
}
