// Short hands for the golden requests: binary strings from hex and numbers, and expressions that recur.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { DATATYPE } from '../../../src/netlink/nftables/datatypes.ts';
import type { Element } from '../../../src/netlink/nftables/element.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import type { NftFamily } from '../../../src/netlink/nftables/family.ts';
import type { SetDeclaration } from '../../../src/netlink/nftables/set.ts';

/** A binary string from hex digits; blanks do not count. */
export function hex(digits: string): string {
  return Buffer.from(digits.replaceAll(' ', ''), 'hex').toString('latin1');
}

/** Requests in one table. */
export function requestsIn(family: NftFamily, table: string) {
  const at = { family, table } as const;
  return {
    at,
    chain: (chain: string): NftRequest => ({ op: 'addChain', ...at, chain }),
    rule: (chain: string, ...expressions: readonly Expression[]): NftRequest => ({
      op: 'addRule',
      ...at,
      chain,
      expressions,
    }),
    set: (set: string, setId: number, declaration: SetDeclaration): NftRequest => ({
      op: 'addSet',
      ...at,
      set,
      setId,
      ...declaration,
    }),
    elements: (set: string, setId: number, elements: readonly Element[]): NftRequest => ({
      op: 'addElements',
      ...at,
      set,
      setId,
      elements,
    }),
  };
}

/** Four bytes of a number in the machine's order, as packet marks and numgen have them in registers. */
export function host32(value: number): string {
  return Buffer.from(Uint32Array.of(value).buffer).toString('latin1');
}

export const l4proto = (register = 1): Expression => ({ kind: 'meta', key: 'l4proto', register });
export const mark: Expression = { kind: 'meta', key: 'mark', register: 1 };
export const setMark: Expression = { kind: 'meta', key: 'mark', sourceRegister: 1 };
export const saddr = (register = 1): Expression => network(12, register);
export const daddr = (register = 1): Expression => network(16, register);
export const dport = (register = 1): Expression => ({
  kind: 'payload',
  base: 'transport',
  offset: 2,
  length: 2,
  register,
});
export const isTcp: readonly Expression[] = [
  l4proto(),
  { kind: 'cmp', register: 1, op: 'eq', data: hex('06') },
];

const network = (offset: number, register: number): Expression => ({
  kind: 'payload',
  base: 'network',
  offset,
  length: 4,
  register,
});

/** `numgen random mod …`; nft spells the offset out. */
export const random = (modulus: number, register: number): Expression => ({
  kind: 'numgen',
  type: 'random',
  modulus,
  register,
  offset: 0,
});

/** `{ tcp, udp, sctp }` as nft declares it: constant, without a name. */
export const anonymousProtocols: SetDeclaration = {
  keyType: DATATYPE.inet_proto,
  keyLength: 1,
  isMap: false,
  flags: { anonymous: true, constant: true },
  size: 3,
  userdata: hex(`00 04 ${hostHex(1)} 03 0e 00 04 ${hostHex(9)} 01 06 00 04 ${hostHex(16)}`),
};
export const protocols = [{ key: hex('06') }, { key: hex('11') }, { key: hex('84') }];

function hostHex(value: number): string {
  return Buffer.from(host32(value), 'latin1').toString('hex');
}
