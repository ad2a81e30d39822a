// Runs in a network namespace: takes connections on 127.0.0.1 and passes them on to a socket file, which no namespace hides.
//   node forward.mjs <port> <socket file>

import net from 'node:net';

const [port, file] = process.argv.slice(2);

net
  .createServer((near) => {
    const far = net.connect(file);
    near.pipe(far);
    far.pipe(near);
    // What one end does to its connection, a reset included, the other one sees.
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.resetAndDestroy()).on('close', () => near.destroy());
  })
  .listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
