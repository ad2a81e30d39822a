// What the scripts here share: programs in this network namespace, and waiting for a condition.

import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { KproxyError } from '../../../../src/errors.ts';

/** What a program prints; throws when it fails. */
export function run(command: string, input = ''): string {
  const [program = '', ...args] = command.split(' ');
  return execFileSync(program, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** Resolves when it holds; rejects after 20 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition.toString()}`);
    await sleep(5);
  }
}

/** The code of what a promise rejects with; undefined when it resolves. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (error instanceof KproxyError) return error.code;
    throw error;
  }
}

export function print(value: unknown): void {
  process.stdout.write(JSON.stringify(value));
}
