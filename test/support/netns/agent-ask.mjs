// The client side of the traffic agent: one connection, one question, and what became of it.

import dgram from 'node:dgram';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { askSctp } from './agent-sctp.mjs';

/** Opens a connection (UDP: a connected socket, so that ICMP errors are told). `ask` may be called again and again. */
export function open(target) {
  const { protocol, host, port, timeoutMs = 2000, localAddress } = target;
  // One association per question.
  if (protocol === 'sctp') return { ask: () => askSctp(target), close: () => {} };
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
    : net.connect({ host, port, noDelay: true, localAddress });
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
      const connect = () =>
        socket.connect(port, host, (error) => {
          if (error) settle(error);
          resolve();
        });
      socket.once('error', resolve);
      if (localAddress === undefined) connect();
      else socket.bind(0, localAddress, connect);
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
  const close = (isReset = false) => {
    if (isUdp) socket.close();
    else if (isReset) socket.resetAndDestroy();
    else socket.destroy();
  };
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

/** One request. */
export async function probe(target) {
  const start = performance.now();
  const connection = open(target);
  const reply = await outcomeOf(connection);
  connection.close();
  return { ...reply, latencyMs: performance.now() - start };
}

/** Several at once. */
export function probes({ count, ...target }) {
  return Promise.all(Array.from({ length: count }, () => probe(target)));
}

/** How asking goes; never throws. */
export async function outcomeOf(connection) {
  try {
    return { outcome: 'reply', ...(await connection.ask()) };
  } catch (error) {
    return { outcome: outcomes[error.code] ?? 'error', code: error.code ?? error.message };
  }
}
