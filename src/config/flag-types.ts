// Types of flags and fields that many have.

import { ConfigError } from '../errors.ts';
import type { Cidr } from '../model/ip.ts';
import { BOOLEAN, INTEGER, POSITIVE_DURATION, STRINGS } from './field-form.ts';
import { type FlagType, scalar } from './flag.ts';
import { parseBoolean, parseCidrs, parseDuration, parseInteger, parseList } from './parse.ts';
import { quote } from './printable.ts';

/** Stands alone for true. */
export const boolean: FlagType<boolean> = { ...scalar('bool', parseBoolean), bare: 'true', form: BOOLEAN };
/** Any text. */
export const text = (hint: string) => scalar(hint, (value) => value);

/** An integer in `min` to `max`. */
export const integer = (hint: string, min: number, max?: number): FlagType<number> => ({
  ...scalar(hint, (value) => parseInteger(value, min, max)),
  form: INTEGER,
});

/** Milliseconds, 0 or more. */
export const nonNegativeDuration = scalar('duration', (value) => {
  const ms = parseDuration(value);
  if (ms < 0) throw new ConfigError(`must not be negative, got ${quote(value)}`);
  return ms;
});

/** Milliseconds, above 0. */
export const positiveDuration: FlagType<number> = {
  ...scalar('duration', (value) => {
    const ms = parseDuration(value);
    if (ms <= 0) throw new ConfigError(`must be greater than 0, got ${quote(value)}`);
    return ms;
  }),
  form: POSITIVE_DURATION,
};

/** Any number of `address/prefix`. */
export const cidrs: FlagType<readonly Cidr[]> = {
  hint: 'cidrs',
  form: STRINGS,
  parse: (texts) => parseCidrs(parseList(texts)),
};
