// What dnat, snat, masquerade and redirect share. The kernel spells out more than it was told: the bits that only say
// which registers are given, and an upper bound equal to the lower one. Decoding leaves both out.

import { type Codec, mapped, u32be } from '../../codec.ts';

/** linux/netfilter/nf_nat.h, NF_NAT_RANGE_*, as far as a rule may ask for them. */
export const NAT_FLAGS = {
  random: 4,
  persistent: 8,
  fullyRandom: 16,
  netmap: 64,
} as const;

/** NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED */
const IMPLIED_FLAGS = 3;

export const natFlags: Codec<number> = mapped(
  u32be,
  (flags) => flags & ~IMPLIED_FLAGS,
  (flags) => flags,
);

interface NatRegisters {
  readonly addressMin?: number;
  readonly addressMax?: number;
  readonly protoMin?: number;
  readonly protoMax?: number;
}

/** Leaves out upper bounds that equal the lower ones. */
export function withoutEqualBounds<T extends NatRegisters>(codec: Codec<T>): Codec<T> {
  return mapped(
    codec,
    (fields) => {
      const { addressMax, protoMax, ...rest } = fields;
      const bounds: NatRegisters = {
        ...(addressMax === undefined || addressMax === fields.addressMin ? {} : { addressMax }),
        ...(protoMax === undefined || protoMax === fields.protoMin ? {} : { protoMax }),
      };
      return { ...rest, ...bounds } as T;
    },
    (fields) => fields,
  );
}
