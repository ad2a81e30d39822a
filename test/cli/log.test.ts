import { describe, expect, it } from 'vitest';
import type { LogFormat } from '../../src/config/flags.ts';
import { createLog, type Log } from '../../src/daemon/log.ts';
import { ConfigError, KernelError } from '../../src/errors.ts';

function printed(
  options: { format?: LogFormat; verbosity?: number; isTty?: boolean },
  use: (log: Log) => void,
) {
  let text = '';
  const destination = {
    write: (line: string) => {
      text += line;
    },
  };
  use(createLog({ format: 'auto', verbosity: 0, isTty: false, destination, ...options }));
  return text;
}

const HOSTILE = 'web\n00:00:00 INFO  forged\u001b[2J\u009b31m\u202e';

describe('JSON lines', () => {
  it('carry the level as a word, ISO time, the fields, and nothing of the process', () => {
    const { time, ...record } = JSON.parse(
      printed({}, (log) => log.info({ service: 'default/web', ports: [80], count: 3n }, 'programmed')),
    );
    expect(record).toEqual({
      level: 'info',
      service: 'default/web',
      ports: [80],
      count: 3,
      msg: 'programmed',
    });
    expect(new Date(time).toISOString()).toBe(time);
  });

  it('are one line of printable characters each, whatever the values, and lose nothing', () => {
    const text = printed({ format: 'json', isTty: true }, (log) => log.warn({ service: HOSTILE }, HOSTILE));
    expect(text).toMatch(/^[^\p{Cc}\p{Cf}]+\n$/u);
    expect(JSON.parse(text)).toMatchObject({ level: 'warn', service: HOSTILE, msg: HOSTILE });
  });

  it('show an error with its code and causes, and its stack only from -v=4', () => {
    const error = new KernelError('EPERM', 1, 'add table', undefined, { cause: new ConfigError('why') });
    const fail = (log: Log) => log.error({ err: error }, 'sync failed');
    expect(JSON.parse(printed({ verbosity: 3 }, fail)).err).toEqual({
      code: 'EPERM',
      message: 'add table: EPERM',
      cause: { code: 'CONFIG', message: 'why' },
    });
    expect(JSON.parse(printed({ verbosity: 4 }, fail)).err.stack).toContain('log.test.ts');
  });
});

describe('text', () => {
  it('on a terminal is HH:MM:SS LEVEL message key=value', () => {
    const text = printed({ isTty: true }, (log) =>
      log
        .child({ mode: 'nftables' })
        .info(
          { service: 'default/web:http', vip: '[fd00::1]:80', why: 'two words', empty: '', count: 2 },
          'programmed',
        ),
    );
    expect(text).toMatch(/^\d\d:\d\d:\d\d INFO {2}programmed mode=nftables /);
    expect(text.slice(text.indexOf('service='))).toBe(
      'service=default/web:http vip=[fd00::1]:80 why="two words" empty="" count=2\n',
    );
  });

  it('elsewhere carries the whole time', () => {
    expect(printed({ format: 'text' }, (log) => log.warn('hello'))).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARN {2}hello\n$/,
    );
  });

  it('is one line of printable characters, whatever the values', () => {
    const text = printed({ format: 'text' }, (log) =>
      log.info({ service: HOSTILE, nested: { [HOSTILE]: HOSTILE }, [HOSTILE]: 1 }, HOSTILE),
    );
    expect(text).toMatch(/^[^\p{Cc}\p{Cf}]+\n$/u);
  });

  it('shows what an error says; the stack is indented below it', () => {
    const fail = (log: Log) => log.error({ err: new ConfigError('no such folder') }, 'stopped');
    expect(printed({ isTty: true }, fail)).toMatch(/ ERROR stopped err="no such folder"\n$/);
    const lines = printed({ isTty: true, verbosity: 4 }, fail).trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines.slice(1)) expect(line).toMatch(/^ {4}/);
  });
});

it.each([
  [-1, ['warn']],
  [0, ['info', 'warn']],
  [1, ['info', 'warn']],
  [2, ['debug', 'info', 'warn']],
  [4, ['debug', 'info', 'warn']],
  [5, ['trace', 'debug', 'info', 'warn']],
])('verbosity %d logs %j', (verbosity, levels) => {
  const text = printed({ verbosity }, (log) => {
    log.trace('x');
    log.debug('x');
    log.info('x');
    log.warn('x');
  });
  expect(
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).level),
  ).toEqual(levels);
});
