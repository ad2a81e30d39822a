// A readable difference of two runs of bytes: side by side, four bytes a line, from the first line that differs.

/** undefined if the bytes are equal. */
export function differenceOf(got: Uint8Array, want: Uint8Array): string | undefined {
  const words = (bytes: Uint8Array) =>
    Buffer.from(bytes)
      .toString('hex')
      .match(/.{1,8}/g) ?? [];
  const [gotWords, wantWords] = [words(got), words(want)];
  const count = Math.max(gotWords.length, wantWords.length);
  const first = Array.from({ length: count }, (_, i) => i).find((i) => gotWords[i] !== wantWords[i]);
  if (first === undefined) return undefined;
  const lines = Array.from({ length: 12 }, (_, i) => {
    const word = first + i;
    return `${String(word * 4).padStart(6)}  ${gotWords[word] ?? '-'.repeat(8)}  ${wantWords[word] ?? '-'.repeat(8)}`;
  });
  return `bytes differ (offset, got, want)\n${lines.join('\n')}`;
}
