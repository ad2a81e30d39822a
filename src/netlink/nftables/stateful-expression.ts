// Expressions with a state of their own, the only ones that may belong to set elements: `counter`, `limit rate …`.

import { counter } from './expression/counter.ts';
import { limit } from './expression/limit.ts';
import { type ExpressionOf, expressionCodec } from './expression-codec.ts';

const KINDS = {
  counter: ['counter', counter],
  limit: ['limit', limit],
} as const;

export type StatefulExpression = ExpressionOf<typeof KINDS>;

export const statefulExpression = expressionCodec(KINDS);

/** The kernel has one attribute for a single expression and another for several. */
export interface ExpressionAttributes {
  readonly expression?: StatefulExpression;
  readonly expressionList?: readonly StatefulExpression[];
}

export function toExpressionAttributes(
  expressions: readonly StatefulExpression[] | undefined,
): ExpressionAttributes {
  if (expressions === undefined || expressions.length === 0) return {};
  return expressions.length === 1 ? { expression: expressions[0]! } : { expressionList: expressions };
}

export function fromExpressionAttributes({ expression, expressionList }: ExpressionAttributes): {
  readonly expressions?: readonly StatefulExpression[];
} {
  const expressions = expression === undefined ? expressionList : [expression];
  return expressions === undefined ? {} : { expressions };
}
