// Adds to a set from the packet path: `update @affinity { ip saddr . ip daddr : … timeout 3h }`.

import { attr, listOf, required, struct } from '../../attribute.ts';
import { bit, mapped, oneOf, safeU64be, string, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import {
  fromExpressionAttributes,
  type StatefulExpression,
  statefulExpression,
  toExpressionAttributes,
} from '../stateful-expression.ts';
import * as nft from '../uapi.ts';

const wire = struct({
  keyRegister: required(nft.NFTA_DYNSET_SREG_KEY, register),
  dataRegister: attr(nft.NFTA_DYNSET_SREG_DATA, register),
  op: required(nft.NFTA_DYNSET_OP, oneOf(u32be, { add: 0, update: 1, delete: 2 })),
  timeoutMs: attr(nft.NFTA_DYNSET_TIMEOUT, safeU64be, 0),
  set: required(nft.NFTA_DYNSET_SET_NAME, string),
  setId: attr(nft.NFTA_DYNSET_SET_ID, u32be),
  expression: attr(nft.NFTA_DYNSET_EXPR, statefulExpression),
  expressionList: attr(nft.NFTA_DYNSET_EXPRESSIONS, listOf(nft.NFTA_LIST_ELEM, statefulExpression)),
  isInverted: attr(nft.NFTA_DYNSET_FLAGS, bit(u32be, nft.NFT_DYNSET_F_INV), false),
});

export interface Dynset {
  readonly op: 'add' | 'update' | 'delete';
  readonly set: string;
  /** Names an anonymous set of the same batch; dumps do not carry it. */
  readonly setId?: number;
  readonly keyRegister: number;
  /** The value, for a map. */
  readonly dataRegister?: number;
  readonly timeoutMs?: number;
  readonly expressions?: readonly StatefulExpression[];
  /** The rule goes on when the set is full. */
  readonly isInverted?: boolean;
}

export const dynset = mapped(
  wire,
  ({ expression, expressionList, ...rest }): Dynset => ({
    ...rest,
    ...fromExpressionAttributes({
      ...(expression && { expression }),
      ...(expressionList && { expressionList }),
    }),
  }),
  ({ expressions, ...rest }) => ({ ...rest, ...toExpressionAttributes(expressions) }),
);
