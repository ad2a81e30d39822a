// Who of the clients of a UDP port is still known.

import { expect, test } from 'vitest';
import { UdpClients } from '../../../src/mode/userspace/udp-clients.ts';

const clients = (): UdpClients<string> => new UdpClients<string>({ unrepliedMs: 30, repliedMs: 120 });

test('who was not answered is forgotten sooner than who was', () => {
  const all = clients();
  all.add('a', 'A', 0);
  all.add('b', 'B', 0);
  all.reply('b', 0);
  expect(all.takeExpired(29)).toEqual([]);
  expect(all.takeExpired(30)).toEqual(['A']);
  expect(all.use('a', 31)).toBeUndefined();
  expect(all.takeExpired(119)).toEqual([]);
  expect(all.takeExpired(120)).toEqual(['B']);
  expect(all.size).toBe(0);
});

test('what either side sends keeps a client', () => {
  const all = clients();
  all.add('a', 'A', 0);
  expect(all.use('a', 20)).toBe('A');
  expect(all.takeExpired(49)).toEqual([]);
  all.reply('a', 49);
  expect(all.takeExpired(168)).toEqual([]);
  expect(all.takeExpired(169)).toEqual(['A']);
});

test('a client that waits for an answer is found behind one that waits no longer', () => {
  const all = clients();
  all.add('a', 'A', 0);
  all.reply('a', 0);
  all.add('b', 'B', 1);
  expect(all.takeExpired(31)).toEqual(['B']);
});

test('who has asked since the last answer', () => {
  const all = clients();
  all.add('a', 'A', 0);
  all.add('b', 'B', 0);
  expect(all.unanswered).toBe(2);
  all.reply('a', 1);
  all.reply('a', 2);
  expect(all.unanswered).toBe(1);
  all.use('a', 3);
  expect(all.unanswered).toBe(2);
  all.delete('a');
  all.takeExpired(30);
  expect(all.unanswered).toBe(0);
});

test('the oldest is the one that was silent for longest', () => {
  const all = clients();
  for (const name of ['a', 'b', 'c']) all.add(name, name.toUpperCase(), 0);
  all.use('a', 1);
  expect([all.takeOldest(), all.takeOldest(), all.takeOldest(), all.takeOldest()]).toEqual([
    'B',
    'C',
    'A',
    undefined,
  ]);
});

test('those that are asked for', () => {
  const all = clients();
  for (const name of ['a', 'b', 'c']) all.add(name, name.toUpperCase(), 0);
  expect(all.takeIf((flow) => flow !== 'B')).toEqual(['A', 'C']);
  expect(all.size).toBe(1);
});
