// What connection tracking knows of the packet: `ct status dnat`, `ct original ip daddr`, `ct mark set …`.

import { attr, required, struct } from '../../attribute.ts';
import { oneOf, u8, u32be } from '../../codec.ts';
import { register } from '../register.ts';
import * as nft from '../uapi.ts';

/** enum nft_ct_keys, in its order. */
const key = oneOf(u32be, {
  state: 0,
  direction: 1,
  status: 2,
  mark: 3,
  secmark: 4,
  expiration: 5,
  helper: 6,
  l3proto: 7,
  saddr: 8,
  daddr: 9,
  protocol: 10,
  'proto-src': 11,
  'proto-dst': 12,
  label: 13,
  packets: 14,
  bytes: 15,
  avgpkt: 16,
  zone: 17,
  event: 18,
  'ip-saddr': 19,
  'ip-daddr': 20,
  'ip6-saddr': 21,
  'ip6-daddr': 22,
  id: 23,
});

/** Loads into `register`, or sets from `sourceRegister`. The kernel reports the lack of a direction as 2, `either`. */
export const ct = struct({
  key: required(nft.NFTA_CT_KEY, key),
  register: attr(nft.NFTA_CT_DREG, register),
  direction: attr(nft.NFTA_CT_DIRECTION, oneOf(u8, { original: 0, reply: 1, either: 2 }), 'either'),
  sourceRegister: attr(nft.NFTA_CT_SREG, register),
});
