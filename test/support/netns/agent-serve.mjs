// The server side of the traffic agent. Whatever is asked, the answer is one line of JSON that names the server and the
// client as the server sees it. An HTTP request gets that line as the body of its response.

import dgram from 'node:dgram';
import net from 'node:net';
import { serveSctp } from './agent-sctp.mjs';

/** Starts a server; gives the function that ends it and all its connections. */
export function serve({ protocol, port, name, address = '::', delayMs }) {
  if (protocol === 'sctp') return serveSctp(port, name, address);
  return protocol === 'udp' ? serveUdp(port, name, address, delayMs) : serveTcp(port, name, address);
}

function serveTcp(port, name, address) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    // A client may be gone already: then there is no address, and nobody to tell it.
    const line = answer(name, socket.remoteAddress ?? '', socket.remotePort);
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

function serveUdp(port, name, address, delayMs) {
  const socket = dgram.createSocket(net.isIPv4(address) ? 'udp4' : 'udp6');
  const reply = (peer) =>
    socket.send(answer(name, peer.address, peer.port), peer.port, peer.address, () => {});
  socket.on('message', (_, peer) => {
    if (delayMs === undefined) reply(peer);
    else setTimeout(reply, delayMs, peer);
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind({ port, address }, () => resolve(() => new Promise((closed) => socket.close(closed))));
  });
}

function answer(server, peer, peerPort) {
  return `${JSON.stringify({ server, peer: peer.replace(/^::ffff:/, ''), peerPort })}\n`;
}
