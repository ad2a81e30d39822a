// Which variant the signs speak for.

import { expect, it } from 'vitest';
import {
  chooseVariant,
  decideVariant,
  type LegacySigns,
  type VariantSigns,
} from '../../../src/daemon/iptables/choose-backend.ts';
import { type RunProgram, ToolError } from '../../../src/daemon/iptables/legacy-program.ts';
import { NftConnection } from '../../../src/daemon/nft-connection.ts';
import { KernelError } from '../../../src/errors.ts';

const NFT: VariantSigns = { kubeletChain: undefined, ruleCount: 0, obstacle: undefined };
const LEGACY: LegacySigns = { kubeletChain: undefined, ruleCount: 0, tables: [], obstacle: undefined };
const HINT = 'KUBE-IPTABLES-HINT';

it.each<[string, Partial<VariantSigns>, Partial<LegacySigns>, 'nft' | 'legacy', RegExp]>([
  ['nothing', {}, {}, 'nft', /no rules in the legacy tables/],
  [
    "kubelet's chain in nf_tables",
    { kubeletChain: HINT },
    { ruleCount: 9 },
    'nft',
    /nf_tables has kubelet's KUBE-IPTABLES-HINT/,
  ],
  [
    'in the legacy tables',
    { ruleCount: 9 },
    { kubeletChain: HINT },
    'legacy',
    /legacy tables have kubelet's/,
  ],
  ['in both', { kubeletChain: HINT }, { kubeletChain: HINT }, 'nft', /nf_tables has/],
  [
    'more rules in nf_tables',
    { ruleCount: 3 },
    { ruleCount: 2 },
    'nft',
    /nf_tables: 3, in the legacy tables: 2/,
  ],
  [
    'more in the legacy tables',
    { ruleCount: 2 },
    { ruleCount: 3 },
    'legacy',
    /nf_tables: 2, in the legacy tables: 3/,
  ],
  ['as many', { ruleCount: 2 }, { ruleCount: 2 }, 'nft', /nf_tables: 2, in/],
  ['no nf_tables', { obstacle: 'no nf_tables here' }, {}, 'legacy', /^no nf_tables here$/],
  [
    'neither',
    { obstacle: 'no nf_tables here' },
    { obstacle: 'no iptables-legacy' },
    'nft',
    /no iptables-legacy/,
  ],
  ['no program', {}, { obstacle: 'no iptables-legacy' }, 'nft', /^no iptables-legacy$/],
  [
    'no program for tables that exist',
    {},
    { obstacle: 'none', tables: ['nat', 'raw'] },
    'nft',
    /legacy tables \(nat, raw\)/,
  ],
])('%s', (_, nft, legacy, variant, reason) => {
  const choice = decideVariant({ ...NFT, ...nft }, { ...LEGACY, ...legacy });
  expect(choice.variant).toBe(variant);
  expect(choice.reason).toMatch(reason);
});

const EPERM = new KernelError('EPERM', 1, 'get generation');

it.each(['nft', 'legacy'] as const)('%s that is asked for is taken, and nothing looked at', async (asked) => {
  expect(await chooseVariant(asked, { connection: failing(EPERM), run: none })).toEqual({
    variant: asked,
    reason: 'as configured',
  });
});

it('a kernel without nf_tables has the legacy tables only', async () => {
  const run: RunProgram = async (_, options) => {
    options?.onLine?.('iptables v1.8.9 (legacy)');
    return { status: 0, stderr: '' };
  };
  const connection = failing(new KernelError('EINVAL', 22, 'get generation'));
  const choice = await chooseVariant('auto', { connection, run, procNet: '/nonexistent' });
  expect(choice).toEqual({ variant: 'legacy', reason: 'no nf_tables here (get generation: EINVAL)' });
});

it('who may not look learns so', async () => {
  const look = chooseVariant('auto', { connection: failing(EPERM), run: none, procNet: '/nonexistent' });
  await expect(look).rejects.toBe(EPERM);
});

const none: RunProgram = (argv) => Promise.reject(new ToolError('TOOL_MISSING', `${argv[0]}: ENOENT`));

function failing(error: Error): NftConnection {
  return new NftConnection({
    sendBufferBytes: 0,
    transact: () => Promise.reject(error),
    reserveSendBuffer: () => 0,
    close: () => undefined,
  });
}
