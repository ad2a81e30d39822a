// A file that others read never stands there half written.

import { open, rename, rm } from 'node:fs/promises';
import { ConfigError } from '../errors.ts';
import { printable } from './printable.ts';

/** Writes beside `path` and renames. Throws ConfigError. */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code !== 'EEXIST') await rm(temporary, { force: true });
    throw new ConfigError(`${printable(path)}: cannot be written (${code})`, { cause: error });
  }
}
