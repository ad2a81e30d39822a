// Userdata: bytes that the kernel stores for user space. nft keeps comments there, as type-length-value with one byte
// each for type and length (libnftnl, udata.h). Whatever does not parse so belongs to another program: no comment.

import { InternalError } from '../../errors.ts';
import type { Codec } from '../codec.ts';
import type { Reader } from '../reader.ts';
import type { Writer } from '../writer.ts';

/** NFTNL_UDATA_{TABLE,CHAIN,RULE,SET_ELEM}_COMMENT: the same for all of them. */
const COMMENT = 0;
/** Ours, ignored by nft: what a comment has beyond the bytes that nft accepts. */
const COMMENT_TAIL = 0xf0;
/** nft reads comments of up to 128 bytes with the terminating NUL (NFTNL_UDATA_COMMENT_MAXLEN). */
const MAX_COMMENT_BYTES = 127;
/** NFT_USERDATA_MAXLEN 256, less two headers, the comment and its NUL. */
export const MAX_COMMENT_WITH_TAIL_BYTES = 256 - 2 - MAX_COMMENT_BYTES - 1 - 2 + MAX_COMMENT_BYTES;

/**
 * A comment of up to 251 bytes of UTF-8: nft shows the first 127, the rest travels in an entry of its own.
 * A longer one is an InternalError.
 */
export const comment: Codec<string | undefined> = {
  encode(writer, value) {
    const text = value ?? '';
    const start = beginEntry(writer, COMMENT);
    writer.text(text);
    const count = writer.length - start - 2;
    if (count <= MAX_COMMENT_BYTES) {
      writer.u8(0);
      endEntry(writer, start);
      return;
    }
    if (count > MAX_COMMENT_WITH_TAIL_BYTES) {
      throw new InternalError(`comment of ${count} bytes, ${MAX_COMMENT_WITH_TAIL_BYTES} fit: ${text}`);
    }
    writer.truncate(start);
    encodeLong(writer, Buffer.from(text));
  },
  decode(reader) {
    let text: string | undefined;
    forEachEntry(reader, (type) => {
      if (type === COMMENT) text = reader.text();
      else if (type === COMMENT_TAIL) text = (text ?? '') + reader.text();
    });
    return text === '' ? undefined : text;
  },
};

function encodeLong(writer: Writer, bytes: Uint8Array): void {
  let cut = MAX_COMMENT_BYTES;
  while ((bytes[cut]! & 0xc0) === 0x80) cut--;
  const head = beginEntry(writer, COMMENT);
  writer.bytesOf(bytes.subarray(0, cut));
  writer.u8(0);
  endEntry(writer, head);
  const tail = beginEntry(writer, COMMENT_TAIL);
  writer.bytesOf(bytes.subarray(cut));
  endEntry(writer, tail);
}

/** Starts an entry; `endEntry` takes what this returns. */
export function beginEntry(writer: Writer, type: number): number {
  const start = writer.length;
  writer.u8(type);
  writer.u8(0);
  return start;
}

/** Patches the length. Throws InternalError if it does not fit its byte. */
export function endEntry(writer: Writer, start: number): void {
  const length = writer.length - start - 2;
  if (length > 0xff) throw new InternalError(`userdata entry of ${length} bytes, 255 fit`);
  writer.patchU8(start + 1, length);
}

/** Calls `read` for each entry with the reader narrowed to its value. Returns false if the bytes end inside one. */
export function forEachEntry(reader: Reader, read: (type: number) => void): boolean {
  const end = reader.end;
  while (end - reader.offset >= 2) {
    const type = reader.u8();
    const next = reader.u8() + reader.offset;
    if (next > end) {
      reader.offset = end;
      return false;
    }
    reader.end = next;
    read(type);
    reader.offset = next;
    reader.end = end;
  }
  const isComplete = reader.offset === end;
  reader.offset = end;
  return isComplete;
}
