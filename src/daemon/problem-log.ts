// Tells each problem with the input once when it appears, and once when it is gone.

import type { Problem } from '../model/types.ts';
import type { Log } from './log.ts';

export class ProblemLog {
  readonly #log: Log;
  #shown = new Map<string, Problem>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Takes all present problems, and returns those that are new. */
  show(problems: readonly Problem[]): Problem[] {
    const present = new Map(
      problems.map((problem) => [`${problem.subject}\0${problem.code}\0${problem.reason}`, problem]),
    );
    const added = [...present].filter(([key]) => !this.#shown.has(key)).map(([, problem]) => problem);
    for (const { subject, code, reason } of added) this.#log.warn({ subject, code, reason }, 'problem');
    const subjects = new Set(problems.map(({ subject }) => subject));
    for (const { subject } of this.#shown.values()) {
      if (!subjects.has(subject)) this.#log.info({ subject }, 'problem solved');
    }
    this.#shown = present;
    return added;
  }
}
