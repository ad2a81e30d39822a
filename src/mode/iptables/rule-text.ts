// When two rules are the same: as plain values, whatever order their properties were written in.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';

export const isSameRule: (a: IptablesRule, b: IptablesRule) => boolean = isDeepEqual;

/** Equal for equal rules, and only for those. */
export function ruleText(rule: IptablesRule): string {
  return JSON.stringify(rule, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}
