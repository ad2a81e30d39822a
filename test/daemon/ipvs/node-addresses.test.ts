// The addresses of this node, followed in a kernel while they come and go.

import { expect, test } from 'vitest';
import { runChild } from './run-child.ts';

interface Report {
  readonly steps: Readonly<Record<string, readonly string[]>>;
  readonly toldAfterClose: number;
  readonly changesForMany: number;
  readonly errors: readonly string[];
}

test('all addresses but loopback, IPv6 link-local and those of kube-ipvs0, at any moment', async () => {
  const { steps, toldAfterClose, changesForMany, errors } = await runChild<Report>('node-addresses.ts');
  const first = ['169.254.7.7', '192.168.1.1', 'fd00::1'];
  expect(steps).toEqual({
    first,
    added: ['169.254.7.7', '192.168.1.1', '192.168.2.1', 'fd00::1'],
    'added IPv6': ['169.254.7.7', '192.168.1.1', '192.168.2.1', 'fd00:2::1', 'fd00::1'],
    'removed one': ['169.254.7.7', '192.168.1.1', '192.168.2.1', 'fd00::1'],
    // A device that is down keeps its IPv4 addresses.
    'link gone': [],
  });
  expect(errors).toEqual([]);
  expect(toldAfterClose).toBe(0);
  // Thousands of notifications are not thousands of changes to act on.
  expect(changesForMany).toBeLessThan(50);
});
