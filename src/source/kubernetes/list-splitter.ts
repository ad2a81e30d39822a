// Takes a Kubernetes list apart while it arrives, one item at a time. A server may answer with the whole collection
// in one body, tens of megabytes for a large cluster: decoding that at once would block the event loop and double the
// memory. Here an item's bytes are garbage as soon as it is decoded.

import { MalformedError } from './api-errors.ts';
import { decodeJson, isRecord } from './json.ts';
import { MAX_OBJECT_BYTES } from './line-splitter.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Turns `[` into `{` and `]` into `}`, and no other byte into either. */
const BRACKET_TO_BRACE = 0x20;

/** What a list says about itself (meta/v1 ListMeta). */
export interface ListMeta {
  readonly resourceVersion: string;
  /** Token of the next page, '' on the last one. */
  readonly continueToken: string;
}

/**
 * Everything except the items goes into an envelope, with `0` in the place of each item. So one JSON.parse of the
 * envelope checks the syntax around the items, and the fields of a list may come in any order.
 */
export class ListSplitter {
  /** Bytes, one per character (latin1). */
  #envelope = '';
  /** Earlier pieces of the item or envelope part that is being read. */
  #pieces: Buffer[] = [];
  #length = 0;
  #itemCount = 0;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #isInItems = false;

  /**
   * Adds a chunk and yields every item it completes.
   * @throws MalformedError when an item is not JSON or too large.
   */
  *push(chunk: Buffer): Generator<unknown> {
    let start = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#isInString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#isInString = false;
      } else if (byte === QUOTE) {
        this.#isInString = true;
      } else if ((byte | BRACKET_TO_BRACE) === OPEN) {
        if (this.#depth === 1 && byte !== OPEN) {
          this.#append(chunk.subarray(start, i));
          start = i;
          this.#flushEnvelope();
          this.#isInItems = /[{,\s]"items"\s*:\s*$/.test(this.#envelope.slice(-100));
        } else if (this.#depth === 2 && this.#isInItems && byte === OPEN) {
          this.#append(chunk.subarray(start, i));
          start = i;
          this.#flushEnvelope();
        }
        this.#depth++;
      } else if ((byte | BRACKET_TO_BRACE) === CLOSE) {
        this.#depth--;
        if (this.#depth === 2 && this.#isInItems && byte === CLOSE) {
          this.#append(chunk.subarray(start, i + 1));
          start = i + 1;
          yield this.#takeItem();
        } else if (this.#depth === 1) {
          this.#isInItems = false;
        }
      }
    }
    if (start < chunk.length) this.#append(chunk.subarray(start));
  }

  /**
   * What the list said about itself, once every chunk has been pushed.
   * @throws MalformedError when the body was not a complete list.
   */
  end(): ListMeta {
    this.#flushEnvelope();
    const list = decode(Buffer.from(this.#envelope, 'latin1'), 'list');
    if (!isRecord(list) || !isRecord(list['metadata'])) throw new MalformedError('list: no metadata');
    const { resourceVersion, continue: token } = list['metadata'];
    if (typeof resourceVersion !== 'string' || resourceVersion === '') {
      throw new MalformedError('list: metadata.resourceVersion is missing');
    }
    // Go encodes a nil slice as null.
    const items = list['items'] ?? (list['items'] === null ? [] : undefined);
    if (!Array.isArray(items) || items.length !== this.#itemCount) {
      throw new MalformedError('list: items is not an array of objects');
    }
    return { resourceVersion, continueToken: typeof token === 'string' ? token : '' };
  }

  #append(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length + this.#envelope.length > MAX_OBJECT_BYTES) {
      throw new MalformedError(`list: an object exceeds ${MAX_OBJECT_BYTES} bytes`);
    }
    if (piece.length > 0) this.#pieces.push(piece);
  }

  #flushEnvelope(): void {
    for (const piece of this.#take()) this.#envelope += piece.toString('latin1');
  }

  #takeItem(): unknown {
    this.#envelope += '0';
    this.#itemCount++;
    return decode(join(this.#take()), `list item ${this.#itemCount - 1}`);
  }

  #take(): Buffer[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#length = 0;
    return pieces;
  }
}

function decode(bytes: Buffer, what: string): unknown {
  try {
    return decodeJson(bytes);
  } catch (cause) {
    throw new MalformedError(`${what}: ${(cause as Error).message}`, undefined, { cause });
  }
}

function join(pieces: readonly Buffer[]): Buffer {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}
