// Commented hex: bytes as text that people can read and review. A line is bytes, then `#` and a comment.
// The formatter walks the bytes on its own, so that a fixture does not depend on the codecs it is to judge.

import { readFileSync } from 'node:fs';

/** The bytes of a commented hex text. */
export function parseHex(text: string): Buffer {
  return Buffer.from(text.replace(/#.*$/gm, '').replace(/\s+/g, ''), 'hex');
}

/** The bytes of a file in test/netlink/fixtures. */
export function readFixture(name: string): Buffer {
  return parseHex(readFileSync(new URL(`../fixtures/${name}.hex`, import.meta.url), 'utf8'));
}

/** The messages of a datagram, each as a Buffer with its header and padding. */
export function cutMessages(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const length = (bytes.readUInt32LE(offset) + 3) & ~3;
    messages.push(bytes.subarray(offset, offset + length));
    offset += length;
  }
  return messages;
}

/** nf_tables messages of a little-endian machine as commented hex. */
export function formatMessages(bytes: Buffer): string {
  const lines: string[] = [];
  for (const message of cutMessages(bytes)) {
    const type = message.readUInt16LE(4);
    lines.push('', `${hex(message.subarray(0, 4))} # length ${message.readUInt32LE(0)}`);
    lines.push(
      `${hex(message.subarray(4, 8))} # type 0x${type.toString(16)}, flags 0x${message.readUInt16LE(6).toString(16)}`,
    );
    lines.push(`${hex(message.subarray(8, 12))} # sequence ${message.readUInt32LE(8)}`);
    lines.push(
      `${hex(message.subarray(12, 16))} # port`,
      `${hex(message.subarray(16, 20))} # family, version, resource`,
    );
    formatAttributes(message.subarray(20), '', lines);
  }
  return `${lines.join('\n')}\n`;
}

function formatAttributes(bytes: Buffer, indent: string, lines: string[]): void {
  for (let offset = 0; offset < bytes.length; ) {
    const length = bytes.readUInt16LE(offset);
    const type = bytes.readUInt16LE(offset + 2);
    const payload = bytes.subarray(offset + 4, offset + ((length + 3) & ~3));
    lines.push(`${indent}${hex(bytes.subarray(offset, offset + 4))} # ${type & 0x3fff}, ${length - 4} bytes`);
    if ((type & 0x8000) !== 0) {
      formatAttributes(payload, `${indent}  `, lines);
    } else {
      for (let word = 0; word < payload.length; word += 4) {
        const four = payload.subarray(word, word + 4);
        lines.push(`${indent}  ${hex(four)} # ${four.toString('latin1').replace(/[^ -~]/g, '.')}`);
      }
    }
    offset += (length + 3) & ~3;
  }
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex').replace(/..(?=.)/g, '$& ');
}
