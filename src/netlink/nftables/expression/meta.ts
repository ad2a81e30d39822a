// Facts about the packet that are not in it: `meta l4proto`, `meta mark set …`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** enum nft_meta_keys, in its order. */
export const META_KEYS = {
  length: 0,
  protocol: 1,
  priority: 2,
  mark: 3,
  iif: 4,
  oif: 5,
  iifname: 6,
  oifname: 7,
  iiftype: 8,
  oiftype: 9,
  skuid: 10,
  skgid: 11,
  nftrace: 12,
  rtclassid: 13,
  secmark: 14,
  nfproto: 15,
  l4proto: 16,
  ibrname: 17,
  obrname: 18,
  pkttype: 19,
  cpu: 20,
  iifgroup: 21,
  oifgroup: 22,
  cgroup: 23,
  random: 24,
  ipsec: 25,
  iifkind: 26,
  oifkind: 27,
  ibrpvid: 28,
  ibrvproto: 29,
  time: 30,
  day: 31,
  hour: 32,
  sdif: 33,
  sdifname: 34,
} as const;

/** Loads into `register`, or sets from `sourceRegister`. */
export const meta = struct({
  key: required(nft.NFTA_META_KEY, oneOf(u32be, META_KEYS)),
  register: attr(nft.NFTA_META_DREG, register),
  sourceRegister: attr(nft.NFTA_META_SREG, register),
});
