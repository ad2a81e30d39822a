// What the addon tells of descriptors that can be read or written, in a network namespace of its own.

import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { runChild } from './run-child.ts';

const { EBADF, EEXIST, ENOENT } = constants.errno;
const EPOLLIN = 1;
const EPOLLOUT = 4;

test('each change is told once, in batches, and its process ends by itself', async () => {
  expect(await runChild('readiness.ts')).toEqual({
    changes: {
      errnos: [0, EEXIST, 0, ENOENT, EBADF],
      before: [[[true, EPOLLOUT]], [[true, EPOLLIN | EPOLLOUT]]],
      after: 0,
    },
    batches: { most: 4, ids: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] },
    order: ['callback', 'tick', 'microtask', 'callback', 'tick', 'microtask'],
    exception: { message: 'of the callback', calls: 2 },
    closing: { calls: 1, watch: 'TypeError' },
    detached: 0,
    unheld: { count: 1, isThere: true },
    wrong: Array(10).fill('TypeError'),
  });
});
