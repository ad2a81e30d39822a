// Registers of nf_tables. The same memory has two numberings: 1 to 4 are 16 bytes each, 8 to 23 (NFT_REG32_00 to
// NFT_REG32_15) are 4 bytes each, so 8 is the start of 1, 12 of 2, 16 of 3 and 20 of 4; 0 is the verdict.
// Here, as in kernel dumps and in nft's own requests, a register on a 16-byte boundary has its old name, 1 to 4, and the
// others have theirs, 9 to 11, 13 to 15, 17 to 19, 21 to 23. A field longer than 4 bytes reaches into the following ones.

import { type Codec, u32be } from '../codec.ts';

/** A verdict goes here instead of data. */
export const VERDICT_REGISTER = 0;

/** The one name of a register that has two. */
export function canonicalRegister(register: number): number {
  return register >= 8 && register % 4 === 0 ? register / 4 - 1 : register;
}

/** The register `index` 4-byte words after the first: 1, 9, 10, 11, 2, 13, … */
export function registerAt(index: number): number {
  return canonicalRegister(8 + index);
}

export const register: Codec<number> = {
  encode: (writer, value) => writer.u32be(canonicalRegister(value)),
  decode: (reader) => canonicalRegister(u32be.decode(reader)),
};
