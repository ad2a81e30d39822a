// Runs a script of test/native/child in a fresh network namespace; it prints one JSON value for its test to judge.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Netns } from '../support/netns/netns.ts';

export interface ChildOptions {
  /** A command that runs node, such as `setpriv …`. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where the package, or a copy of it, is. */
  readonly root?: string;
}

/** @throws CommandError when the script fails. */
export async function runChild(name: string, options: ChildOptions = {}): Promise<Record<string, unknown>> {
  const root = options.root ?? fileURLToPath(new URL('../..', import.meta.url));
  const script = join(root, 'test', 'native', 'child', name);
  const register = join(root, 'scripts', 'register-typescript.mjs');
  const node = [process.execPath, '--expose-gc', '--import', register, script];
  const netns = await Netns.create('native');
  try {
    const argv = [...(options.wrapper ?? []), ...node];
    return JSON.parse(await netns.exec(argv, { timeoutMs: 28_000, env: options.env ?? {} }));
  } finally {
    await netns.delete();
  }
}
