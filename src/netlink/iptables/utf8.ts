// Text to and from binary strings, which have one character per byte.

export function toUtf8(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** undefined for bytes that are not UTF-8. */
export function fromUtf8(bytes: string): string | undefined {
  if (!/[\x80-\xff]/.test(bytes)) return bytes;
  const text = Buffer.from(bytes, 'latin1').toString();
  return text.includes('\ufffd') ? undefined : text;
}
