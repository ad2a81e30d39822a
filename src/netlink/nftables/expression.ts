// Every expression this program reads and writes, as one union of plain objects told apart by `kind`.
// To add one: a file in expression/, a line here, and a fixture in test/netlink.

import type { Codec } from '../codec.ts';
import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import { bitwise } from './expression/bitwise.ts';
import { byteorder } from './expression/byteorder.ts';
import { cmp } from './expression/cmp.ts';
import { counter } from './expression/counter.ts';
import { ct } from './expression/ct.ts';
import { dynset } from './expression/dynset.ts';
import { fib } from './expression/fib.ts';
import { hash } from './expression/hash.ts';
import { immediate } from './expression/immediate.ts';
import { limit } from './expression/limit.ts';
import { log } from './expression/log.ts';
import { lookup } from './expression/lookup.ts';
import { masquerade } from './expression/masquerade.ts';
import { match } from './expression/match.ts';
import { meta } from './expression/meta.ts';
import { nat } from './expression/nat.ts';
import { numgen } from './expression/numgen.ts';
import { payload } from './expression/payload.ts';
import { range } from './expression/range.ts';
import { redirect } from './expression/redirect.ts';
import { reject } from './expression/reject.ts';
import { target } from './expression/target.ts';
import { type ExpressionOf, expressionCodec } from './expression-codec.ts';

const KINDS = {
  bitwise: ['bitwise', bitwise],
  byteorder: ['byteorder', byteorder],
  cmp: ['cmp', cmp],
  counter: ['counter', counter],
  ct: ['ct', ct],
  dynset: ['dynset', dynset],
  fib: ['fib', fib],
  hash: ['hash', hash],
  immediate: ['immediate', immediate],
  limit: ['limit', limit],
  log: ['log', log],
  lookup: ['lookup', lookup],
  masquerade: ['masq', masquerade],
  match: ['match', match],
  meta: ['meta', meta],
  nat: ['nat', nat],
  numgen: ['numgen', numgen],
  payload: ['payload', payload],
  range: ['range', range],
  redirect: ['redir', redirect],
  reject: ['reject', reject],
  target: ['target', target],
} as const;

export type Expression = ExpressionOf<typeof KINDS>;

export const EXPRESSION_KINDS = Object.keys(KINDS) as readonly Exclude<Expression['kind'], 'unknown'>[];

export const expression: Codec<Expression> = expressionCodec(KINDS);

/**
 * The same expressions as a dump of them decodes to: one name per register, no value that says what silence says.
 * Compare with decoded rules only after this.
 */
export function normalizeExpressions(expressions: readonly Expression[]): Expression[] {
  return expressions.map((one) => {
    const writer = new Writer(256);
    expression.encode(writer, one);
    return expression.decode(new Reader('expression', writer.bytes()));
  });
}
