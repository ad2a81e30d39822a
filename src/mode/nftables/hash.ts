// A 32-bit hash of text that is the same in every process and on every node: FNV-1a with the finalizer of MurmurHash3,
// without which names that differ in their last character alone would differ in few bits.

/** 0 to 2^32 - 1. Each seed is a function of its own. */
export function hash32(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
