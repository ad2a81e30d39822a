// Long work in pieces: what waits in the event loop gets its turn in between.

/** Well below what anybody notices; a piece ends at the first look at the clock after this. */
const MAX_TURN_MS = 10;

export class Turn {
  #endsAtMs = performance.now() + MAX_TURN_MS;

  /** Whether it is time for `next`. */
  get isOver(): boolean {
    return performance.now() >= this.#endsAtMs;
  }

  /** Settles when all that waited has had its turn. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#endsAtMs = performance.now() + MAX_TURN_MS;
  }
}

/** So many items at a time; at least one piece, which may be empty. */
export function* inPieces<T>(items: Iterable<T>, size: number): Generator<readonly T[]> {
  let piece: T[] = [];
  for (const item of items) {
    if (piece.length === size) {
      yield piece;
      piece = [];
    }
    piece.push(item);
  }
  yield piece;
}
