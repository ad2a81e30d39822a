// How KubeProxyConfiguration writes values: the JSON of a field ⇄ the texts that a flag would be given. So a value has one parser,
// wherever it stands. In Go most fields cannot say "not given": their zero value is what says it, and the default applies.

import { parseGoDuration } from '../model/duration.ts';
import { parseBoolean, parseList } from './parse.ts';

export interface FieldForm {
  /** What such a field must be, for messages. */
  readonly kind: string;
  /** The texts it means: none where it is not given, undefined when it is nothing of this form. `value` is never null. */
  read(value: unknown): readonly string[] | undefined;
  /** What means these texts, at least one, all of which the field's parser takes. */
  write(texts: readonly string[]): unknown;
}

/** `''` is not given. */
export const STRING: FieldForm = {
  kind: 'a string',
  read: (value) => (typeof value !== 'string' ? undefined : value === '' ? [] : [value]),
  write: (texts) => texts.at(-1),
};

export const BOOLEAN: FieldForm = {
  kind: 'true or false',
  read: (value) => (typeof value === 'boolean' ? [String(value)] : undefined),
  write: (texts) => parseBoolean(texts.at(-1)!),
};

export const INTEGER: FieldForm = {
  kind: 'an integer',
  read: (value) => (Number.isInteger(value) ? [String(value)] : undefined),
  write: (texts) => Number(texts.at(-1)),
};

/** 0 is not given. */
export const NUMBER: FieldForm = {
  kind: 'a number',
  read: (value) => (typeof value !== 'number' ? undefined : value === 0 ? [] : [String(value)]),
  write: (texts) => Number(texts.at(-1)),
};

/** A string that holds a Go duration; none at all is not given. */
export const POSITIVE_DURATION: FieldForm = {
  kind: 'a duration such as 30s, as a string',
  read: (value) => {
    const texts = STRING.read(value);
    return texts?.some((text) => parseGoDuration(text) === 0) ? [] : texts;
  },
  write: STRING.write,
};

/** A duration as a string, or as a number of nanoseconds (component-base's TimeOrMetaDuration); none is not given. */
export const DURATION_OR_NANOSECONDS: FieldForm = {
  kind: 'a duration such as 5s, or nanoseconds',
  read: (value) => POSITIVE_DURATION.read(Number.isInteger(value) ? `${value}ns` : value),
  write: STRING.write,
};

/** An empty list is not given. */
export const STRINGS: FieldForm = {
  kind: 'a list of strings',
  read: (value) =>
    Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined,
  write: parseList,
};

/** A mapping of names to booleans; as texts `Name=true`. */
export const GATES: FieldForm = {
  kind: 'a mapping of names to true or false',
  read: (value) => {
    if (!isMapping(value)) return undefined;
    const gates = Object.entries(value);
    if (!gates.every(([, isOn]) => typeof isOn === 'boolean')) return undefined;
    return gates.map(([name, isOn]) => `${name}=${isOn}`);
  },
  write: (texts) =>
    Object.fromEntries(
      parseList(texts).map((item) => {
        const at = item.indexOf('=');
        return [item.slice(0, at).trim(), parseBoolean(item.slice(at + 1).trim())];
      }),
    ),
};

/** A list of `{ filePattern, verbosity }`; as texts `pattern=N`. */
export const LOG_PATTERNS: FieldForm = {
  kind: 'a list of filePattern and verbosity',
  read: (value) => {
    if (!Array.isArray(value)) return undefined;
    const texts = value.map((item) => {
      if (!isMapping(item) || Object.keys(item).length !== 2) return undefined;
      const { filePattern, verbosity } = item;
      const isValid = typeof filePattern === 'string' && Number.isInteger(verbosity);
      return isValid ? `${filePattern}=${verbosity}` : undefined;
    });
    return texts.every((text) => text !== undefined) ? texts : undefined;
  },
  write: (texts) =>
    parseList(texts).map((item) => {
      const at = item.lastIndexOf('=');
      return { filePattern: item.slice(0, at), verbosity: Number(item.slice(at + 1)) };
    }),
};

/** True for what YAML and JSON call a mapping. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
