// The traffic agent: one of it runs in each network namespace, makes the connections it is asked for and serves others.
// Requests and replies are JSON lines on stdin and stdout ({id, op, ...} → {id, result} or {id, error}); it ends when
// stdin does. Plain JavaScript, because it is run by bare `node`. Types of requests and replies: traffic.ts.

import readline from 'node:readline';
import { probe, probes } from './agent-ask.mjs';
import { burst, hold, startLoad } from './agent-load.mjs';
import { serve } from './agent-serve.mjs';

/** What goes on between requests: servers, loads and held connections, by the handle that the client got. */
const ongoing = new Map();
let lastHandle = 0;

const operations = {
  probe,
  probes,
  burst,
  serve: async (parameters) => keep(await serve(parameters)),
  unserve: ({ handle }) => take(handle)(),
  startLoad: (parameters) => keep(startLoad(parameters)),
  peekLoad: ({ handle }) => ongoing.get(handle).peek(),
  stopLoad: ({ handle }) => take(handle).stop(),
  hold: async (parameters) => {
    const held = await hold(parameters);
    return { handle: keep(held), first: held.first };
  },
  release: ({ handle, ...how }) => take(handle).release(how),
};

function keep(work) {
  ongoing.set(++lastHandle, work);
  return lastHandle;
}

function take(handle) {
  const work = ongoing.get(handle);
  ongoing.delete(handle);
  return work;
}

function send(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

// A terminal's Ctrl-C reaches the whole process group: whoever started this agent decides when it ends.
process.on('SIGINT', () => {});
const requests = readline.createInterface({ input: process.stdin });
requests.on('line', async (line) => {
  const { id, op, ...parameters } = JSON.parse(line);
  try {
    send({ id, result: (await operations[op](parameters)) ?? null });
  } catch (error) {
    send({ id, error: error.message });
  }
});
requests.on('close', () => process.exit(0));
