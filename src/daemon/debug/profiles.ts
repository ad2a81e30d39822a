// Profiles of this process in the formats of Chrome's developer tools: `.cpuprofile` and `.heapsnapshot`.

import { Session } from 'node:inspector/promises';
import type { Readable } from 'node:stream';
import { getHeapSnapshot } from 'node:v8';

/**
 * Where processor time goes for `durationMs`, or until `signal`, sampled each millisecond; the JSON of a `.cpuprofile`. Costs a few
 * per cent of the work that is done meanwhile.
 */
export async function cpuProfile(durationMs: number, signal: AbortSignal): Promise<string> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await rest(durationMs, signal);
    const { profile } = await session.post('Profiler.stop');
    return JSON.stringify(profile);
  } finally {
    session.disconnect();
  }
}

/**
 * Everything that lives in the heap, as a `.heapsnapshot`. Nothing else happens until it is taken, a second or so per 100 MB; it needs
 * about as much memory again.
 */
export function heapSnapshot(): Readable {
  return getHeapSnapshot();
}

function rest(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, durationMs);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}
