// The addon's part for TCP sockets, in a network namespace of its own.

import { expect, test } from 'vitest';
import { runChild } from './run-child.ts';

test('what is full, broken, closed or nonsense is told, and harms nobody', async () => {
  expect(await runChild('inet-socket.ts')).toEqual({
    isFull: true,
    last: -11,
    before: false,
    after: true,
    closed: { descriptor: -1, send: -9, destination: 9, destination6: 9, isBroken: false },
    wrong: Array(5).fill('TypeError'),
  });
});
