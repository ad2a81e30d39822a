// What is asked and told of TCP sockets by their descriptors, right and wrong ones.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { loadAddon } from '../../../native/load.cjs';

const addon = loadAddon();
const descriptorOf = (socket: object): number =>
  (socket as { readonly _handle: { readonly fd: number } | null })._handle?.fd ?? -1;
const thrown = (call: () => unknown): string => {
  try {
    return `returned ${call()}`;
  } catch (error) {
    return (error as Error).name;
  }
};

const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
await once(server, 'listening');
const accepted = once(server, 'connection') as Promise<[Socket]>;
const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
client.on('error', () => undefined);
await once(client, 'connect');
const [peer] = await accepted;
const [fd, peerFd] = [descriptorOf(client), descriptorOf(peer)];

const full = new Uint8Array(1 << 20);
let taken = 0;
let last = 0;
// Nobody reads: it ends when all buffers are full.
for (; last >= 0; last = addon.sendNow(fd, full, full.length)) taken += last;

const before = addon.isBroken(peerFd);
client.resetAndDestroy();
await once(client, 'close');
const after = addon.isBroken(peerFd);
peer.destroy();
server.close();

console.log(
  JSON.stringify({
    isFull: taken > 0 && taken < 1 << 30,
    last,
    before,
    after,
    closed: {
      descriptor: descriptorOf(client),
      send: addon.sendNow(-1, full, 1),
      destination: addon.originalDestination(-1, new Uint8Array(6)),
      destination6: addon.originalDestination(-1, new Uint8Array(18)),
      // Nothing to be waited for.
      isBroken: addon.isBroken(-1),
    },
    wrong: [
      thrown(() => addon.sendNow(1, full, full.length + 1)),
      thrown(() => addon.sendNow(1, full, -1)),
      thrown(() => addon.originalDestination(1, new Uint8Array(7))),
      thrown(() => addon.originalDestination('1' as unknown as number, new Uint8Array(6))),
      thrown(() => addon.isBroken(undefined as unknown as number)),
    ],
  }),
);
