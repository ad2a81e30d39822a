// The registers of nf_tables: 64 bytes, addressed by two numberings (src/netlink/nftables/register.ts tells which).
// Values are binary strings; numbers are 32-bit in host order. A rule may read only what it wrote itself: newer kernels
// refuse any other, older ones would give it what happens to be on the stack.

const WORD = 4;
export const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export type Registers = ReturnType<typeof registers>;

export function registers() {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  const isWritten = new Array<boolean>(bytes.length / WORD).fill(false);

  const offsetOf = (register: number): number => {
    if (register >= 1 && register <= 4) return (register - 1) * 16;
    if (register >= 8 && register <= 23) return (register - 8) * WORD;
    throw new Error(`no data register ${register}`);
  };

  const packNumber = (value: number): string => {
    const word = new DataView(new ArrayBuffer(WORD));
    word.setUint32(0, value >>> 0, isLittleEndian);
    return String.fromCharCode(...new Uint8Array(word.buffer));
  };

  /** Pads the last word with zeros, as the kernel does. */
  const write = (register: number, value: string): void => {
    if (value === '') throw new Error('nothing to write');
    const padded = value.padEnd(Math.ceil(value.length / WORD) * WORD, '\0');
    const start = offsetOf(register);
    for (let i = 0; i < padded.length; i++) {
      const byte = padded.charCodeAt(i);
      if (byte > 0xff) throw new Error('reads a part of the packet that is not traced');
      bytes[start + i] = byte;
    }
    isWritten.fill(true, start / WORD, (start + padded.length) / WORD);
  };

  /** Where `length` bytes begin. @throws unless all of them were written. */
  const startOf = (register: number, length: number): number => {
    const start = offsetOf(register);
    if (isWritten.slice(start / WORD, Math.ceil((start + length) / WORD)).includes(false))
      throw new Error(`register ${register} is read before it is written`);
    return start;
  };

  return {
    packNumber,
    write,
    writeNumber: (register: number, value: number) => write(register, packNumber(value)),
    read: (register: number, length: number): string => {
      const start = startOf(register, length);
      return String.fromCharCode(...bytes.subarray(start, start + length));
    },
    readNumber: (register: number): number => view.getUint32(startOf(register, WORD), isLittleEndian),
    /** Begins another rule. */
    forget: (): void => {
      isWritten.fill(false);
    },
  };
}
