// SHA-256 (FIPS 180-4), synchronous and without I/O: the names of kube-proxy's chains are made of it. A pure folder may
// not import node:crypto, and the 60,000 names of a large cluster take 0.1 s here.

const FRACTION = 2 ** 32;
const PRIMES = [...primes(64)];
/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2). */
const ROUND = Int32Array.from(PRIMES, (prime) => (Math.cbrt(prime) % 1) * FRACTION);
/** The same of the square roots of the first 8 primes (section 5.3.3). */
const INITIAL = Int32Array.from(PRIMES.slice(0, 8), (prime) => (Math.sqrt(prime) % 1) * FRACTION);

const BLOCK_BYTES = 64;
const encoder = new TextEncoder();
// Used again for each text: there are tens of thousands of them at once.
const state = new Int32Array(8);
const schedule = new Int32Array(64);
let padded = new Uint8Array(4 * BLOCK_BYTES);
let paddedView = new DataView(padded.buffer);

/** The 32 bytes of the digest of `text` in UTF-8. */
export function sha256(text: string): Uint8Array {
  const blocks = pad(text);
  state.set(INITIAL);
  for (let block = 0; block < blocks; block++) compress(block * BLOCK_BYTES);
  const digest = new Uint8Array(32);
  const view = new DataView(digest.buffer);
  for (let i = 0; i < 8; i++) view.setInt32(4 * i, state[i]!);
  return digest;
}

/** Writes the message, a one bit, zeros and the length in bits; returns how many blocks that makes (section 5.1.1). */
function pad(text: string): number {
  // A UTF-16 unit is at most 3 bytes of UTF-8.
  const room = 3 * text.length + 1 + 8 + BLOCK_BYTES;
  if (padded.length < room) {
    padded = new Uint8Array(room);
    paddedView = new DataView(padded.buffer);
  }
  const { written } = encoder.encodeInto(text, padded);
  const blocks = Math.ceil((written + 1 + 8) / BLOCK_BYTES);
  const end = blocks * BLOCK_BYTES;
  padded.fill(0, written, end);
  padded[written] = 0x80;
  paddedView.setUint32(end - 8, Math.floor((written * 8) / FRACTION));
  paddedView.setUint32(end - 4, written * 8);
  return blocks;
}

/** Section 6.2.2, over the block of `padded` at `offset`. */
function compress(offset: number): void {
  const w = schedule;
  for (let t = 0; t < 16; t++) w[t] = paddedView.getInt32(offset + 4 * t);
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const small0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const small1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    w[t] = (w[t - 16]! + small0 + w[t - 7]! + small1) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + big1 + ((e & f) ^ (~e & g)) + ROUND[t]! + w[t]!) | 0;
    const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

function* primes(count: number): Generator<number> {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    if (found.some((prime) => n % prime === 0)) continue;
    found.push(n);
    yield n;
  }
}
