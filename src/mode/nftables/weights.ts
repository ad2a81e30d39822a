// Weights as repeated slots: how many slots each backend gets, and in which order they are dealt.

/** Most slots of one side: what a number of 16 bits counts. */
export const MAX_SLOTS = 65_535;

/**
 * How many slots each backend gets: in proportion to its weight, as few as that takes, and one at least. Where
 * `MAX_SLOTS` would not do, the proportion is only nearly kept.
 */
export function slotShares(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  const shares = weights.map((weight) => weight / divisor);
  let total = shares.reduce((sum, share) => sum + share, 0);
  if (total <= MAX_SLOTS || weights.length >= MAX_SLOTS) return total <= MAX_SLOTS ? shares : shares.fill(1);
  for (let scale = total / MAX_SLOTS; ; scale *= 1.01) {
    const scaled = shares.map((share) => Math.max(1, Math.floor(share / scale)));
    total = scaled.reduce((sum, share) => sum + share, 0);
    if (total <= MAX_SLOTS) return scaled;
  }
}

/** Each value as often as its share says, in rounds, so that one that counts through them meets all early. */
export function deal<T>(values: readonly T[], shares: readonly number[]): T[] {
  const dealt: T[] = [];
  const rounds = shares.reduce((most, share) => Math.max(most, share), 0);
  for (let round = 0; round < rounds; round++) {
    for (const [i, value] of values.entries()) if (shares[i]! > round) dealt.push(value);
  }
  return dealt;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
