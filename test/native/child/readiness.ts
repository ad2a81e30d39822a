// What the addon tells of descriptors: when, how much at once, and what becomes of errors and of the end.

import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { addon, connectPair, listen, type Pair, thrown } from './tcp-pairs.ts';

const { fd: listener, port } = listen('127.0.0.1');
const pairOf = (): Pair => connectPair(listener, '127.0.0.1', port);
const byte = new Uint8Array(1);

/** What is told, by call. */
function watchAll(room: number): { handle: object; calls: (readonly (readonly [number, number])[])[] } {
  const told = new Float64Array(2 * room);
  const calls: (readonly (readonly [number, number])[])[] = [];
  const handle = addon.openReadiness(told, (count) => {
    calls.push(Array.from({ length: count }, (_, i) => [told[2 * i]!, told[2 * i + 1]!]));
  });
  return { handle, calls };
}

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

async function changes(): Promise<unknown> {
  const { handle, calls } = watchAll(8);
  const { dialled, accepted } = pairOf();
  const id = Number.MAX_SAFE_INTEGER;
  const errnos = [addon.watchReadiness(handle, dialled, id), addon.watchReadiness(handle, dialled, 2)];
  await turns();
  addon.sendTcp(accepted, byte, 1);
  await turns();
  // Nobody has read it, and nothing has changed.
  await turns();
  const before = calls.map((call) => call.map(([one, events]) => [one === id, events]));
  errnos.push(addon.unwatchReadiness(handle, dialled), addon.unwatchReadiness(handle, dialled));
  addon.sendTcp(accepted, byte, 1);
  await turns();
  const after = calls.length - before.length;
  errnos.push(addon.watchReadiness(handle, -1, 3));
  addon.closeReadiness(handle);
  return { errnos, before, after };
}

async function batches(): Promise<unknown> {
  const { handle, calls } = watchAll(4);
  for (let id = 0; id < 10; id++) addon.watchReadiness(handle, pairOf().dialled, id);
  await turns(10);
  const ids = calls.flatMap((call) => call.map(([id]) => id)).sort((a, b) => a - b);
  addon.closeReadiness(handle);
  return { most: Math.max(...calls.map(({ length }) => length)), ids };
}

/** What the callback queues runs before the next one. */
async function order(): Promise<unknown> {
  const happened: string[] = [];
  const handle = addon.openReadiness(new Float64Array(2), () => {
    happened.push('callback');
    process.nextTick(() => happened.push('tick'));
    void Promise.resolve().then(() => happened.push('microtask'));
  });
  for (const id of [1, 2]) addon.watchReadiness(handle, pairOf().dialled, id);
  await turns();
  addon.closeReadiness(handle);
  return happened;
}

async function exception(): Promise<unknown> {
  let calls = 0;
  const handle = addon.openReadiness(new Float64Array(2), () => {
    if (++calls === 1) throw new Error('of the callback');
  });
  const caught = once(process, 'uncaughtException') as Promise<Error[]>;
  addon.watchReadiness(handle, pairOf().dialled, 1);
  const [error] = await caught;
  addon.watchReadiness(handle, pairOf().dialled, 2);
  await turns();
  addon.closeReadiness(handle);
  return { message: error!.message, calls };
}

/** Closed by the callback, with more to tell. */
async function closing(): Promise<unknown> {
  let calls = 0;
  const handle = addon.openReadiness(new Float64Array(2), () => {
    calls++;
    addon.closeReadiness(handle);
    addon.closeReadiness(handle);
  });
  for (const id of [1, 2, 3]) addon.watchReadiness(handle, pairOf().dialled, id);
  await turns();
  return { calls, watch: thrown(() => addon.watchReadiness(handle, listener, 4)) };
}

/** Its memory is somebody else's. */
async function detached(): Promise<unknown> {
  let calls = 0;
  const told = new Float64Array(2);
  const handle = addon.openReadiness(told, (count) => {
    calls += count;
  });
  structuredClone(told, { transfer: [told.buffer] });
  addon.watchReadiness(handle, pairOf().dialled, 1);
  await turns();
  addon.closeReadiness(handle);
  return calls;
}

/** Goes on though nobody holds it, as a listening server does. */
async function unheld(): Promise<unknown> {
  let handle: object | undefined;
  const told = new Promise((resolve) => {
    handle = addon.openReadiness(new Float64Array(2), resolve);
  });
  const { dialled } = pairOf();
  const open = new WeakRef(handle!);
  addon.watchReadiness(handle!, dialled, 1);
  handle = undefined;
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.();
    await turn();
  }
  return { count: await told, isThere: open.deref() !== undefined };
}

const { handle } = watchAll(1);
const noHandle = {};
const results = {
  changes: await changes(),
  batches: await batches(),
  order: await order(),
  exception: await exception(),
  closing: await closing(),
  detached: await detached(),
  unheld: await unheld(),
  wrong: [
    thrown(() => addon.openReadiness(new Float64Array(3), () => undefined)),
    thrown(() => addon.openReadiness(new Float64Array(0), () => undefined)),
    thrown(() => addon.openReadiness(new Int32Array(2) as unknown as Float64Array, () => undefined)),
    thrown(() => addon.openReadiness(new Float64Array(2), 1 as unknown as () => void)),
    thrown(() => addon.watchReadiness(noHandle, listener, 1)),
    thrown(() => addon.watchReadiness(handle, '1' as unknown as number, 1)),
    thrown(() => addon.watchReadiness(handle, listener, -1)),
    thrown(() => addon.watchReadiness(handle, listener, 2 ** 53)),
    thrown(() => addon.unwatchReadiness(noHandle, listener)),
    thrown(() => addon.closeReadiness(noHandle)),
  ],
};
console.log(JSON.stringify(results));
// Two are open still, and watch sockets: the process ends by itself all the same.
addon.watchReadiness(handle, listener, 1);
