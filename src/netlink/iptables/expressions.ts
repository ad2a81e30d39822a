// The expressions of nf_tables that iptables-nft makes rules of, and how a run of them is read as one test:
// `payload load …`, perhaps `bitwise`, then `cmp` or `range`.

import type { Expression } from '../nftables/expression.ts';

type ExpressionOf<Kind extends Expression['kind']> = Extract<Expression, { readonly kind: Kind }>;

export type MatchExpression = ExpressionOf<'match'>;
export type TargetExpression = ExpressionOf<'target'>;
export type MetaKey = ExpressionOf<'meta'>['key'];
type Payload = ExpressionOf<'payload'>;
type CmpOp = ExpressionOf<'cmp'>['op'];

/** iptables-nft loads everything into the first one. */
const REGISTER = 1;

export const loadMeta = (key: MetaKey): Expression => ({ kind: 'meta', key, register: REGISTER });

export function loadPayload(base: Payload['base'], offset: number, length: number): Expression {
  return { kind: 'payload', base, offset, length, register: REGISTER };
}

export const compare = (op: CmpOp, data: string): Expression => ({
  kind: 'cmp',
  register: REGISTER,
  op,
  data,
});

export const compareRange = (op: 'eq' | 'neq', from: string, to: string): Expression => ({
  kind: 'range',
  register: REGISTER,
  op,
  from,
  to,
});

export const applyMask = (mask: string): Expression => ({
  kind: 'bitwise',
  sourceRegister: REGISTER,
  register: REGISTER,
  length: mask.length,
  mask,
  xor: '\0'.repeat(mask.length),
});

/** What is loaded, masked if at all, is compared with `from`, or with the range up to `to`. */
export interface Test {
  readonly loaded: { readonly key: MetaKey } | { readonly base: Payload['base']; readonly offset: number };
  readonly mask?: string;
  readonly op: CmpOp;
  readonly from: string;
  readonly to?: string;
  /** How many expressions it takes. */
  readonly count: number;
}

/** The test that begins at `index`; undefined if none does. */
export function readTest(expressions: readonly Expression[], index: number): Test | undefined {
  const load = expressions[index];
  if (load === undefined || (load.kind !== 'meta' && load.kind !== 'payload')) return undefined;
  const { register } = load;
  if (register === undefined) return undefined;
  const loaded = load.kind === 'meta' ? { key: load.key } : { base: load.base, offset: load.offset };
  let next = index + 1;
  let mask: string | undefined;
  const bitwise = expressions[next];
  if (bitwise?.kind === 'bitwise') {
    if (!isMask(bitwise, register)) return undefined;
    mask = bitwise.mask;
    next++;
  }
  const masked = mask === undefined ? undefined : { mask };
  const compared = expressions[next];
  const count = next + 1 - index;
  if (compared?.kind === 'cmp' && compared.register === register) {
    return { loaded, ...masked, op: compared.op, from: compared.data, count };
  }
  if (compared?.kind === 'range' && compared.register === register) {
    return { loaded, ...masked, op: compared.op, from: compared.from, to: compared.to, count };
  }
  return undefined;
}

function isMask(
  { sourceRegister, register: destination, op, mask, xor }: ExpressionOf<'bitwise'>,
  register: number,
): boolean {
  return (
    sourceRegister === register &&
    destination === register &&
    (op ?? 'boolean') === 'boolean' &&
    mask !== undefined &&
    (xor === undefined || /^\0*$/.test(xor))
  );
}
