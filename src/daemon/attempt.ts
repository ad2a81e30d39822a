// A step of a backend as its result: whatever the kernel refuses or fails in, ends up there.

import { KproxyError } from '../errors.ts';
import type { SyncFailure } from './backend.ts';

/** A SyncResult in the making. */
export interface Progress {
  writes: number;
  repairs: number;
  transactions: number;
  isFull: boolean;
  readonly failures: SyncFailure[];
}

/** `onFailure`: the step did not get to its end, so it is not known what the kernel holds. */
export async function attempt(
  step: (progress: Progress) => Promise<void>,
  onFailure: () => void,
): Promise<Progress> {
  const progress: Progress = { writes: 0, repairs: 0, transactions: 0, isFull: false, failures: [] };
  try {
    await step(progress);
  } catch (error) {
    if (!(error instanceof KproxyError)) throw error;
    onFailure();
    progress.failures.push({ error, services: [] });
  }
  return progress;
}

const TRANSIENT = new Set(['EPERM', 'ENOMEM', 'ENOBUFS', 'EAGAIN', 'EINTR', 'ERESTART', 'EMSGSIZE']);

/** True for refusals that say nothing about what was asked for: trying again may do. */
export function isTransient({ code }: KproxyError): boolean {
  return TRANSIENT.has(code);
}
