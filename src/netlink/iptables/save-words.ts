// A line of iptables-save or iptables-restore as words.

import { DecodeError } from '../../errors.ts';

export interface SaveWord {
  /** Without quotes and what escapes. */
  readonly text: string;
  /** A word with quotes is no option. */
  readonly isQuoted: boolean;
  /** Where it is in the line: from `start` up to `end`. */
  readonly start: number;
  readonly end: number;
}

/** Words between blanks; in double quotes there may be blanks, and a backslash before quotes and backslashes. */
const WORD = /(?:[^\s"]|"(?:[^"\\]|\\.)*")+/gs;

/** Throws DecodeError for a quote that does not end. */
export function splitWords(line: string): SaveWord[] {
  const words: SaveWord[] = [];
  let past = 0;
  for (const { 0: raw, index: start } of line.matchAll(WORD)) {
    if (line.slice(past, start).trim() !== '') break;
    past = start + raw.length;
    const isQuoted = raw.includes('"');
    words.push({ text: isQuoted ? unquote(raw) : raw, isQuoted, start, end: past });
  }
  if (line.slice(past).trim() !== '') throw new DecodeError(`'${line}'`, past, 'a quote that does not end');
  return words;
}

export function isWord(word: SaveWord | undefined, text: string): boolean {
  return word !== undefined && !word.isQuoted && word.text === text;
}

function unquote(raw: string): string {
  return raw.replace(/"((?:[^"\\]|\\.)*)"/gs, (_, inner: string) => inner.replace(/\\(.)/gs, '$1'));
}
