// Listeners in a process that has no descriptors left, under `prlimit --nofile`: it is told, not too often, and they go on when there are some.

import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../../src/daemon/sync-loop.ts';
import { TcpListener } from '../../../src/daemon/userspace/tcp-listener.ts';
import { KernelError } from '../../../src/errors.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { addon } from './tcp-pairs.ts';

const errors: string[] = [];
const accepted: number[] = [];
const open = (): TcpListener | KernelError =>
  TcpListener.open(
    { ip: '127.0.0.1' as Ip, port: 0 },
    {
      isTranslated: false,
      clock: systemClock,
      onConnection: (fd) => accepted.push(fd),
      onError: ({ code }) => errors.push(code),
    },
  );
const fillers: number[] = [];
const fill = (): void => {
  try {
    for (;;) fillers.push(openSync('/dev/null', 'r'));
  } catch {
    // There are none left.
  }
};
const empty = (): void => {
  for (const fd of fillers.splice(0)) closeSync(fd);
};

// Without one for the socket, and then with that alone and none for the epoll.
fill();
const refused = [open()];
closeSync(fillers.pop()!);
refused.push(open());
// Whoever was refused has left nothing open.
fillers.push(openSync('/dev/null', 'r'));
empty();
const listener = open() as TcpListener;
const clients = [1, 2].map(() => addon.connectTcp('127.0.0.1', listener.address.port, 0));
fill();
await sleep(450);
const [told, before] = [errors.length, accepted.length];
empty();
while (accepted.length < clients.length) await sleep(10);
const after = errors.length;
await sleep(250);
listener.close();
console.log(
  JSON.stringify({
    refused: refused.map((one) => (one instanceof KernelError ? one.code : 'open')),
    codes: [...new Set(errors)],
    // At once, and then every tenth of a second.
    isPaced: told >= 2 && told <= 6,
    before,
    accepted: accepted.length,
    isQuiet: errors.length === after,
  }),
);
