// A checkpoint on disk. It is written beside the last one and takes its place when all of it has reached the disk, so that
// there is always a whole one, whenever the power goes. Nothing here takes the event loop for longer than one piece does.

import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { getSystemErrorName } from 'node:util';
import { KernelError } from '../../errors.ts';
import { LineSplitter } from '../../source/kubernetes/line-splitter.ts';
import { CheckpointDecoder, type CheckpointOwner, type Unusable } from './checkpoint-format.ts';

/** Neither written nor read: some four times what 50,000 Services of 5 endpoints take. */
export const MAX_CHECKPOINT_BYTES = 256 * 1024 * 1024;

const FILE = 'checkpoint';
/** One is enough: one daemon at a time writes here. What a crash left behind is written over. */
const UNFINISHED_FILE = 'checkpoint.unfinished';

export const checkpointPath = (folder: string): string => path.join(folder, FILE);

/**
 * Writes the pieces, which are asked for one at a time, and returns how many bytes there were. The last checkpoint stays unless
 * all goes well. Throws KernelError: ENOSPC and whatever else the file system says, EFBIG beyond `maxBytes`.
 */
export async function writeCheckpoint(
  folder: string,
  pieces: Iterable<Uint8Array>,
  maxBytes = MAX_CHECKPOINT_BYTES,
): Promise<number> {
  const unfinished = path.join(folder, UNFINISHED_FILE);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const bytes = await writeDurably(unfinished, pieces, maxBytes);
    await rename(unfinished, checkpointPath(folder));
    await syncFolder(folder);
    return bytes;
  } catch (error) {
    // On a full disk the rest of what was not finished would keep others from writing.
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw error instanceof KernelError ? error : toKernelError(error, `write ${checkpointPath(folder)}`);
  }
}

/** The checkpoint in the folder; undefined when there is none. Never throws for what is in the file. */
export async function readCheckpoint(
  folder: string,
  owner: CheckpointOwner,
  maxBytes = MAX_CHECKPOINT_BYTES,
): Promise<ReturnType<CheckpointDecoder['end']> | undefined> {
  try {
    const file = await open(checkpointPath(folder), 'r');
    try {
      const { size } = await file.stat();
      if (size > maxBytes) {
        return { code: 'OVERSIZED', reason: `it has ${size} bytes, and ${maxBytes} are the limit` };
      }
      const decoder = new CheckpointDecoder(owner);
      const lines = new LineSplitter();
      for await (const chunk of file.createReadStream({ autoClose: false, end: maxBytes })) {
        for (const line of lines.push(chunk)) {
          const unusable = decoder.push(line);
          if (unusable !== undefined) return unusable;
        }
      }
      return decoder.end();
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'ENOENT') return undefined;
    return { code: 'UNREADABLE', reason: (error as Error).message };
  }
}

export function isUnusable(result: object): result is Unusable {
  return 'code' in result;
}

async function writeDurably(file: string, pieces: Iterable<Uint8Array>, maxBytes: number): Promise<number> {
  const handle = await open(file, 'w', 0o600);
  try {
    let bytes = 0;
    for (const piece of pieces) {
      bytes += piece.length;
      if (bytes > maxBytes)
        throw new KernelError('EFBIG', 27, `write a checkpoint of over ${maxBytes} bytes`);
      await handle.writeFile(piece);
    }
    await handle.sync();
    return bytes;
  } finally {
    await handle.close();
  }
}

/** The new name itself has to reach the disk, too (fsync(2)). */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function toKernelError(error: unknown, operation: string): KernelError {
  const { errno } = error as NodeJS.ErrnoException;
  if (errno === undefined) throw error;
  return new KernelError(getSystemErrorName(errno), -errno, operation);
}
