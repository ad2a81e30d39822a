// The flows in fixtures/, made by (conntrack v1.4.7, in a network namespace of its own, dumps and deletion under strace)
//   conntrack -I -p udp -s 10.1.0.15 -d 10.96.0.10 --sport 40000 --dport 53 --dst-nat 10.1.0.11:5353 -t 120 -u ASSURED,SEEN_REPLY -m 7
//   conntrack -I -p udp -s 10.1.0.15 -d 10.96.0.10 --sport 40002 --dport 53 --zone 5 -t 120
//   conntrack -I -p udp -s 10.1.0.15 -d 10.96.0.10 --sport 40003 --dport 53 --orig-zone 6 -t 120
//   conntrack -I -p tcp -s 10.1.0.15 -d 10.96.0.10 --sport 40003 --dport 53 -t 120 --state ESTABLISHED -u ASSURED,SEEN_REPLY
//   conntrack -I -p icmp -s 10.1.0.15 -d 10.96.0.10 --icmp-type 8 --icmp-code 0 --icmp-id 9 -t 30
//   conntrack -I -p udp -s fd00:10:1::f -d fd00:10:96::a --sport 40001 --dport 53 -g '[fd00:10:1::b]:5353' -t 120

import { type Ip, packIp } from '../../../src/model/ip.ts';
import type { Flow } from '../../../src/netlink/conntrack/flow.ts';

export const packed = (ip: string): string => packIp(ip as Ip);

const [POD, VIP, ENDPOINT] = ['10.1.0.15', '10.96.0.10', '10.1.0.11'].map(packed) as [string, string, string];
const [POD6, VIP6, ENDPOINT6] = ['fd00:10:1::f', 'fd00:10:96::a', 'fd00:10:1::b'].map(packed) as [
  string,
  string,
  string,
];

// IPS_* of linux/netfilter/nf_conntrack_common.h
const SEEN_REPLY = 0x2;
const ASSURED = 0x4;
const CONFIRMED = 0x8;
const DST_NAT = 0x20;
const SRC_NAT_DONE = 0x80;
const DST_NAT_DONE = 0x100;
const NAT = DST_NAT | SRC_NAT_DONE | DST_NAT_DONE;

/** In the order of the dump. */
export const FLOWS: readonly Flow[] = [
  {
    family: 4,
    original: {
      source: POD,
      destination: VIP,
      protocol: 17,
      sourcePort: 40003,
      destinationPort: 53,
      zone: 6,
    },
    reply: { source: VIP, destination: POD, protocol: 17, sourcePort: 53, destinationPort: 40003 },
    status: CONFIRMED,
    timeoutSec: 119,
    id: 0,
  },
  {
    family: 4,
    original: { source: POD, destination: VIP, protocol: 17, sourcePort: 40002, destinationPort: 53 },
    reply: { source: VIP, destination: POD, protocol: 17, sourcePort: 53, destinationPort: 40002 },
    status: CONFIRMED,
    timeoutSec: 119,
    zone: 5,
    id: 0,
  },
  {
    family: 4,
    original: { source: POD, destination: VIP, protocol: 17, sourcePort: 40000, destinationPort: 53 },
    reply: { source: ENDPOINT, destination: POD, protocol: 17, sourcePort: 5353, destinationPort: 40000 },
    status: SEEN_REPLY | ASSURED | CONFIRMED | NAT,
    timeoutSec: 119,
    mark: 7,
    id: 0,
  },
  {
    family: 4,
    original: { source: POD, destination: VIP, protocol: 6, sourcePort: 40003, destinationPort: 53 },
    reply: { source: VIP, destination: POD, protocol: 6, sourcePort: 53, destinationPort: 40003 },
    status: SEEN_REPLY | ASSURED | CONFIRMED,
    timeoutSec: 119,
    id: 0,
  },
  {
    family: 4,
    original: { source: POD, destination: VIP, protocol: 1 },
    reply: { source: VIP, destination: POD, protocol: 1 },
    status: CONFIRMED,
    timeoutSec: 29,
    id: 0,
  },
];

export const FLOWS6: readonly Flow[] = [
  {
    family: 6,
    original: { source: POD6, destination: VIP6, protocol: 17, sourcePort: 40001, destinationPort: 53 },
    reply: { source: ENDPOINT6, destination: POD6, protocol: 17, sourcePort: 5353, destinationPort: 40001 },
    status: CONFIRMED | NAT,
    timeoutSec: 119,
    id: 0,
  },
];
