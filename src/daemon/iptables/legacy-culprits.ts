// Whose rules the kernel refuses: it refuses a legacy table as a whole and does not say why. So the rules that were to be
// written are tried by halves, in a chain that nothing leads to.

import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import { formatIptablesRule } from '../../netlink/iptables/format.ts';
import type { IptablesRule } from '../../netlink/iptables/rule.ts';
import type { IptablesTable } from '../../netlink/iptables/tables.ts';
import type { RestoreLine } from './legacy-restore.ts';
import type { LegacyTool } from './legacy-tool.ts';

/** One of ours by its name: should it be left behind, the next full sync removes it. */
const TRIAL_CHAIN = 'KUBE-FW-TRIAL';
/** Each reads and replaces the table, which takes a second with 10,000 Services. */
const MAX_TRIALS = 40;

/** Services with rules among `lines` of `table` that the kernel refuses by themselves: as many as some trials find. */
export async function findCulprits(
  tool: LegacyTool,
  family: IpFamily,
  table: IptablesTable,
  lines: Iterable<RestoreLine>,
): Promise<ServiceKey[]> {
  const rules = new Map<ServiceKey, IptablesRule[]>();
  for (const { rule, service, table: of } of lines) {
    if (rule === undefined || service === undefined || of !== table) continue;
    const ofService = rules.get(service);
    if (ofService === undefined) rules.set(service, [rule]);
    else ofService.push(rule);
  }
  const culprits: ServiceKey[] = [];
  let trials = 0;
  const search = async (suspects: readonly ServiceKey[]): Promise<void> => {
    if (suspects.length === 0 || trials++ === MAX_TRIALS) return;
    const tried = suspects.flatMap((service) => rules.get(service)!);
    if ((await tool.restore(family, trialLines(family, table, tried))) === undefined) return;
    if (suspects.length === 1) culprits.push(suspects[0]!);
    else {
      const half = suspects.length >> 1;
      await search(suspects.slice(0, half));
      await search(suspects.slice(half));
    }
  };
  await search([...rules.keys()]);
  return culprits;
}

function* trialLines(
  family: IpFamily,
  table: IptablesTable,
  rules: readonly IptablesRule[],
): Generator<string> {
  yield* [`*${table}`, `:${TRIAL_CHAIN} - [0:0]`];
  for (const { target, ...rest } of rules) {
    const leadsToChain = target === undefined || target.kind === 'jump' || target.kind === 'goto';
    // Where it leads may not be there.
    yield formatIptablesRule(TRIAL_CHAIN, leadsToChain ? rest : { ...rest, target }, family);
  }
  yield 'COMMIT';
  yield* [`*${table}`, `:${TRIAL_CHAIN} - [0:0]`, `-X ${TRIAL_CHAIN}`, 'COMMIT'];
}
