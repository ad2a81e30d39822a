import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../src/errors.ts';
import {
  joinSetUserdata,
  splitSetUserdata,
  typeofUserdata,
} from '../../src/netlink/nftables/set-userdata.ts';
import { comment } from '../../src/netlink/nftables/userdata.ts';
import { Reader } from '../../src/netlink/reader.ts';
import { Writer } from '../../src/netlink/writer.ts';

function encode(text: string): Buffer {
  const writer = new Writer();
  comment.encode(writer, text);
  return writer.bytes();
}
const decode = (bytes: Buffer) => comment.decode(new Reader('comment', bytes));

describe('a comment', () => {
  it('is one entry as nft writes it', () => {
    expect(encode('hi')).toEqual(Buffer.from([0, 3, 0x68, 0x69, 0]));
    expect(encode('x'.repeat(127))).toEqual(
      Buffer.concat([Buffer.from([0, 128]), Buffer.from(`${'x'.repeat(127)}\0`)]),
    );
  });

  it('beyond what nft reads goes on in an entry of its own', () => {
    const bytes = encode('x'.repeat(130));
    expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0, 128]));
    expect(bytes.subarray(130)).toEqual(Buffer.from([0xf0, 3, 0x78, 0x78, 0x78]));
  });

  it('is cut between characters, not inside one', () => {
    const text = `${'x'.repeat(126)}üü`;
    expect(encode(text)[1]).toBe(127);
    expect(decode(encode(text))).toBe(text);
  });

  it('fits in the 256 bytes that the kernel keeps, up to 251 bytes', () => {
    expect(encode('x'.repeat(251))).toHaveLength(256);
    expect(() => encode('x'.repeat(252))).toThrow(InternalError);
  });

  it('comes back, whatever it is', () => {
    const text = fc
      .string({ unit: 'grapheme', maxLength: 60 })
      .filter((one) => !one.includes('\0') && one !== '');
    fc.assert(
      fc.property(text, (one) => {
        expect(decode(encode(one))).toBe(one);
      }),
    );
  });

  it.each([
    ['no bytes', ''],
    ['an empty comment', '000100'],
    ['entries of others', '0104000000010602abcd'],
    ['half an entry', '0009ab'],
    ['text that is not ours', '68656c6c6f'],
  ])('is not found in %s', (_, bytes) => {
    expect(decode(Buffer.from(bytes, 'hex'))).toBeUndefined();
  });
});

describe('userdata of a set', () => {
  const userdata = typeofUserdata({ key: [{ kind: 'meta', key: 'mark' }] });

  it('carries the comment beside what nft needs', () => {
    expect(splitSetUserdata(joinSetUserdata(userdata, 'grün'))).toEqual({ userdata, comment: 'grün' });
    expect(splitSetUserdata(joinSetUserdata(userdata))).toEqual({ userdata });
    expect(splitSetUserdata(joinSetUserdata(undefined, 'x'))).toEqual({ comment: 'x' });
    expect(splitSetUserdata('')).toEqual({});
  });

  it('that another program wrote stays as it is', () => {
    for (const bytes of ['\x07\x05ab', 'a', '\x00\xff'])
      expect(splitSetUserdata(bytes)).toEqual({ userdata: bytes });
  });
});
