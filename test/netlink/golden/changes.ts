// What changes.nft says, as requests in the order in which nft sends them. Comments show the text of nft.

import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import { hex } from './build.ts';

const at = { family: 'ip', table: 'kproxy-ts' } as const;

export const changes: readonly NftRequest[] = [
  { op: 'addElements', ...at, set: 'cluster-ips', setId: 1, elements: [{ key: hex('0a600001') }] },
  // create element
  {
    op: 'addElements',
    ...at,
    set: 'cluster-ips',
    setId: 1,
    elements: [{ key: hex('0a600002') }],
    isExclusive: true,
  },
  { op: 'deleteElements', ...at, set: 'services', elements: [{ key: hex('0a6b3037 06000000 1f900000') }] },
  // delete element … { 192.168.1.0/24 }
  {
    op: 'deleteElements',
    ...at,
    set: 'nodeport-addresses',
    elements: [{ key: hex('c0a80100') }, { key: hex('c0a80200'), isIntervalEnd: true }],
  },
  { op: 'flushSet', ...at, set: 'hairpin' },
  { op: 'flushChain', ...at, chain: 'nat-output' },
  { op: 'deleteChain', ...at, chain: 'nat-output' },
  { op: 'deleteRule', ...at, chain: 'refuse', handle: 17n },
  // replace rule … handle 27 counter
  {
    op: 'addRule',
    ...at,
    chain: 'services',
    handle: 27n,
    expressions: [{ kind: 'counter' }],
  },
  // add rule … handle 28 drop comment "after it"
  {
    op: 'addRule',
    ...at,
    chain: 'services',
    position: 28n,
    expressions: [{ kind: 'immediate', register: 0, verdict: { kind: 'drop' } }],
    comment: 'after it',
  },
  { op: 'deleteSet', ...at, set: 'affinity' },
  { op: 'deleteTable', ...at },
];
