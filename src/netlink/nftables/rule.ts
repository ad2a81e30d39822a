// Rules (NFTA_RULE_*): a list of expressions. A rule has no name, only the handle that the kernel gave it.

import { attr, listOf, required, struct } from '../attribute.ts';
import { bit, string, u32be, u64be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import { type Expression, expression } from './expression.ts';
import type { AnyFamily } from './family.ts';
import { decodeMessage } from './header.ts';
import * as nft from './uapi.ts';
import { comment } from './userdata.ts';

/**
 * What matches and targets of iptables are told of their rule, some of which refuse to work without: the number of its
 * protocol. Only said when a rule is made; dumps do not carry it.
 */
const compat = struct({
  protocol: required(nft.NFTA_RULE_COMPAT_PROTO, u32be),
  isInverted: required(nft.NFTA_RULE_COMPAT_FLAGS, bit(u32be, nft.NFT_RULE_COMPAT_F_INV)),
});

export type RuleCompat = ReturnType<typeof compat.decode>;

export const ruleAttributes = struct({
  table: required(nft.NFTA_RULE_TABLE, string),
  chain: required(nft.NFTA_RULE_CHAIN, string),
  handle: attr(nft.NFTA_RULE_HANDLE, u64be),
  expressions: attr(nft.NFTA_RULE_EXPRESSIONS, listOf(nft.NFTA_LIST_ELEM, expression)),
  compat: attr(nft.NFTA_RULE_COMPAT, compat),
  position: attr(nft.NFTA_RULE_POSITION, u64be),
  comment: attr(nft.NFTA_RULE_USERDATA, comment),
});

export interface Rule {
  readonly family: AnyFamily;
  readonly table: string;
  readonly chain: string;
  readonly handle?: bigint;
  /** Handle of the rule before this one. */
  readonly position?: bigint;
  readonly expressions: readonly Expression[];
  readonly comment?: string;
  /** In a request; never in a dump. */
  readonly compat?: RuleCompat;
}

const handleAlone = struct({ handle: required(nft.NFTA_RULE_HANDLE, u64be) });

/** What the kernel knows the rule of a dump by, without the rest. */
export function decodeRuleHandle(message: NetlinkMessage): bigint {
  return decodeMessage('rule', message, handleAlone).handle;
}

export function decodeRule(message: NetlinkMessage): Rule {
  return { expressions: [], ...decodeMessage('rule', message, ruleAttributes) };
}
