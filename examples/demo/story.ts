// How the demo tells what it does: chapters, commands with their output, and claims. A claim is printed only when it
// has proved true; the first that has not ends the demo.

import { patient } from '../../test/support/patience.ts';

/** A claim that is not true. */
export class ClaimError extends Error {
  constructor(claim: string, instead: string) {
    super(`expected: ${claim}\ninstead:  ${instead}`);
    this.name = 'ClaimError';
  }
}

const isTerminal = process.stdout.isTTY === true;
const isUtf8 = /utf-?8/i.test(process.env['LC_ALL'] || process.env['LC_CTYPE'] || process.env['LANG'] || '');
const isColored = isTerminal && process.env['NO_COLOR'] === undefined;
const MARK = isTerminal && isUtf8 ? '✔' : 'ok';
const INDENT = '   ';
const WIDTH = 100;

const colored = (code: number) => (text: string) => (isColored ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = colored(1);
const dim = colored(2);
const green = colored(32);

let chapters = 0;

/** Starts a chapter. */
export function chapter(title: string): void {
  console.log(`\n${bold(`${++chapters}. ${title}`)}`);
}

/** A paragraph, wrapped. */
export function say(text: string): void {
  let line = INDENT;
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > WIDTH) {
      console.log(line.trimEnd());
      line = INDENT;
    }
    line += `${word} `;
  }
  console.log(line.trimEnd());
}

/** A command as a reader would type it, and what it printed. */
export function show(command: string, output = ''): void {
  console.log(dim(`${INDENT}$ ${command}`));
  for (const line of output.replaceAll('\t', '  ').split('\n'))
    if (line !== '') console.log(`${INDENT}  ${line}`);
}

/** States a fact. @throws ClaimError unless it is one; `seen` says what was found, and follows the claim. */
export function claim(text: string, isTrue: boolean, seen: string): void {
  if (!isTrue) throw new ClaimError(text, seen);
  console.log(`${INDENT}${green(MARK)} ${text}${seen === '' ? '' : dim(`: ${seen}`)}`);
}

/** Waits until `condition` holds; gives the milliseconds it took. @throws ClaimError after `timeoutMs`, longer in a guest. */
export async function until(
  text: string,
  condition: () => Promise<boolean>,
  timeoutMs = patient(10_000),
): Promise<number> {
  const startMs = performance.now();
  while (!(await condition())) {
    if (performance.now() - startMs > timeoutMs) throw new ClaimError(text, `not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - startMs;
}

/** `18 ms`, `1.3 ms`. */
export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** `hostname-1 203, hostname-2 190`. */
export function formatCounts(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
}
