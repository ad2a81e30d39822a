// Brings a server into a network namespace that has no way to it: listens on 127.0.0.1 there, and passes connections on to a
// socket in the file system, which namespaces share: relay.mjs <port> <path>. Prints a line when it listens.

import net from 'node:net';

const [port, path] = process.argv.slice(2);
const server = net.createServer((near) => {
  const far = net.connect(path);
  for (const [from, to] of [
    [near, far],
    [far, near],
  ]) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
