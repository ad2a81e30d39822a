// Address families as the kernel's messages name them (AF_INET and AF_INET6, linux/socket.h).

import type { IpFamily } from '../model/ip.ts';
import { type Codec, mapped, oneOf } from './codec.ts';

export const AF: Readonly<Record<IpFamily, number>> = { 4: 2, 6: 10 };

/** A family in a number of the given width; any other is an UnknownValueError. */
export function familyIn(number: Codec<number>): Codec<IpFamily> {
  return mapped(
    oneOf(number, { '4': AF[4], '6': AF[6] }),
    (name): IpFamily => (name === '4' ? 4 : 6),
    (family) => (family === 4 ? '4' : '6'),
  );
}
