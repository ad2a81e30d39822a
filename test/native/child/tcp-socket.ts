// What the addon does with TCP sockets: right ones, and full, reset, closed and nonsensical ones.

import { addon, connectPair, listen, thrown } from './tcp-pairs.ts';

const room = new Uint8Array(64);
const hello = new Uint8Array(Buffer.from('hello'));
const text = (count: number): string => Buffer.from(room.subarray(0, Math.max(count, 0))).toString();

function talk(ip: string): Record<string, unknown> {
  const { fd, port } = listen(ip);
  const accepted = new Int32Array(1 + 3 * 6);
  const none = [addon.acceptTcp(fd, 0, accepted), accepted[0]];
  const dialled = [0, 1, 2, 3].map(() => addon.connectTcp(ip, port, 0));
  const first = [addon.acceptTcp(fd, 0, accepted), accepted[0]];
  const [, a = -1, portOf] = accepted;
  // Connection tracking knows of none here.
  const rest = [addon.acceptTcp(fd, ip.includes(':') ? 6 : 4, accepted), accepted[0], accepted[2]];
  const [client = -1] = dialled;
  const silent = addon.receiveTcp(a, room);
  const sent = addon.sendTcp(client, hello, 4);
  const heard = text(addon.receiveTcp(a, room));
  const ended = addon.shutdownWriting(client);
  const end = addon.receiveTcp(a, room);
  const peerSize = addon.peerAddress(client, room);
  const peer = {
    address: [...room.subarray(0, peerSize - 2)],
    isPort: ((room[peerSize - 2]! << 8) | room[peerSize - 1]!) === port,
  };
  const kept = addon.keepAlive(a, 15, 1, 10);
  const other = addon.openTcpListener(ip, port);
  const closed = [fd, ...dialled].map((one) => addon.closeTcp(one, false));
  return { none, first, portOf, rest, silent, sent, heard, ended, end, peer, kept, other, closed };
}

function fill(): Record<string, unknown> {
  const { fd, port } = listen('127.0.0.1');
  const { dialled, accepted } = connectPair(fd, '127.0.0.1', port);
  const full = new Uint8Array(1 << 20);
  let taken = 0;
  let last = 0;
  // Nobody reads: it ends when all buffers are full.
  for (; last >= 0; last = addon.sendTcp(dialled, full, full.length)) taken += last;
  const before = addon.socketError(dialled);
  addon.closeTcp(accepted, true);
  const errors = [addon.socketError(dialled), addon.socketError(dialled)];
  const ending = [addon.shutdownWriting(dialled), addon.peerAddress(dialled, room)];
  // A port where nobody listens any more.
  addon.closeTcp(fd, false);
  const refused = addon.connectTcp('127.0.0.1', port, 0);
  const isRefused = refused < 0 ? -refused : addon.socketError(refused);
  return { isFull: taken > 0 && taken < 1 << 30, last, before, errors, ending, isRefused };
}

const text18 = new Uint8Array(18);
const accepted = new Int32Array(7);
const number = '1' as unknown as number;
const nothing = undefined as unknown as number;

console.log(
  JSON.stringify({
    talk4: talk('127.0.0.1'),
    talk6: talk('::1'),
    fill: fill(),
    elsewhere: addon.openTcpListener('192.0.2.1', 0),
    closed: {
      listen: addon.listenTcp(-1, 1),
      accept: [addon.acceptTcp(-1, 0, accepted), accepted[0]],
      error: addon.socketError(-1),
      peer: addon.peerAddress(-1, text18),
      receive: addon.receiveTcp(-1, room),
      send: addon.sendTcp(-1, room, 1),
      shutdown: addon.shutdownWriting(-1),
      keepAlive: addon.keepAlive(-1, 1, 1, 1),
      close: addon.closeTcp(-1, true),
    },
    wrong: [
      thrown(() => addon.openTcpListener('fe80::1%lo', 0)),
      thrown(() => addon.openTcpListener('127.0.0.1'.padEnd(80, ' '), 0)),
      thrown(() => addon.openTcpListener('127.0.0.1', 65_536)),
      thrown(() => addon.listenTcp(number, 1)),
      thrown(() => addon.acceptTcp(1, 0, new Int32Array(6))),
      thrown(() => addon.acceptTcp(1, 5 as 4, accepted)),
      thrown(() => addon.acceptTcp(1, 0, new Uint8Array(28) as unknown as Int32Array)),
      thrown(() => addon.connectTcp('localhost', 80, 0)),
      thrown(() => addon.connectTcp('127.0.0.1', 80, nothing)),
      thrown(() => addon.socketError(nothing)),
      thrown(() => addon.peerAddress(1, new Uint8Array(17))),
      thrown(() => addon.receiveTcp(1, new Uint8Array(0))),
      thrown(() => addon.sendTcp(1, room, room.length + 1)),
      thrown(() => addon.sendTcp(1, room, -1)),
      thrown(() => addon.shutdownWriting(number)),
      thrown(() => addon.keepAlive(1, 1, 1, nothing)),
      thrown(() => addon.closeTcp(1, nothing as unknown as boolean)),
      thrown(() => addon.openMarkedUdp(5 as 4, 1)),
    ],
  }),
);
