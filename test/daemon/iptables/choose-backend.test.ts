// Which variant the signs speak for.

import { expect, it } from 'vitest';
import {
  decideVariant,
  type LegacySigns,
  type VariantSigns,
} from '../../../src/daemon/iptables/choose-backend.ts';

const NFT: VariantSigns = { kubeletChain: undefined, ruleCount: 0 };
const LEGACY: LegacySigns = { kubeletChain: undefined, ruleCount: 0, tables: [], obstacle: undefined };
const HINT = 'KUBE-IPTABLES-HINT';

it.each<[string, Partial<VariantSigns>, Partial<LegacySigns>, 'nft' | 'legacy', RegExp]>([
  ['nothing', {}, {}, 'nft', /0 rules in nf_tables, 0 in/],
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
  ['more rules in nf_tables', { ruleCount: 3 }, { ruleCount: 2 }, 'nft', /3 rules in nf_tables, 2 in/],
  ['more in the legacy tables', { ruleCount: 2 }, { ruleCount: 3 }, 'legacy', /2 rules in nf_tables, 3 in/],
  ['as many', { ruleCount: 2 }, { ruleCount: 2 }, 'nft', /2 rules in nf_tables, 2 in/],
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
