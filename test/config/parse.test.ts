import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  parseBoolean,
  parseCidrs,
  parseDuration,
  parseEnum,
  parseHostname,
  parseInteger,
  parseList,
} from '../../src/config/parse.ts';
import { printable, printableLines, quote } from '../../src/config/printable.ts';
import { ConfigError } from '../../src/errors.ts';
import { formatCidr } from '../../src/model/ip.ts';

/** What a parser says of a text it refuses. */
function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('was accepted');
}

describe('parseDuration', () => {
  it.each([
    ['0', 0],
    ['+0', 0],
    ['0s', 0],
    ['30s', 30_000],
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['1.1s', 1100],
    ['.5s', 500],
    ['1.s', 1000],
    ['-2m', -120_000],
    ['1us', 0.001],
    ['1µs', 0.001],
    ['1μs', 0.001],
    ['1000000ns', 1],
    ['1s1s', 2000],
    ['2562047h', 2562047 * 3_600_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    '',
    ' ',
    '5',
    '1',
    '.s',
    's',
    '1x',
    '1h ',
    ' 1h',
    '1h 2m',
    '1e3s',
    '--1s',
    '1d',
    '0x1s',
    '1,5s',
    'NaN',
    '١s',
  ])('refuses %j', (text) => {
    expect(refusal(() => parseDuration(text))).toBe(
      `must be a duration such as 30s or 1h30m, got ${JSON.stringify(text)}`,
    );
  });

  it('refuses what int64 nanoseconds cannot hold, as Go does', () => {
    expect(parseDuration('9223372036854775807ns')).toBeGreaterThan(9.2e12);
    expect(refusal(() => parseDuration('9223372036854775808ns'))).toContain('less than 292 years');
    expect(refusal(() => parseDuration('2562048h'))).toContain('"2562048h"');
  });

  it('is the sum of its parts', () => {
    const units = [
      ['h', 3_600_000],
      ['m', 60_000],
      ['s', 1000],
      ['ms', 1],
    ] as const;
    const part = fc.tuple(fc.nat(9999), fc.constantFrom(...units));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), fc.boolean(), (parts, isNegative) => {
        const text = parts.map(([count, [unit]]) => `${count}${unit}`).join('');
        const sum = parts.reduce((total, [count, [, ms]]) => total + count * ms, 0);
        expect(parseDuration(isNegative ? `-${text}` : text)).toBe(isNegative ? -sum : sum);
      }),
    );
  });

  it('gives a number or a ConfigError for any text', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[-+.0-9hmsnuµ]*$/));
    fc.assert(
      fc.property(text, (value) => {
        try {
          expect(parseDuration(value)).not.toBeNaN();
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
    );
  });
});

describe('parseInteger', () => {
  it.each([
    ['0', 0],
    ['31', 31],
    ['+7', 7],
    ['007', 7],
  ])('%s', (text, value) => expect(parseInteger(text, 0, 31)).toBe(value));

  it.each(['x', '', ' 1', '1.0', '1e1', '0x1', '-1', '32', '99999999999999999999'])('refuses %j', (text) => {
    expect(refusal(() => parseInteger(text, 0, 31))).toBe(
      `must be an integer from 0 to 31, got ${JSON.stringify(text)}`,
    );
  });

  it('may be open above, but not beyond what a number holds', () => {
    expect(parseInteger('123456', 0)).toBe(123_456);
    expect(refusal(() => parseInteger('99999999999999999999', 0))).toContain('an integer of at least 0');
  });
});

it.each(['1', 't', 'T', 'TRUE', 'true', 'True'])('parseBoolean %s', (text) =>
  expect(parseBoolean(text)).toBe(true),
);
it.each(['0', 'f', 'F', 'FALSE', 'false', 'False'])('parseBoolean %s', (text) =>
  expect(parseBoolean(text)).toBe(false),
);
it.each(['', 'yes', 'tRUE', 'on', ' true'])('parseBoolean refuses %j', (text) => {
  expect(refusal(() => parseBoolean(text))).toBe(`must be true or false, got ${JSON.stringify(text)}`);
});

it('parseEnum names the valid values', () => {
  expect(parseEnum('b', ['a', 'b'])).toBe('b');
  expect(refusal(() => parseEnum('B', ['a', 'b']))).toBe('must be a or b, got "B"');
});

it('parseList takes commas and repetition, and keeps an empty item for its parser to refuse', () => {
  expect(parseList(['a, b', 'c', '', ' '])).toEqual(['a', 'b', 'c']);
  expect(parseList(['a,,b'])).toEqual(['a', '', 'b']);
});

it('parseCidrs masks host bits and names the item that is none', () => {
  expect(parseCidrs(['10.1.2.3/8', 'fd00::1/64']).map(formatCidr)).toEqual(['10.0.0.0/8', 'fd00::/64']);
  for (const item of ['', '10.0.0.0', '10.0.0.0/33', 'fd00::/129', 'x/8', '10.0.0.0/-1']) {
    expect(refusal(() => parseCidrs(['10.0.0.0/8', item]))).toContain(`got ${JSON.stringify(item)}`);
  }
});

it('parseHostname trims and lower-cases; blank is an error, empty is not given', () => {
  expect(parseHostname(' Node-1\n')).toBe('node-1');
  expect(parseHostname('')).toBe('');
  expect(refusal(() => parseHostname(' \t'))).toContain('must not be blank');
});

describe('printable', () => {
  it('escapes controls, format characters and lone surrogates, and nothing else', () => {
    expect(printable('a\u001b[31m\n\u009b\u007f\u202e\u2028\ud800z')).toBe(
      'a\\u001b[31m\\u000a\\u009b\\u007f\\u202e\\u2028\\ud800z',
    );
    expect(printable('\u{e0001}')).toBe('\\udb40\\udc01');
    expect(printable('käse 日本 😀')).toBe('käse 日本 😀');
    expect(printableLines('a\nb\r')).toBe('a\nb\\u000d');
    expect(quote('a"\n\u009b')).toBe('"a\\"\\n\\u009b"');
  });

  it('keeps JSON equal', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(JSON.parse(quote(text))).toBe(text);
      }),
    );
  });
});
