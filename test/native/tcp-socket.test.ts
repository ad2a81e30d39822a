// The addon's part for TCP sockets, in a network namespace of its own.

import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { runChild } from './run-child.ts';

const { EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EADDRINUSE, EADDRNOTAVAIL, ENOTCONN } = constants.errno;

test('connections are made, talk and end; what is full, reset, closed or nonsense is told, and harms nobody', async () => {
  const talk = {
    none: [0, EAGAIN],
    // There was room for three of four.
    first: [3, 0],
    portOf: 0,
    rest: [1, EAGAIN, 0],
    silent: -EAGAIN,
    sent: 4,
    heard: 'hell',
    ended: 0,
    end: 0,
    kept: 0,
    other: -EADDRINUSE,
    closed: [0, 0, 0, 0, 0],
  };
  expect(await runChild('tcp-socket.ts')).toEqual({
    talk4: { ...talk, peer: { address: [127, 0, 0, 1], isPort: true } },
    talk6: { ...talk, peer: { address: [...Array(15).fill(0), 1], isPort: true } },
    fill: {
      isFull: true,
      last: -EAGAIN,
      before: 0,
      // Told once.
      errors: [ECONNRESET, 0],
      ending: [ENOTCONN, -ENOTCONN],
      isRefused: ECONNREFUSED,
    },
    elsewhere: -EADDRNOTAVAIL,
    closed: {
      listen: -EBADF,
      accept: [0, EBADF],
      error: EBADF,
      peer: -EBADF,
      receive: -EBADF,
      send: -EBADF,
      shutdown: EBADF,
      keepAlive: EBADF,
      close: EBADF,
    },
    wrong: Array(18).fill('TypeError'),
  });
});

test('a process without descriptors says so, of those who wait now and then, and goes on when it has some', async () => {
  expect(await runChild('exhausted.ts', { wrapper: ['prlimit', '--nofile=96'] })).toEqual({
    refused: ['EMFILE', 'EMFILE'],
    codes: ['EMFILE'],
    isPaced: true,
    before: 0,
    accepted: 2,
    isQuiet: true,
  });
});
