// One copy of each string that thousands of objects repeat (node names, namespaces, port names): what a parsed page
// of JSON holds is one string per occurrence.

const MAX_ENTRIES = 16_384;
const interned = new Map<string, string>();

/** A string equal to `text`, the same one each time as far as memory is bounded. */
export function intern(text: string): string {
  const known = interned.get(text);
  if (known !== undefined) return known;
  if (interned.size >= MAX_ENTRIES) interned.clear();
  interned.set(text, text);
  return text;
}
