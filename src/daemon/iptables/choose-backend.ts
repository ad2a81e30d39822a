// Whether the software of this node writes its rules of iptables to nf_tables (iptables-nft) or to the legacy tables: rules
// of ours must be where theirs are. The signs are those of the community's iptables-wrappers: the chains that kubelet makes
// so that one can tell (KUBE-IPTABLES-HINT since 1.24, KUBE-KUBELET-CANARY), then who has more rules.
//
// To look must not be to touch: iptables-legacy makes a table in the kernel that it is asked for. So the kernel is asked
// first which tables there are (/proc/net/ip_tables_names), and the programs run only if there are any.

import { readFile } from 'node:fs/promises';
import { KernelError } from '../../errors.ts';
import { nftFamily } from '../../mode/iptables/nft-requests.ts';
import type { IpFamily } from '../../model/ip.ts';
import { parseIptablesSave } from '../../netlink/iptables/parse-save.ts';
import { chainNames } from '../../netlink/nftables/chain.ts';
import { decodeMessage } from '../../netlink/nftables/header.ts';
import type { NftConnection } from '../nft-connection.ts';
import { type RunProgram, ToolError } from './legacy-program.ts';
import { LegacyTool } from './legacy-tool.ts';

export type IptablesVariant = 'nft' | 'legacy';

export interface VariantChoice {
  readonly variant: IptablesVariant;
  /** For the log. */
  readonly reason: string;
}

/** What was seen of one variant, in both families. */
export interface VariantSigns {
  /** Why it cannot be used here; undefined when it can. */
  readonly obstacle: string | undefined;
  /** The first of kubelet's chains that is there. */
  readonly kubeletChain: string | undefined;
  /** Rules in tables of iptables: of nf_tables so many as it takes to tell who has more. */
  readonly ruleCount: number;
}

export interface LegacySigns extends VariantSigns {
  /** Tables that the kernel has, such as `nat`; there may be no program to read them with. */
  readonly tables: readonly string[];
}

/** In the order of their weight. */
const KUBELET_CHAINS = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'] as const;
/** All that iptables-nft has: others are nobody's rules of iptables. */
const NFT_TABLES: ReadonlySet<string> = new Set(['filter', 'nat', 'mangle', 'raw', 'security']);
const FAMILIES: readonly IpFamily[] = [4, 6];

/** Decides by what was seen; nf_tables when nothing speaks for the other. */
export function decideVariant(nft: VariantSigns, legacy: LegacySigns): VariantChoice {
  if (nft.kubeletChain !== undefined)
    return { variant: 'nft', reason: `nf_tables has kubelet's ${nft.kubeletChain}` };
  if (legacy.obstacle !== undefined) {
    const { tables, obstacle } = legacy;
    const present = tables.length === 0 ? '' : `, although there are legacy tables (${tables.join(', ')})`;
    return { variant: 'nft', reason: `${obstacle}${present}` };
  }
  if (nft.obstacle !== undefined) return { variant: 'legacy', reason: nft.obstacle };
  if (legacy.kubeletChain !== undefined) {
    return { variant: 'legacy', reason: `the legacy tables have kubelet's ${legacy.kubeletChain}` };
  }
  if (legacy.ruleCount === 0)
    return { variant: 'nft', reason: "no chain of kubelet's, and no rules in the legacy tables" };
  const counts = `rules in nf_tables: ${nft.ruleCount}, in the legacy tables: ${legacy.ruleCount}`;
  return {
    variant: legacy.ruleCount > nft.ruleCount ? 'legacy' : 'nft',
    reason: `no chain of kubelet's; ${counts}`,
  };
}

export interface LookOptions {
  readonly connection: NftConnection;
  readonly run: RunProgram;
  /** Folder of `ip_tables_names`: that of a process in the network namespace. */
  readonly procNet?: string;
}

/**
 * Which variant to use: the one that is asked for, or what `auto` means on this node. Throws KernelError where nf_tables
 * may not be read, and ToolError and DecodeError where the legacy tables cannot be.
 */
export async function chooseVariant(
  asked: IptablesVariant | 'auto',
  { connection, run, procNet }: LookOptions,
): Promise<VariantChoice> {
  if (asked !== 'auto') return { variant: asked, reason: 'as configured' };
  const nft = await observeNft(connection);
  const legacy = await observeLegacy(run, procNet ?? '/proc/net');
  const isUndecided = [nft, legacy].every(
    ({ obstacle, kubeletChain }) => obstacle === undefined && kubeletChain === undefined,
  );
  const ruleCount = isUndecided ? await countNftRules(connection, legacy.ruleCount) : 0;
  return decideVariant({ ...nft, ruleCount }, legacy);
}

async function observeNft(connection: NftConnection): Promise<Omit<VariantSigns, 'ruleCount'>> {
  try {
    await connection.generation();
  } catch (error) {
    // Nobody who may not read it can tell what is there.
    if (!(error instanceof KernelError) || error.code === 'EPERM') throw error;
    return { kubeletChain: undefined, obstacle: `no nf_tables here (${error.message})` };
  }
  for (const name of KUBELET_CHAINS) {
    const chainIn = (family: IpFamily) =>
      ({ object: 'chain', family: nftFamily(family), table: 'mangle', chain: name }) as const;
    for await (const answers of connection.dumps(FAMILIES, chainIn, `look for chain ${name}`)) {
      if (answers.some((chain) => chain !== undefined)) return { kubeletChain: name, obstacle: undefined };
    }
  }
  return { kubeletChain: undefined, obstacle: undefined };
}

/** Not many more than `enough`: a large cluster has 200,000. */
async function countNftRules(connection: NftConnection, enough: number): Promise<number> {
  let count = 0;
  for (const ipFamily of FAMILIES) {
    if (count >= enough) break;
    const family = nftFamily(ipFamily);
    const chains = await connection.collect({ object: 'chains', family }, 'list chains', (message) =>
      decodeMessage('chain', message, chainNames),
    );
    const ofIptables = chains.filter((one) => one.family === family && NFT_TABLES.has(one.table));
    const rulesOf = ({ table, chain }: { table: string; chain: string }) =>
      ({ object: 'rules', family, table, chain }) as const;
    for await (const answers of connection.dumps(ofIptables, rulesOf, 'list rules')) {
      for (const rules of answers) count += rules?.length ?? 0;
      if (count >= enough) break;
    }
  }
  return count;
}

async function observeLegacy(run: RunProgram, procNet: string): Promise<LegacySigns> {
  const namesByFamily = new Map<IpFamily, readonly string[]>();
  for (const family of FAMILIES) namesByFamily.set(family, await tableNames(procNet, family));
  const tables = [...new Set([...namesByFamily.values()].flat())];
  const signs = { kubeletChain: undefined, ruleCount: 0, tables };
  let tool: LegacyTool;
  try {
    tool = await LegacyTool.find(run);
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    return { ...signs, obstacle: error.message };
  }
  const chains = new Set<string>();
  let ruleCount = 0;
  for (const [family, names] of namesByFamily) {
    if (names.length === 0) continue;
    const lines: string[] = [];
    // Without a table named, it prints those that there are.
    await tool.save(family, undefined, (line) => lines.push(line));
    for (const chain of parseIptablesSave(lines)) {
      if (chain.table === 'mangle') chains.add(chain.name);
      ruleCount += chain.lines.length;
    }
  }
  const kubeletChain = KUBELET_CHAINS.find((name) => chains.has(name));
  return { kubeletChain, ruleCount, tables, obstacle: undefined };
}

/** None where the kernel has no legacy tables, or the module that would have them is not loaded. */
async function tableNames(procNet: string, family: IpFamily): Promise<readonly string[]> {
  try {
    const text = await readFile(`${procNet}/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8');
    return text.split('\n').filter((name) => name !== '');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
