import { expect, test } from 'vitest';
import { renamedHost } from '../../../src/daemon/host/host-name.ts';

test.each([
  ['the same name', 'node-1', 'node-1', 'node-1'],
  ['the same but for case and blanks', 'node-1', 'Node-1', ' node-1\n'],
  ['a name that was given is not the host’s', 'other', 'node-1', 'node-2'],
])('no problem: %s', (_, nodeName, before, now) => {
  expect(renamedHost(nodeName, before, now)).toEqual([]);
});

test('a host that was renamed is told by both names', () => {
  expect(renamedHost('node-1', 'NODE-1', 'node-2')).toEqual([
    {
      subject: 'this host',
      code: 'RENAMED_HOST',
      reason: 'is called node-2 now; Node node-1 is served until a restart, or give --hostname-override',
    },
  ]);
});
