// The kernel's jhash of bytes (linux/jhash.h, Bob Jenkins' lookup3) as nft_hash.c uses it.

import { isLittleEndian } from './registers.ts';

const INITVAL = 0xdeadbeef;
const rotate = (word: number, shift: number): number => (word << shift) | (word >>> (32 - shift));

/** 32 bits, unsigned. `data` is a binary string. */
export function jhash(data: string, seed: number): number {
  let a = (INITVAL + data.length + seed) | 0;
  let b = a;
  let c = a;
  const byte = (i: number): number => (i < data.length ? data.charCodeAt(i) : 0);
  // Whole words are read as the machine has them, the bytes of the last ones are put together from the lowest.
  const word = (at: number, isWhole: boolean): number =>
    isWhole && !isLittleEndian
      ? (byte(at) << 24) | (byte(at + 1) << 16) | (byte(at + 2) << 8) | byte(at + 3)
      : byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
  let at = 0;
  for (; data.length - at > 12; at += 12) {
    a = (a + word(at, true)) | 0;
    b = (b + word(at + 4, true)) | 0;
    c = (c + word(at + 8, true)) | 0;
    a = ((a - c) | 0) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  if (at === data.length) return c >>> 0;
  a = (a + word(at, false)) | 0;
  b = (b + word(at + 4, false)) | 0;
  c = (c + word(at + 8, false)) | 0;
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c >>> 0;
}

/** linux/kernel.h: maps 32 bits to 0 … `modulus - 1`. */
export function reciprocalScale(value: number, modulus: number): number {
  return Number((BigInt(value) * BigInt(modulus)) >> 32n);
}
