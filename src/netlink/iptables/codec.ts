// An iptables rule to and from the expressions of nf_tables that iptables-nft makes of it: tests, matches, a counter, the
// target. Written as iptables-nft 1.8.9 does; read as any of 1.8.9 to 1.8.11 writes it, or as the kernel dumps it.

import type { IpFamily } from '../../model/ip.ts';
import type { Expression } from '../nftables/expression.ts';
import type { Rule, RuleCompat } from '../nftables/rule.ts';
import { readTest, type Test } from './expressions.ts';
import { decodeHeader, encodeHeader } from './header.ts';
import { decodeXtMatch, encodeXtMatch } from './match.ts';
import { decodeMark, decodePorts, encodeMark, encodePorts } from './native.ts';
import { protocolNumber } from './protocol.ts';
import type { IptablesRule, Match } from './rule.ts';
import { decodeTarget, encodeTarget, pushUnknown } from './target.ts';

/** What a rule request says of the rule. */
export interface EncodedRule {
  readonly expressions: readonly Expression[];
  /** Of a rule with a protocol, which matches and targets of iptables ask for. */
  readonly compat?: RuleCompat;
}

const COUNTER: Expression = { kind: 'counter' };

/**
 * What iptables-nft would send for the rule. A value that does not fit the family or its place, such as a comment that is
 * too long or ports without a protocol, is an InternalError.
 */
export function encodeIptablesRule(rule: IptablesRule, family: IpFamily): EncodedRule {
  const { protocol, matches, target } = rule;
  const expressions: Expression[] = [];
  encodeHeader(expressions, rule, family);
  for (const match of matches) encodeMatch(expressions, match, protocol);
  // Before the target, which may end the rule.
  expressions.push(COUNTER);
  if (target) encodeTarget(expressions, target, family);
  if (protocol === undefined) return { expressions };
  const compat = { protocol: protocolNumber(protocol.name), isInverted: protocol.isInverted };
  return { expressions, compat };
}

function encodeMatch(expressions: Expression[], match: Match, protocol: IptablesRule['protocol']): void {
  switch (match.kind) {
    case 'unknown':
      pushUnknown(expressions, match);
      break;
    case 'mark':
      encodeMark(expressions, match);
      break;
    case 'ports':
      encodePorts(expressions, match, protocol);
      break;
    default:
      expressions.push(encodeXtMatch(match));
  }
}

type Draft = { -readonly [K in keyof IptablesRule]: IptablesRule[K] } & { matches: Match[] };

/**
 * The rule that iptables-save would print for the expressions and the comment of a dump. Never fails: what iptables has
 * no words for, or this program none, is in the rule as `unknown`. The count of the rule is left out.
 */
export function decodeIptablesRule(
  { expressions, comment }: Pick<Rule, 'expressions' | 'comment'>,
  family: IpFamily,
): IptablesRule {
  const draft: Draft = { matches: [] };
  let isCounted = false;
  for (let index = 0; index < expressions.length; ) {
    const test = readTest(expressions, index);
    const count = test?.count ?? 1;
    const first = expressions[index]!;
    const isTaken =
      first.kind === 'counter' ? !isCounted : draft.target === undefined && take(draft, first, test, family);
    if (first.kind === 'counter') isCounted = true;
    if (!isTaken) keep(draft, expressions.slice(index, index + count), isCounted);
    index += count;
  }
  // Where nft keeps comments; iptables prints it last.
  if (comment !== undefined) draft.matches.push({ kind: 'comment', text: comment });
  return draft;
}

/** Puts into the draft what the expression, or the test that begins with it, says. False if there are no words for it. */
function take(draft: Draft, first: Expression, test: Test | undefined, family: IpFamily): boolean {
  if (test !== undefined) {
    const header = decodeHeader(test, family);
    if (header === undefined) return takeNativeMatch(draft, test);
    if (Object.keys(header).some((name) => name in draft)) return false;
    Object.assign(draft, header);
    return true;
  }
  if (first.kind === 'match') {
    const match = decodeXtMatch(first, portProtocol(draft), family);
    if (match === undefined || (match.kind === 'ports' && hasPorts(draft))) return false;
    draft.matches.push(match);
    return true;
  }
  const target = decodeTarget(first, family);
  if (target === undefined) return false;
  draft.target = target;
  return true;
}

/** The second side of a rule's ports joins the first. */
function takeNativeMatch(draft: Draft, test: Test): boolean {
  const mark = decodeMark(test);
  if (mark !== undefined) {
    draft.matches.push(mark);
    return true;
  }
  const protocol = portProtocol(draft);
  const ports = protocol === 'tcp' || protocol === 'udp' ? decodePorts(test) : undefined;
  if (ports === undefined) return false;
  const index = draft.matches.findIndex(({ kind }) => kind === 'ports');
  const known = draft.matches[index];
  if (known === undefined) {
    draft.matches.push(ports);
    return true;
  }
  if (PORT_SIDES.some((side) => side in known && side in ports)) return false;
  draft.matches[index] = { ...known, ...ports };
  return true;
}

const PORT_SIDES = ['sourcePorts', 'destinationPorts'] as const;

const hasPorts = ({ matches }: Draft): boolean => matches.some(({ kind }) => kind === 'ports');

const portProtocol = ({ protocol }: Draft): string | undefined =>
  protocol === undefined || protocol.isInverted ? undefined : protocol.name;

/** Keeps expressions as they are: before the counter as a match, after it as the target. */
function keep(draft: Draft, expressions: readonly Expression[], isCounted: boolean): void {
  const first = expressions[0]!;
  const name = 'name' in first ? first.name : first.kind;
  if (!isCounted || (draft.target !== undefined && draft.target.kind !== 'unknown')) {
    draft.matches.push({ kind: 'unknown', name, expressions });
  } else {
    const known = draft.target;
    draft.target =
      known === undefined
        ? { kind: 'unknown', name, expressions }
        : { ...known, expressions: [...known.expressions, ...expressions] };
  }
}
