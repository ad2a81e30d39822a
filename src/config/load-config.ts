// The configuration file from the disk.

import { readConfigFile } from './config-file.ts';
import type { ConfigFile } from './fields.ts';
import { printable } from './printable.ts';
import { readAtMost } from './read-at-most.ts';
import { CONFIG_FLAGS } from './settings.ts';

/** Bytes: what a ConfigMap can hold. */
const MAX_SIZE = 1024 * 1024;

/** Never rejects for what is wrong with the file: that is among its errors, each beginning with its path. */
export async function loadConfig(path: string): Promise<ConfigFile> {
  const { fields, errors } = await read(path);
  return { fields, errors: errors.map((error) => `${printable(path)}: ${error}`) };
}

async function read(path: string): Promise<ConfigFile> {
  let bytes: Buffer;
  try {
    bytes = await readAtMost(path, MAX_SIZE + 1);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return { fields: new Map(), errors: [`cannot be read (${code})`] };
  }
  if (bytes.length > MAX_SIZE) {
    return { fields: new Map(), errors: [`is larger than ${MAX_SIZE} bytes`] };
  }
  return readConfigFile(bytes.toString('utf8'), CONFIG_FLAGS);
}
