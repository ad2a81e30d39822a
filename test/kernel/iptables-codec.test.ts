// Rules in the form of iptables-nft against the kernel and the real iptables: what iptables-nft-restore loads is decoded to
// the rules that were meant, what the codec sends iptables-save prints as these, and iptables finds and deletes them.

import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeIptablesRule, encodeIptablesRule } from '../../src/netlink/iptables/codec.ts';
import { formatIptablesRule } from '../../src/netlink/iptables/format.ts';
import type { IptablesRule } from '../../src/netlink/iptables/rule.ts';
import { isRuleOf } from '../../src/netlink/iptables/same-rule.ts';
import { BASE_CHAINS, type IptablesTable } from '../../src/netlink/iptables/tables.ts';
import { decodeFailures } from '../../src/netlink/message.ts';
import type { NftRequest } from '../../src/netlink/nftables/batch.ts';
import { decodeChain } from '../../src/netlink/nftables/chain.ts';
import { decodeRule, type Rule } from '../../src/netlink/nftables/rule.ts';
import { anyRule, CHAINS, neverMatching, type RuleTable } from '../netlink/iptables/arbitrary.ts';
import { rules4, rules6 } from '../netlink/iptables/golden.ts';
import { TestKernel } from '../netlink/support/kernel.ts';

/** The chain that the rules of a test are in. */
const CHAIN = 'A';

let kernel: TestKernel;

/** A counter of nfacct, which rules count with by its name. */
const ACCOUNT = 'ct_state_invalid_dropped_pkts';

beforeAll(async () => {
  kernel = await TestKernel.create();
  expect(decodeFailures(await kernel.transact(newAccount(ACCOUNT)))).toEqual([]);
});
beforeEach(() => kernel.nft('flush', 'ruleset'));
afterAll(() => kernel?.delete());

describe.each([
  [4, 'ip', 'iptables-nft', rules4],
  [6, 'ip6', 'ip6tables-nft', rules6],
] as const)('IPv%i', (ipFamily, family, program, golden) => {
  const at = (table: IptablesTable) => ({ family, table }) as const;
  const lineOf = (rule: IptablesRule) => formatIptablesRule(CHAIN, rule, ipFamily);
  /** Rules with a target of this table only, or with none. */
  const goldenOf = (table: RuleTable) =>
    golden
      .filter(({ target }) => tableOf(target?.kind) === undefined || tableOf(target?.kind) === table)
      .map(withKnownChain);

  /** What iptables-save prints of a table; anything on stderr, or a remark on tables it cannot show, fails the test. */
  async function save(table: IptablesTable): Promise<string[]> {
    const { stdout, stderr, status } = await kernel.netns.tryExec([`${program}-save`, '-t', table]);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    const lines = stdout.split('\n').filter((line) => line !== '');
    expect(lines.filter((line) => /^#(?! Generated| Completed)/.test(line))).toEqual([]);
    return lines.filter((line) => !line.startsWith('#'));
  }

  const savedRules = async (table: IptablesTable) =>
    (await save(table)).filter((line) => line.startsWith('-A'));

  async function restore(table: IptablesTable, lines: readonly string[], ...flags: readonly string[]) {
    const chains = [CHAIN, ...CHAINS].map((chain) => `:${chain} - [0:0]`);
    const heads = flags.includes('--noflush') ? [] : chains;
    const input = [`*${table}`, ...heads, ...lines, 'COMMIT', ''].join('\n');
    await kernel.netns.exec([`${program}-restore`, ...flags], { input });
  }

  async function rulesIn(table: IptablesTable): Promise<Rule[]> {
    const rules = await kernel.dump({ object: 'rules', ...at(table), chain: CHAIN }, decodeRule);
    return rules.filter((rule) => rule.table === table && rule.chain === CHAIN);
  }

  async function decoded(table: IptablesTable): Promise<IptablesRule[]> {
    return (await rulesIn(table)).map((rule) => decodeIptablesRule(rule, ipFamily));
  }

  /** Of the rules held, those that are told by their bytes to be these. */
  async function known(table: IptablesTable, rules: readonly IptablesRule[]): Promise<IptablesRule[]> {
    const messages = await kernel.dump({ object: 'rules', ...at(table), chain: CHAIN }, (message) => message);
    return rules.filter((rule, i) => isRuleOf(messages[i]!, rule, ipFamily));
  }

  const baseChains = (table: IptablesTable): NftRequest[] =>
    Object.entries(BASE_CHAINS[table]).map(([chain, base]) => ({
      op: 'addChain',
      ...at(table),
      chain,
      base,
    }));

  async function commit(requests: readonly NftRequest[]): Promise<void> {
    expect((await kernel.commit(requests)).failures).toEqual([]);
  }

  async function send(table: IptablesTable, rules: readonly IptablesRule[]): Promise<void> {
    await commit([
      { op: 'addTable', ...at(table) },
      ...baseChains(table),
      ...[CHAIN, ...CHAINS].map((chain): NftRequest => ({ op: 'addChain', ...at(table), chain })),
      ...rules.map(
        (rule): NftRequest => ({
          op: 'addRule',
          ...at(table),
          chain: CHAIN,
          ...encodeIptablesRule(rule, ipFamily),
        }),
      ),
    ]);
  }

  async function checkBothWays(table: RuleTable, rules: readonly IptablesRule[]): Promise<void> {
    const lines = rules.map(lineOf);
    await kernel.nft('flush', 'ruleset');
    await restore(table, lines);
    expect(await savedRules(table)).toEqual(lines);
    expect(await decoded(table)).toEqual(rules);

    await kernel.nft('flush', 'ruleset');
    await send(table, rules);
    expect(await savedRules(table)).toEqual(lines);
    expect(await decoded(table)).toEqual(rules);
    expect(await known(table, rules)).toEqual(rules);

    // iptables does not take a mask that is spelled out for the default one, which is what kube-proxy leaves it at.
    const deletions = lines.map((line) => line.replace('-A', '-D').replace(' --mask 255.255.255.255', ''));
    await restore(table, deletions, '--noflush');
    expect(await savedRules(table)).toEqual([]);
  }

  describe.each(['filter', 'nat'] as const)('table %s', (table) => {
    it('rules of kube-proxy and others are the same both ways', () => checkBothWays(table, goldenOf(table)));

    it('any rules are the same both ways', async () => {
      const rules = fc.array(anyRule(ipFamily, table), { minLength: 30, maxLength: 60, size: 'max' });
      await fc.assert(
        fc.asyncProperty(rules, (some) => checkBothWays(table, some)),
        { numRuns: 8, endOnFailure: true },
      );
    }, 120_000);
  });

  it('what iptables cannot write is printed as it was meant', async () => {
    const never = neverMatching(ipFamily);
    await send('filter', [never]);
    expect(await savedRules('filter')).toEqual([
      `-A ${CHAIN} ! -s ${ipFamily === 4 ? '0.0.0.0' : '::'}/0 ! -i +`,
    ]);
    expect(await decoded('filter')).toEqual([never]);
  });

  it('a counter of nfacct that exists is matched', async () => {
    const states = { kind: 'conntrack', states: ['INVALID'], isInverted: false } as const;
    await checkBothWays('filter', [
      { matches: [states, { kind: 'nfacct', name: ACCOUNT }], target: { kind: 'DROP' } },
    ]);
  });

  it.each(['filter', 'nat', 'mangle'] as const)(
    'has the base chains of %s where iptables has them',
    async (table) => {
      const chains = async () => {
        const all = await kernel.dump({ object: 'chains', family }, decodeChain);
        return all
          .map(({ handle: _, ...chain }) => chain)
          .sort((one, other) => (one.chain < other.chain ? -1 : 1));
      };
      // A rule in each makes iptables add all of them.
      const lines = Object.keys(BASE_CHAINS[table]).map((chain) => `-A ${chain}`);
      await kernel.netns.exec([`${program}-restore`], { input: `*${table}\n${lines.join('\n')}\nCOMMIT\n` });
      const [wanted, saved] = [await chains(), await save(table)];
      await kernel.nft('flush', 'ruleset');
      const rules = Object.keys(BASE_CHAINS[table]).map(
        (chain): NftRequest => ({
          op: 'addRule',
          ...at(table),
          chain,
          ...encodeIptablesRule({ matches: [] }, ipFamily),
        }),
      );
      await commit([{ op: 'addTable', ...at(table) }, ...baseChains(table), ...rules]);
      expect(await chains()).toEqual(wanted);
      expect(await save(table)).toEqual(saved);
      expect(wanted).toHaveLength(lines.length);
    },
  );

  it('a base chain elsewhere is not shown, with a remark', async () => {
    await commit([
      { op: 'addTable', ...at('filter') },
      {
        op: 'addChain',
        ...at('filter'),
        chain: 'INPUT',
        base: { ...BASE_CHAINS.filter['INPUT']!, priority: 1 },
      },
    ]);
    expect(await kernel.netns.exec([`${program}-save`, '-t', 'filter'])).toMatch(/incompatible base-chains/);
  });

  it('an expression of nftables alone hides the whole table', async () => {
    await send('filter', []);
    await commit([
      {
        op: 'addRule',
        ...at('filter'),
        chain: CHAIN,
        expressions: [{ kind: 'numgen', type: 'random', modulus: 2, register: 1 }],
      },
    ]);
    expect(await kernel.netns.exec([`${program}-save`, '-t', 'filter'])).toMatch(
      /Table `filter' is incompatible/,
    );
  });
});

describe('a rule', () => {
  const inChain = { family: 'ip', table: 'filter', chain: CHAIN } as const;
  const marked = (value: number): NftRequest & { readonly op: 'addRule' } => ({
    op: 'addRule',
    ...inChain,
    ...encodeIptablesRule({ matches: [], target: { kind: 'MARK', value, mask: 0xff } }, 4),
  });

  /** The marks of the rules, in their order, and their handles. */
  async function listed(): Promise<{ value: number; handle: bigint }[]> {
    const rules = await kernel.dump({ object: 'rules', ...inChain }, decodeRule);
    return rules.map((rule) => {
      const { target } = decodeIptablesRule(rule, 4);
      if (target?.kind !== 'MARK') throw new Error('no mark');
      return { value: target.value, handle: rule.handle! };
    });
  }
  const values = async () => (await listed()).map(({ value }) => value);

  beforeEach(async () => {
    const { failures } = await kernel.commit([
      { op: 'addTable', family: 'ip', table: 'filter' },
      { op: 'addChain', ...inChain },
      marked(1),
      marked(2),
      marked(3),
    ]);
    expect(failures).toEqual([]);
  });

  it.each<[string, (second: bigint) => NftRequest, readonly number[]]>([
    ['goes to the end', () => marked(9), [1, 2, 3, 9]],
    ['is inserted at the top', () => ({ ...marked(9), isInserted: true }), [9, 1, 2, 3]],
    ['goes after another', (position) => ({ ...marked(9), position }), [1, 2, 9, 3]],
    [
      'is inserted before another',
      (position) => ({ ...marked(9), position, isInserted: true }),
      [1, 9, 2, 3],
    ],
    ['takes the place of another', (handle) => ({ ...marked(9), handle }), [1, 9, 3]],
    ['is deleted', (handle) => ({ op: 'deleteRule', ...inChain, handle }), [1, 3]],
  ])('%s', async (_, request, wanted) => {
    const { failures } = await kernel.commit([request((await listed())[1]!.handle)]);
    expect(failures).toEqual([]);
    expect(await values()).toEqual(wanted);
  });

  it('that is not there is ENOENT, and nothing else is done', async () => {
    const { failures } = await kernel.commit([marked(9), { op: 'deleteRule', ...inChain, handle: 999n }]);
    expect(failures.map(({ code }) => code)).toEqual(['ENOENT']);
    expect(await values()).toEqual([1, 2, 3]);
  });

  it('with a match that wants a protocol is refused unless that is said', async () => {
    const { expressions, compat } = encodeIptablesRule(
      { protocol: { name: 'udp', isInverted: false }, matches: [{ kind: 'ports' }] },
      4,
    );
    const { failures } = await kernel.commit([{ op: 'addRule', ...inChain, expressions }]);
    expect(failures.map(({ code }) => code)).toEqual(['EINVAL']);
    expect(
      (await kernel.commit([{ op: 'addRule', ...inChain, expressions, compat: compat! }])).failures,
    ).toEqual([]);
  });
});

/** Targets that only work in one table; iptables refuses to drop in nat. */
function tableOf(kind: string | undefined): RuleTable | undefined {
  if (kind === 'REJECT' || kind === 'DROP') return 'filter';
  return kind === 'DNAT' || kind === 'MASQUERADE' ? 'nat' : undefined;
}

/** The golden rules lead to chains that the tests here do not make. */
function withKnownChain(rule: IptablesRule): IptablesRule {
  const { target } = rule;
  if (target?.kind !== 'jump' && target?.kind !== 'goto') return rule;
  return { ...rule, target: { ...target, chain: CHAINS[0] } };
}

/** NFNL_MSG_ACCT_NEW (linux/netfilter/nfnetlink_acct.h) with the attribute NFACCT_NAME. */
function newAccount(name: string): Buffer {
  const attribute = Buffer.alloc(4 + ((name.length + 4) & ~3));
  attribute.writeUInt16LE(4 + name.length + 1, 0);
  attribute.writeUInt16LE(1, 2);
  attribute.write(name, 4);
  const message = Buffer.alloc(20);
  message.writeUInt32LE(20 + attribute.length, 0);
  message.writeUInt16LE(7 << 8, 4);
  // NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE
  message.writeUInt16LE(0x405, 6);
  return Buffer.concat([message, attribute]);
}
