// A listener in a process that has no descriptors left, under `prlimit --nofile`: it is told, not too often, and goes on when there are some.

import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../../src/daemon/sync-loop.ts';
import { TcpListener } from '../../../src/daemon/userspace/tcp-listener.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { addon } from './tcp-pairs.ts';

const errors: string[] = [];
const accepted: number[] = [];
const listener = TcpListener.open(
  { ip: '127.0.0.1' as Ip, port: 0 },
  {
    isTranslated: false,
    clock: systemClock,
    onConnection: (fd) => accepted.push(fd),
    onError: ({ code }) => errors.push(code),
  },
) as TcpListener;
// Opens what it needs.
await sleep(10);
const clients = [1, 2].map(() => addon.connectTcp('127.0.0.1', listener.address.port, 0));
const fillers: number[] = [];
try {
  for (;;) fillers.push(openSync('/dev/null', 'r'));
} catch {
  // There are none left.
}
await sleep(450);
const [told, before] = [errors.length, accepted.length];
for (const fd of fillers) closeSync(fd);
while (accepted.length < clients.length) await sleep(10);
const after = errors.length;
await sleep(250);
listener.close();
console.log(
  JSON.stringify({
    codes: [...new Set(errors)],
    // At once, and then every tenth of a second.
    isPaced: told >= 2 && told <= 6,
    before,
    accepted: accepted.length,
    isQuiet: errors.length === after,
  }),
);
