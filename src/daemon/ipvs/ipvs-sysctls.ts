// The settings that ipvs mode needs of its network namespace: those of kube-proxy (NewProxier, pkg/proxy/ipvs), each with what
// it is for. A value that is right already is not written. As there, one that cannot be set is fatal: without it packets
// would go astray silently. Forwarding of IPv6 is left to whoever routes this node's pods, as there.

import { setSysctl } from '../sysctl.ts';

export interface IpvsSysctl {
  /** As in sysctl(8), with slashes. */
  readonly name: string;
  readonly value: string;
  readonly purpose: string;
}

export interface SysctlOptions {
  /** `--ipvs-strict-arp` */
  readonly strictArp: boolean;
  /** `6.1.0-56-amd64` */
  readonly kernelRelease: string;
}

const ALWAYS: readonly IpvsSysctl[] = [
  {
    name: 'net/ipv4/vs/conntrack',
    value: '1',
    purpose: 'Connections of IPVS are tracked, so that they can be masqueraded and filtered by state.',
  },
  {
    name: 'net/ipv4/vs/expire_nodest_conn',
    value: '1',
    purpose:
      'A connection whose endpoint is gone ends at its next packet, and does not hang until it times out.',
  },
  {
    name: 'net/ipv4/vs/expire_quiescent_template',
    value: '1',
    purpose: 'A client that sticks to an endpoint of weight 0 gets another at its next connection.',
  },
  {
    name: 'net/ipv4/ip_forward',
    value: '1',
    purpose: 'Packets go on to endpoints on other nodes and in pods.',
  },
];

/** Kernels from 4.1 to 5.8: later ones reuse ports of ended connections without a second of delay. */
const REUSE: IpvsSysctl = {
  name: 'net/ipv4/vs/conn_reuse_mode',
  value: '0',
  purpose:
    'A client that reuses a port is not delayed by a second; its connection stays with the endpoint of the last one.',
};
const REUSE_IS_RIGHT_SINCE = [5, 9] as const;

const STRICT_ARP: readonly IpvsSysctl[] = [
  {
    name: 'net/ipv4/conf/all/arp_ignore',
    value: '1',
    purpose: 'Virtual IPs on kube-ipvs0 are not answered for on other devices.',
  },
  {
    name: 'net/ipv4/conf/all/arp_announce',
    value: '2',
    purpose: 'Virtual IPs are not announced as addresses of this node.',
  },
];

/** What is set with these options, in this order. */
export function ipvsSysctls({ strictArp, kernelRelease }: SysctlOptions): IpvsSysctl[] {
  const isOld = isBefore(kernelRelease, REUSE_IS_RIGHT_SINCE);
  return [...ALWAYS, ...(isOld ? [REUSE] : []), ...(strictArp ? STRICT_ARP : [])];
}

/** Sets them. Throws KernelError that names the first that cannot be; needs the IPVS module to be loaded. */
export function setIpvsSysctls(options: SysctlOptions, set = setSysctl): void {
  for (const { name, value } of ipvsSysctls(options)) set(name, value);
}

function isBefore(release: string, [major, minor]: readonly [number, number]): boolean {
  const [ofRelease = 0, minorOfRelease = 0] = release.split('.').map(Number.parseFloat);
  return ofRelease < major || (ofRelease === major && minorOfRelease < minor);
}
