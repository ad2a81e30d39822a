// The traffic agent: one of it runs in each network namespace, makes the connections it is asked for and serves others.
// Requests and replies are JSON lines on stdin and stdout ({id, op, ...} → {id, result} or {id, error}); it ends when
// stdin does. Plain JavaScript, because it is run by bare `node`. Types of requests and replies: traffic.ts.
//
// The protocol it speaks over TCP and UDP: whatever is asked, the answer is one line of JSON that names the server and
// the client as the server sees it. An HTTP request gets that line as the body of its response.

import dgram from 'node:dgram';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const servers = new Map();
const loads = new Map();
const held = new Map();
let lastHandle = 0;

const operations = { serve, unserve, probe, burst, startLoad, peekLoad, stopLoad, hold, release };

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

function send(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

// --- serving

async function serve({ protocol, port, name, address = '::' }) {
  const handle = ++lastHandle;
  servers.set(
    handle,
    await (protocol === 'udp' ? serveUdp(port, name, address) : serveTcp(port, name, address)),
  );
  return handle;
}

async function unserve({ handle }) {
  await servers.get(handle)();
  servers.delete(handle);
}

function serveTcp(port, name, address) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    const line = answer(name, socket.remoteAddress, socket.remotePort);
    let isHttp;
    let text = '';
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('data', (chunk) => {
      text += chunk;
      isHttp ??= /^[A-Z]+ /.test(text);
      const end = isHttp ? '\r\n\r\n' : '\n';
      for (let at = text.indexOf(end); at >= 0; at = text.indexOf(end)) {
        text = text.slice(at + end.length);
        socket.write(isHttp ? `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${line}` : line);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen({ port, host: address, backlog: 4096 }, () => resolve(close));
  });
}

function serveUdp(port, name, address) {
  const socket = dgram.createSocket(net.isIPv4(address) ? 'udp4' : 'udp6');
  socket.on('message', (_, peer) => {
    socket.send(answer(name, peer.address, peer.port), peer.port, peer.address, () => {});
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind({ port, address }, () => resolve(() => new Promise((closed) => socket.close(closed))));
  });
}

function answer(server, peer, peerPort) {
  return `${JSON.stringify({ server, peer: peer.replace(/^::ffff:/, ''), peerPort })}\n`;
}

// --- asking

/** Opens a connection (UDP: a connected socket, so that ICMP errors are told). `ask` may be called again and again. */
function open({ protocol, host, port, timeoutMs = 2000 }) {
  let waiting;
  let failure;
  let text = '';
  const settle = (error, line) => {
    if (error) failure ??= error;
    const { resolve, reject } = waiting ?? {};
    waiting = undefined;
    if (line === undefined) reject?.(failure);
    else resolve?.(JSON.parse(line));
  };
  const isUdp = protocol === 'udp';
  const socket = isUdp
    ? dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4')
    : net.connect({ host, port, noDelay: true });
  socket.on('error', settle);
  socket.on('close', () => settle(codeError('ECONNRESET')));
  if (isUdp) {
    socket.on('message', (datagram) => settle(undefined, String(datagram)));
  } else {
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      settle(undefined, line);
    });
  }
  const connected =
    isUdp &&
    new Promise((resolve) => {
      socket.connect(port, host, (error) => {
        if (error) settle(error);
        resolve();
      });
    });

  const ask = async () => {
    await connected;
    if (failure) throw failure;
    let timer;
    const reply = new Promise((resolve, reject) => {
      waiting = { resolve, reject };
      timer = setTimeout(() => settle(codeError('ETIMEDOUT')), timeoutMs);
    });
    if (isUdp) socket.send('?\n', (error) => error && settle(error));
    else socket.write('?\n');
    try {
      return await reply;
    } finally {
      clearTimeout(timer);
    }
  };
  const close = () => (isUdp ? socket.close() : socket.destroy());
  return { ask, close };
}

function codeError(code) {
  return Object.assign(new Error(code), { code });
}

const outcomes = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
};

async function probe(target) {
  const start = performance.now();
  const connection = open(target);
  const reply = await outcomeOf(connection);
  connection.close();
  return { ...reply, latencyMs: performance.now() - start };
}

async function outcomeOf(connection) {
  try {
    return { outcome: 'reply', ...(await connection.ask()) };
  } catch (error) {
    return { outcome: outcomes[error.code] ?? 'error', code: error.code ?? error.message };
  }
}

async function burst({ count, concurrency = 10, ...target }) {
  const tally = newTally();
  let left = count;
  const worker = async () => {
    while (left-- > 0) add(tally, await probe(target));
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return report(tally);
}

function startLoad({ concurrency = 4, pauseMs = 5, ...target }) {
  const handle = ++lastHandle;
  const load = { tally: newTally(), isStopping: false };
  const worker = async () => {
    while (!load.isStopping) {
      add(load.tally, await probe(target));
      await sleep(pauseMs);
    }
  };
  load.ended = Promise.all(Array.from({ length: concurrency }, worker));
  loads.set(handle, load);
  return handle;
}

function peekLoad({ handle }) {
  return report(loads.get(handle).tally);
}

async function stopLoad({ handle }) {
  const load = loads.get(handle);
  loads.delete(handle);
  load.isStopping = true;
  await load.ended;
  return report(load.tally);
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

// --- holding

/** Asks over one connection every `intervalMs`, until released or until it fails. */
async function hold({ intervalMs = 50, ...target }) {
  const connection = open(target);
  const first = await outcomeOf(connection);
  if (first.outcome !== 'reply') {
    connection.close();
    throw new Error(`not connected: ${first.outcome}`);
  }
  const handle = ++lastHandle;
  const state = { connection, isReleased: false, report: { outcome: 'reply', first, asked: 1 } };
  // The last round begins after the release, so that its report tells how things stand then.
  state.ended = (async () => {
    let isLast = false;
    while (!isLast && state.report.outcome === 'reply') {
      isLast = state.isReleased;
      if (!isLast) await sleep(intervalMs);
      const last = await outcomeOf(connection);
      state.report = { ...state.report, ...last, asked: state.report.asked + 1 };
    }
  })();
  held.set(handle, state);
  return { handle, first };
}

async function release({ handle }) {
  const state = held.get(handle);
  held.delete(handle);
  state.isReleased = true;
  await state.ended;
  state.connection.close();
  return state.report;
}
