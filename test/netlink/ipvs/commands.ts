// What ipvsadm was told when the fixtures were captured, and what that means in our values.

import type { Ip } from '../../../src/model/ip.ts';
import type { IpvsRequest } from '../../../src/netlink/ipvs/request.ts';
import type { IpvsTimeouts } from '../../../src/netlink/ipvs/table.ts';
import type { RealServer, VirtualServer } from '../../../src/netlink/ipvs/virtual-server.ts';

const DNS: VirtualServer = {
  family: 4,
  protocol: 'TCP',
  address: '10.96.0.10' as Ip,
  port: 53,
  scheduler: 'rr',
  flags: 0,
  persistenceSeconds: undefined,
  persistencePrefix: 32,
};
const STICKY: VirtualServer = {
  ...DNS,
  protocol: 'UDP',
  scheduler: 'wlc',
  persistenceSeconds: 300,
  persistencePrefix: 24,
};
const SCTP: VirtualServer = {
  ...DNS,
  protocol: 'SCTP',
  address: '10.96.0.11' as Ip,
  port: 65535,
  scheduler: 'sh',
  flags: 0x18,
};
const WEB6: VirtualServer = {
  family: 6,
  protocol: 'TCP',
  address: 'fd00:10:96::a' as Ip,
  port: 443,
  scheduler: 'mh',
  flags: 0x18,
  persistenceSeconds: 10_800,
  persistencePrefix: 64,
};
const ONE_PACKET: VirtualServer = { ...DNS, protocol: 'UDP', address: '10.96.0.12' as Ip, flags: 0x4 };

const POD: RealServer = {
  family: 4,
  address: '10.1.0.7' as Ip,
  port: 5353,
  weight: 5,
  forwarding: 'masquerade',
};
const POD6: RealServer = { ...POD, family: 6, address: 'fd00:10:1::7' as Ip, port: 8443, weight: 65_535 };
const NEAR: RealServer = { ...POD, address: '10.1.0.8' as Ip, port: 53, weight: 1, forwarding: 'route' };
const FAR: RealServer = { ...POD, address: '10.1.0.9' as Ip, port: 53, weight: 1, forwarding: 'tunnel' };
/** Behind a virtual server of the other family, which takes a tunnel. */
const FAR6: RealServer = { ...FAR, family: 6, address: 'fd00:10:1::9' as Ip };

/** Changes, in an order in which the kernel accepts them. */
export const REQUESTS: readonly { words: string; means: IpvsRequest | IpvsTimeouts }[] = [
  {
    words: '-A -t 10.96.0.10:53 -s rr',
    means: { kind: 'add virtual server', virtualServer: DNS },
  },
  {
    words: '-A -u 10.96.0.10:53 -s wlc -p 300 -M 255.255.255.0',
    means: { kind: 'add virtual server', virtualServer: STICKY },
  },
  {
    words: '-A --sctp-service 10.96.0.11:65535 -s sh -b sh-fallback,sh-port',
    means: { kind: 'add virtual server', virtualServer: SCTP },
  },
  {
    words: '-A -t [fd00:10:96::a]:443 -s mh -b mh-fallback,mh-port -p 10800 -M 64',
    means: { kind: 'add virtual server', virtualServer: WEB6 },
  },
  {
    words: '-A -u 10.96.0.12:53 -s rr -o',
    means: { kind: 'add virtual server', virtualServer: ONE_PACKET },
  },
  {
    words: '-E -t 10.96.0.10:53 -s lc',
    means: { kind: 'edit virtual server', virtualServer: { ...DNS, scheduler: 'lc' } },
  },
  {
    words: '-a -t 10.96.0.10:53 -r 10.1.0.7:5353 -m -w 5',
    means: { kind: 'add real server', virtualServer: DNS, realServer: POD },
  },
  {
    words: '-a -t [fd00:10:96::a]:443 -r [fd00:10:1::7]:8443 -m -w 65535',
    means: { kind: 'add real server', virtualServer: WEB6, realServer: POD6 },
  },
  {
    words: '-a -t 10.96.0.10:53 -r 10.1.0.8:53 -g',
    means: { kind: 'add real server', virtualServer: DNS, realServer: NEAR },
  },
  {
    words: '-a -t 10.96.0.10:53 -r 10.1.0.9:53 -i',
    means: { kind: 'add real server', virtualServer: DNS, realServer: FAR },
  },
  {
    words: '-a -t 10.96.0.10:53 -r [fd00:10:1::9]:53 -i',
    means: { kind: 'add real server', virtualServer: DNS, realServer: FAR6 },
  },
  {
    words: '-e -t 10.96.0.10:53 -r 10.1.0.7:5353 -m -w 0',
    means: { kind: 'edit real server', virtualServer: DNS, realServer: { ...POD, weight: 0 } },
  },
  {
    words: '-d -t 10.96.0.10:53 -r 10.1.0.7:5353',
    means: { kind: 'delete real server', virtualServer: DNS, realServer: POD },
  },
  {
    words: '-d -t [fd00:10:96::a]:443 -r [fd00:10:1::7]:8443',
    means: { kind: 'delete real server', virtualServer: WEB6, realServer: POD6 },
  },
  {
    words: '-D -u 10.96.0.10:53',
    means: { kind: 'delete virtual server', virtualServer: STICKY },
  },
  {
    words: '-D -t [fd00:10:96::a]:443',
    means: { kind: 'delete virtual server', virtualServer: WEB6 },
  },
  { words: '--set 900 120 300', means: { tcp: 900, tcpFin: 120, udp: 300 } },
];

/** Made before the table was listed: everything that others may have there too. */
export const LISTED: readonly string[] = [
  '-A -t 10.96.0.10:53 -s rr',
  '-a -t 10.96.0.10:53 -r 10.1.0.7:5353 -m -w 5 -x 100 -y 50',
  '-a -t 10.96.0.10:53 -r 10.1.0.8:53 -g',
  '-a -t 10.96.0.10:53 -r 10.1.0.9:53 -i',
  '-a -t 10.96.0.10:53 -r 10.1.0.10:53 -i --tun-type gue --tun-port 6080 --tun-remcsum',
  '-a -t 10.96.0.10:53 -r 10.1.0.11:53 -i --tun-type gre --tun-csum',
  '-a -t 10.96.0.10:53 -r [fd00:10:1::9]:53 -i',
  '-A -u 10.96.0.10:5060 -s wlc -p 300 -M 255.255.255.0 --pe sip',
  '-A --sctp-service 10.96.0.11:65535 -s sh -b sh-fallback,sh-port',
  '-A -u 10.96.0.12:53 -s rr -o',
  '-A -t [fd00:10:96::a]:443 -s mh -b mh-fallback,mh-port -p 10800 -M 64',
  '-a -t [fd00:10:96::a]:443 -r [fd00:10:1::7]:8443 -m -w 65535',
  '-A -f 7 -s rr',
  '-a -f 7 -r 10.1.0.7:80 -m',
  '-A -f 4294967295 -6 -s wrr',
  '--set 900 120 300',
];
