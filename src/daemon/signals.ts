// Signals as promises and calls, and what stops listening for them.

export interface StopSignal {
  /** What ended it. */
  readonly received: Promise<string>;
  /** As a signal would, for another reason. */
  readonly stop: (reason: string) => void;
  readonly release: () => void;
}

/** SIGTERM or SIGINT as a promise. */
export function stopSignal(): StopSignal {
  const signals = ['SIGTERM', 'SIGINT'] as const;
  let resolve: (reason: string) => void = () => undefined;
  const received = new Promise<string>((accept) => {
    resolve = accept;
  });
  for (const signal of signals) process.on(signal, resolve);
  return {
    received,
    stop: resolve,
    release: () => {
      for (const signal of signals) process.off(signal, resolve);
    },
  };
}

/** SIGHUP, which would end the process; one that comes before somebody cares is told to whoever does then. */
export class HangUps {
  #isWaiting = false;
  #callback: (() => void) | undefined;
  readonly #listener = (): void => {
    if (this.#callback === undefined) this.#isWaiting = true;
    else this.#callback();
  };

  constructor() {
    process.on('SIGHUP', this.#listener);
  }

  /** From now on each is told. */
  tell(callback: () => void): void {
    this.#callback = callback;
    if (this.#isWaiting) callback();
    this.#isWaiting = false;
  }

  release(): void {
    process.off('SIGHUP', this.#listener);
  }
}
