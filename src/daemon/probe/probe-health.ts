// What a probe's outcomes come to. No clock, no I/O.

export type ProbeOutcome = 'connected' | 'refused' | 'timeout' | 'unreachable';

/** Failures in a row that count: one may be an endpoint that has just gone. */
const FAILURE_LIMIT = 3;

export interface ProbeFacts {
  /** `10.96.0.1:443` */
  readonly address: string;
  /** It has succeeded, and has not failed three times in a row since. */
  readonly isPassing: boolean;
  /** Of the last attempt; undefined before the first. */
  readonly outcome: ProbeOutcome | undefined;
}

export class ProbeHealth {
  readonly #address: string;
  #outcome: ProbeOutcome | undefined;
  /** As many as count until the first success. */
  #failuresInARow = FAILURE_LIMIT;

  constructor(address: string) {
    this.#address = address;
  }

  ended(outcome: ProbeOutcome): void {
    this.#outcome = outcome;
    this.#failuresInARow = outcome === 'connected' ? 0 : this.#failuresInARow + 1;
  }

  get facts(): ProbeFacts {
    const isPassing = this.#failuresInARow < FAILURE_LIMIT;
    return { address: this.#address, isPassing, outcome: this.#outcome };
  }
}
