// A UDP client that never gives up: asks every 20 ms from one port, and prints the name of each server that answers.
// Arguments: host, port, own port.

import dgram from 'node:dgram';
import net from 'node:net';

const [host, port, ownPort] = process.argv.slice(2);
const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
socket.on('message', (datagram) => process.stdout.write(`${JSON.parse(String(datagram)).server}\n`));
socket.bind(Number(ownPort), () => {
  setInterval(() => socket.send('?\n', Number(port), host, () => {}), 20);
});
