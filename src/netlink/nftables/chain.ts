// Chains (NFTA_CHAIN_*). A base chain hangs on a hook; the others are jumped to.

import { attr, required, struct } from '../attribute.ts';
import { type Codec, i32be, mapped, oneOf, string, u32be, u64be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import type { AnyFamily } from './family.ts';
import { decodeMessage } from './header.ts';
import * as nft from './uapi.ts';
import { comment } from './userdata.ts';

export type ChainType = 'filter' | 'nat' | 'route';
export type ChainHook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'ingress';

export interface ChainBase {
  readonly type: ChainType;
  readonly hook: ChainHook;
  /** Lower runs first; dstnat is -100, srcnat 100. */
  readonly priority: number;
  /** What happens to packets that reach the end; 'accept' unless given, and decoding leaves that out. */
  readonly policy?: 'accept' | 'drop';
}

/** What requests and dumps say alike. */
export interface ChainFields {
  readonly table: string;
  readonly chain: string;
  readonly base?: ChainBase;
  readonly handle?: bigint;
  readonly comment?: string;
}

export interface Chain extends ChainFields {
  readonly family: AnyFamily;
}

const wire = struct({
  table: required(nft.NFTA_CHAIN_TABLE, string),
  chain: required(nft.NFTA_CHAIN_NAME, string),
  type: attr(nft.NFTA_CHAIN_TYPE, string as Codec<ChainType>),
  policy: attr(nft.NFTA_CHAIN_POLICY, oneOf(u32be, { drop: 0, accept: 1 }), 'accept'),
  hook: attr(
    [nft.NFTA_CHAIN_HOOK, nft.NFTA_HOOK_HOOKNUM],
    // enum nf_inet_hooks. The families arp and netdev, which no request can name, number theirs differently.
    oneOf(u32be, { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4, ingress: 5 }),
  ),
  priority: attr([nft.NFTA_CHAIN_HOOK, nft.NFTA_HOOK_PRIORITY], i32be),
  handle: attr(nft.NFTA_CHAIN_HANDLE, u64be),
  comment: attr(nft.NFTA_CHAIN_USERDATA, comment),
});

export const chainAttributes: Codec<ChainFields> = mapped(
  wire,
  ({ type, hook, priority, policy, ...rest }): ChainFields =>
    type === undefined || hook === undefined || priority === undefined
      ? rest
      : { ...rest, base: { type, hook, priority, ...(policy && { policy }) } },
  ({ base, ...rest }) => ({ ...rest, ...base }),
);

/** Where a chain is, without the rest. */
export const chainNames = struct({
  table: required(nft.NFTA_CHAIN_TABLE, string),
  chain: required(nft.NFTA_CHAIN_NAME, string),
});

/** A chain of family arp or netdev decodes with the hook's name of the other families. */
export function decodeChain(message: NetlinkMessage): Chain {
  return decodeMessage('chain', message, chainAttributes);
}
