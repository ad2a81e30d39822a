import { expect, it } from 'vitest';
import { HangUps } from '../../src/daemon/signals.ts';

it('a SIGHUP that comes before somebody cares is told once, each later one is told', () => {
  const hangUps = new HangUps();
  let told = 0;
  process.emit('SIGHUP');
  process.emit('SIGHUP');
  hangUps.tell(() => told++);
  expect(told).toBe(1);
  process.emit('SIGHUP');
  expect(told).toBe(2);
  hangUps.release();
  process.emit('SIGHUP');
  expect(told).toBe(2);
});
