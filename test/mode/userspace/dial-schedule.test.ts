// Whom a client's connection is tried with, and for how long.

import { describe, expect, test } from 'vitest';
import { DialSchedule } from '../../../src/mode/userspace/dial-schedule.ts';
import { backend } from '../../support/frontends.ts';

const textOf = ({ ip, port }: { ip: string; port: number }): string => `${ip}:${port}`;

/** Dials until it gives up; `refusing` endpoints refuse, others do not answer. */
function dialAll(endpoints: readonly string[], refusing: readonly string[] = []): string[] {
  const schedule = new DialSchedule();
  const seen: string[] = [];
  for (;;) {
    const attempt = schedule.next((excluded) =>
      endpoints.map(backend).find((one) => !excluded.has(textOf(one))),
    );
    if (attempt === undefined) return seen;
    const text = textOf(attempt.backend);
    seen.push(`${text} ${attempt.timeoutMs}`);
    if (refusing.includes(text)) schedule.refused(attempt.backend);
  }
}

describe('attempts', () => {
  const [a, b, c, d, e] = ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1', '10.0.0.4:1', '10.0.0.5:1'] as const;

  test('four, each with another endpoint and more time', () => {
    expect(dialAll([a, b, c, d, e])).toEqual([`${a} 250`, `${b} 500`, `${c} 1000`, `${d} 2000`]);
  });

  test('again with those that did not answer when there is no other', () => {
    expect(dialAll([a])).toEqual([`${a} 250`, `${a} 500`, `${a} 1000`, `${a} 2000`]);
    expect(dialAll([a, b], [a])).toEqual([`${a} 250`, `${b} 500`, `${b} 1000`, `${b} 2000`]);
  });

  test('never again with one that refused', () => {
    expect(dialAll([a], [a])).toEqual([`${a} 250`]);
    expect(dialAll([a, b, c], [a, b, c])).toHaveLength(3);
  });

  test('none without an endpoint', () => {
    expect(dialAll([])).toEqual([]);
  });
});
