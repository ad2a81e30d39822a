// Runs a script of test/native/child in a network namespace; it prints one JSON value for its test to judge.

import { fileURLToPath } from 'node:url';
import type { Netns } from '../support/netns/netns.ts';

const register = new URL('../../scripts/register-typescript.mjs', import.meta.url).href;

export interface ChildOptions {
  readonly nodeFlags?: readonly string[];
  /** A command that runs node, such as `setpriv …`. */
  readonly wrapper?: readonly string[];
}

export async function runChild<T>(netns: Netns, name: string, options: ChildOptions = {}): Promise<T> {
  const script = fileURLToPath(new URL(`./child/${name}`, import.meta.url));
  const node = [process.execPath, ...(options.nodeFlags ?? []), '--import', register, script];
  const output = await netns.exec([...(options.wrapper ?? []), ...node], { timeoutMs: 28_000 });
  return JSON.parse(output) as T;
}
