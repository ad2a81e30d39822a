// Cuts a file into its YAML documents before any of them is parsed, so that a broken one does not take the others with
// it. YAML 1.2 chapter 9: `---` and `...` in the first column are markers wherever they stand, block scalars included.

/** One document of a file. */
export interface DocumentText {
  readonly text: string;
  /** Byte where it begins in the file. */
  readonly start: number;
}

const MARKER = /^(?:---|\.\.\.)(?=[ \t]|$)/gm;

/** The documents that have content, in order. Each text is a string of its own, not a view of the whole file. */
export function splitDocuments(bytes: Buffer): readonly DocumentText[] {
  const documents: DocumentText[] = [];
  let start = 0;
  const cut = (end: number): void => {
    const text = bytes.toString('utf8', start, end);
    const isDocument = hasContent(text);
    if (isDocument) documents.push({ text, start });
    // Directives (`%YAML 1.2`) stand before the marker of the document they belong to.
    if (isDocument || !/^%/m.test(text)) start = end;
  };
  // In Latin-1 one character is one byte, so that positions are offsets.
  for (const { index, 0: marker } of bytes.toString('latin1').matchAll(MARKER)) {
    cut(marker === '---' ? index : index + marker.length);
  }
  cut(bytes.length);
  return documents;
}

/** The line, from 1, on which a byte of a file lies. */
export function lineAt(bytes: Buffer, offset: number): number {
  let line = 1;
  for (let at = bytes.indexOf(10); at >= 0 && at < offset; at = bytes.indexOf(10, at + 1)) line++;
  return line;
}

/** False when there are only markers, directives, comments and blanks. */
function hasContent(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const rest = text
      .slice(at, end)
      .replace(/^(?:---|\.\.\.|%.*)(?=\s|$)/, '')
      .trim();
    if (rest !== '' && !rest.startsWith('#')) return true;
    at = end + 1;
  }
  return false;
}
