// What a rule or a map element decides (NFTA_DATA_VERDICT; codes from linux/netfilter/nf_tables.h and netfilter.h).

import { attr, required, struct } from '../attribute.ts';
import { type Codec, i32be, oneOf, string } from '../codec.ts';
import * as nft from './uapi.ts';

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'continue' | 'break' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

const code = oneOf(i32be, {
  drop: 0,
  accept: 1,
  continue: -1,
  break: -2,
  jump: -3,
  goto: -4,
  return: -5,
});

// Whether a jump has its chain is the kernel's to check: here the type says it, and dumps always carry it.
export const verdict = struct({
  kind: required(nft.NFTA_VERDICT_CODE, code),
  chain: attr(nft.NFTA_VERDICT_CHAIN, string),
}) as Codec<Verdict>;
