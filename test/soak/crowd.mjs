// Runs in a network namespace to which a whole network is routed: a pod at every address of it.
// Answers whatever comes over TCP to the port of argv[2] with one line of JSON that names the address that was reached, as the
// traffic agent's servers do. Prints a line once it listens.

import net from 'node:net';

const server = net.createServer((socket) => {
  const { localAddress, remoteAddress, remotePort } = socket;
  const answer = `${JSON.stringify({ server: localAddress, peer: remoteAddress, peerPort: remotePort })}\n`;
  socket.setNoDelay(true);
  socket.on('data', () => socket.write(answer));
  socket.on('error', () => {});
});
server.listen({ port: Number(process.argv[2]), host: '0.0.0.0', backlog: 4096 }, () =>
  console.log('listening'),
);
