// The descriptors of the process: counted, and never all of them given away.

import { statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Descriptors } from '../../../src/daemon/userspace/descriptors.ts';

test('some are kept for others', () => {
  const descriptors = new Descriptors({ limit: 10_000, countOpen: () => 40 });
  expect(descriptors.take(10_000 - 256)).toBe(true);
  expect(descriptors.take(1)).toBe(false);
  descriptors.give(3);
  expect([descriptors.take(2), descriptors.take(2), descriptors.take(1)]).toEqual([true, false, true]);
  expect(descriptors.used).toBe(10_000 - 256);
});

test('others that have more than that are seen in time', () => {
  let others = 40;
  const descriptors: Descriptors = new Descriptors({
    limit: 10_000,
    countOpen: (): number => others + descriptors.used,
  });
  expect(descriptors.take(2)).toBe(true);
  others = 5000;
  let taken = 2;
  while (descriptors.take(2)) taken += 2;
  expect(taken + others).toBeLessThanOrEqual(10_000 - 128);
  expect(taken + others).toBeGreaterThan(9_800);
});

test('those of this process', async () => {
  expect(new Descriptors().limit).toBeGreaterThan(256);
  const files = await Promise.all(Array.from({ length: 300 }, () => open('/dev/null')));
  // Linux tells how many there are since 6.2; there are some before that, of which nobody here knows.
  expect(new Descriptors({ limit: 600 }).take(250)).toBe(statSync('/proc/self/fd').size === 0);
  await Promise.all(files.map((file) => file.close()));
  expect(new Descriptors({ limit: 600 }).take(250)).toBe(true);
});
