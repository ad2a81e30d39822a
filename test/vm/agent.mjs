// Runs programs in the guest for the host (guest.ts), over a virtio port: JSON lines both ways.
//   to here:   {id, op: 'spawn', argv, cwd, env}, {id, op: 'write', data}, {id, op: 'end'}, {id, op: 'kill', signal}
//   from here: {id: 0} once, {id, stdout}, {id, stderr}, {id, error} or {id, status, signal} last
// The guest ends with this process, and this process with the other end of the port.

import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, openSync } from 'node:fs';
import readline from 'node:readline';

const [port] = process.argv.slice(2);
// A port can be opened once.
const fd = openSync(port, 'r+');
const output = createWriteStream(undefined, { fd, autoClose: false });
const children = new Map();

const operations = {
  spawn: (id, { argv: [program, ...args], cwd, env }) => {
    const child = spawn(program, args, { cwd, env });
    children.set(id, child);
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => send({ id, [stream]: text }, child[stream]));
    }
    // It may end without reading.
    child.stdin.on('error', () => {});
    child.on('error', (error) => {
      children.delete(id);
      send({ id, error: error.message });
    });
    child.on('close', (status, signal) => {
      if (children.delete(id)) send({ id, status, signal });
    });
  },
  write: (id, { data }) => children.get(id)?.stdin.write(data),
  end: (id) => children.get(id)?.stdin.end(),
  kill: (id, { signal }) => children.get(id)?.kill(signal),
};

/** `source` waits while the host does not keep up. */
function send(message, source) {
  if (output.write(`${JSON.stringify(message)}\n`) || source === undefined) return;
  source.pause();
  output.once('drain', () => source.resume());
}

const requests = readline.createInterface({ input: createReadStream(undefined, { fd, autoClose: false }) });
requests.on('line', (line) => {
  const { id, op, ...parameters } = JSON.parse(line);
  operations[op](id, parameters);
});
requests.on('close', () => process.exit());
send({ id: 0 });
