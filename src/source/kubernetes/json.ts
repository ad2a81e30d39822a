// JSON from bytes that somebody else wrote.

import { isUtf8 } from 'node:buffer';

/**
 * The value that `bytes` encode.
 * @throws SyntaxError when they are not UTF-8 or not JSON. Buffer's own decoding would quietly turn broken UTF-8 into
 * U+FFFD, and so one name into another.
 */
export function decodeJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError('not valid UTF-8');
  return JSON.parse(bytes.toString('utf8'));
}

/** True for a JSON object: not null, not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
