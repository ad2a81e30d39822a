// The traffic agent's longer works: many requests, requests without end, one connection kept open.

import { setTimeout as sleep } from 'node:timers/promises';
import { open, outcomeOf, probe } from './agent-ask.mjs';

/** `count` requests, `concurrency` at a time. */
export async function burst({ count, concurrency = 10, ...target }) {
  const tally = newTally();
  let left = count;
  const worker = async () => {
    while (left-- > 0) add(tally, await probe(target));
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return report(tally);
}

/** Requests until stopped. */
export function startLoad({ concurrency = 4, pauseMs = 5, ...target }) {
  const tally = newTally();
  let isStopping = false;
  const worker = async () => {
    while (!isStopping) {
      add(tally, await probe(target));
      await sleep(pauseMs);
    }
  };
  const ended = Promise.all(Array.from({ length: concurrency }, worker));
  return {
    peek: () => report(tally),
    stop: async () => {
      isStopping = true;
      await ended;
      return report(tally);
    },
  };
}

/** Asks over one connection every `intervalMs`, until released or until it fails. A release ends the pause. */
export async function hold({ intervalMs = 50, ...target }) {
  const connection = open(target);
  const first = await outcomeOf(connection);
  if (first.outcome !== 'reply') {
    connection.close();
    throw new Error(`not connected: ${first.outcome}`);
  }
  let last = first;
  let asked = 1;
  const release = new AbortController();
  const { signal } = release;
  // The last round begins after the release, so that its report tells how things stand then.
  const ask = async () => {
    let isLast = false;
    while (!isLast && last.outcome === 'reply') {
      await sleep(intervalMs, undefined, { signal }).catch(() => {});
      isLast = signal.aborted;
      last = await outcomeOf(connection);
      asked++;
    }
  };
  const ended = ask();
  return {
    first,
    release: async ({ isReset }) => {
      release.abort();
      await ended;
      connection.close(isReset);
      return { first, asked, ...last };
    },
  };
}

function newTally() {
  return { total: 0, outcomes: {}, servers: {}, peers: {}, failures: [], latencies: [] };
}

function add(tally, { outcome, server, peer, latencyMs }) {
  tally.total++;
  count(tally.outcomes, outcome);
  if (outcome === 'reply') {
    count(tally.servers, server);
    count(tally.peers, peer);
    tally.latencies.push(latencyMs);
  } else if (tally.failures.length < 100) tally.failures.push({ atMs: Date.now(), outcome });
}

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}

function report({ latencies, ...tally }) {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  return { ...tally, latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) } };
}
