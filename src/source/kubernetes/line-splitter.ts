// Cuts a byte stream into lines. Works on bytes, because a chunk may end inside a UTF-8 sequence and no byte of such a
// sequence can be a newline.

import { MalformedError } from './api-errors.ts';

const NEWLINE = 0x0a;

/** Far above any object etcd accepts (1.5 MiB by default); keeps a broken stream from filling the memory. */
export const MAX_OBJECT_BYTES = 64 * 1024 * 1024;

export class LineSplitter {
  /** Pieces of the unfinished line; joined once, so that a long line costs no more than its length. */
  #pieces: Buffer[] = [];
  #length = 0;

  /**
   * Adds a chunk and yields every line it completes, without the newline; empty lines are skipped.
   * @throws MalformedError when a line exceeds MAX_OBJECT_BYTES.
   */
  *push(chunk: Buffer): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#append(chunk.subarray(start, end));
      start = end + 1;
      const line = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#length);
      this.#pieces = [];
      this.#length = 0;
      if (line.length > 0) yield line;
    }
    if (start < chunk.length) this.#append(chunk.subarray(start));
  }

  #append(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length > MAX_OBJECT_BYTES) throw new MalformedError(`a line exceeds ${MAX_OBJECT_BYTES} bytes`);
    this.#pieces.push(piece);
  }
}
