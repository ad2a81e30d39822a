// Builds netlink bytes the plain way, by concatenating: an opinion of its own to hold the codecs against.

/** A 16-bit or 32-bit number in host order, or in network order. */
export const u16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
export const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
export const i32 = (value: number) => Buffer.from(Int32Array.of(value).buffer);
export const be32 = (value: number) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value]);

const padding = (length: number) => Buffer.alloc((4 - (length % 4)) % 4);

/** An attribute with the given payload, or a nested one with the given attributes. */
export function attribute(type: number, content: Buffer | readonly Buffer[]): Buffer {
  const payload = Buffer.isBuffer(content) ? content : Buffer.concat(content);
  const flags = Buffer.isBuffer(content) ? 0 : 0x8000;
  return Buffer.concat([u16(payload.length + 4), u16(type | flags), payload, padding(payload.length)]);
}

export const text = (value: string) => Buffer.from(`${value}\0`);

/** A message with the given payload. */
export function message(type: number, flags: number, seq: number, ...payload: readonly Buffer[]): Buffer {
  const body = Buffer.concat(payload);
  return Buffer.concat([
    u32(body.length + 16),
    u16(type),
    u16(flags),
    u32(seq),
    u32(0),
    body,
    padding(body.length),
  ]);
}
