// Makes text from outside safe to print: nothing in a name, an annotation or an argument may forge a line,
// move a terminal's cursor or reorder what a human reads (C0, C1, DEL, bidi and other format characters, U+2028/9).

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `text` on one line, every unprintable character as `\uXXXX` (which also keeps JSON text valid and equal). */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (char) =>
    [...Array(char.length).keys()]
      .map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/** The same for text of several lines: newlines stay. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** `text` in double quotes, for messages. */
export function quote(text: string): string {
  return printable(JSON.stringify(text));
}
