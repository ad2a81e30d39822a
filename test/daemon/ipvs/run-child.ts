// Runs a script of test/daemon/ipvs/child in a fresh network namespace: it uses netlink there, and prints one JSON value.

import { fileURLToPath } from 'node:url';
import { Netns } from '../../support/netns/netns.ts';

const REGISTER = fileURLToPath(new URL('../../../scripts/register-typescript.mjs', import.meta.url));

/** The guest's processor is emulated. */
const TIMEOUT_MS = 240_000;

/** @throws CommandError when the script fails. */
export async function runChild<T>(name: string): Promise<T> {
  const script = fileURLToPath(new URL(`child/${name}`, import.meta.url));
  const netns = await Netns.create('ipvs');
  try {
    const argv = [process.execPath, '--import', REGISTER, script];
    return JSON.parse(await netns.exec(argv, { timeoutMs: TIMEOUT_MS })) as T;
  } finally {
    await netns.delete();
  }
}
