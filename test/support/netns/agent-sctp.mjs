// SCTP for the traffic agent, by a process of Python that is started when it is first needed.

import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./agent-sctp.py', import.meta.url));
const waiting = new Map();
let python;
let lastId = 0;

/** The answer to one request; rejects with an error that has the system's code, as those of Node's sockets do. */
export async function askSctp(target) {
  const { reply, code } = await request('probe', target);
  if (code !== undefined) throw Object.assign(new Error(code), { code });
  return reply;
}

/** Serves on one address; gives the function that ends it. */
export async function serveSctp(port, name, address) {
  const handle = lastId + 1;
  await request('serve', { port, name, address });
  return () => request('unserve', { handle });
}

function request(op, parameters) {
  python ??= start();
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    python.stdin.write(`${JSON.stringify({ id, op, ...parameters })}\n`);
  });
}

function start() {
  const child = spawn('python3', ['-E', '-S', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  const end = (error) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  child.stdin.on('error', () => {});
  child.on('error', end);
  child.on('close', (status) => end(new Error(`python3 ended with status ${status}`)));
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  });
  return child;
}
