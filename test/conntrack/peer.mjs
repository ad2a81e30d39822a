// One end of TCP connections that is silent until told to speak. Arguments: `listen` and a port, or `dial`, a host and a
// port. Each line on stdin makes it send something over the newest connection, `end` makes it finish instead. Prints
// `listening`, `open`, `heard`, and how a connection ended: `ended`, or the error's code.

import net from 'node:net';

const [role, ...where] = process.argv.slice(2);
const tell = (word) => process.stdout.write(`${word}\n`);
let newest;

function adopt(socket) {
  newest = socket;
  socket.on('data', () => tell('heard'));
  socket.on('end', () => tell('ended'));
  socket.on('error', ({ code }) => tell(code));
}

if (role === 'listen') {
  const server = net.createServer((socket) => {
    adopt(socket);
    tell('open');
  });
  server.listen(Number(where[0]), '::', () => tell('listening'));
} else {
  adopt(net.connect(Number(where[1]), where[0], () => tell('open')));
}
process.stdin.on('data', (chunk) => {
  if (String(chunk).trim() === 'end') newest.end();
  else newest.write(chunk);
});
