// What ipvsadm(8) lists: IPVS as the tool of its authors sees it.

import type { Netns } from '../support/netns/netns.ts';

export interface ListedServer {
  /** `rr`, `wlc`. */
  readonly scheduler: string;
  /** The rest of the line: `persistent 10800`. */
  readonly flags: string;
  /** By `address:port`. */
  readonly realServers: Readonly<Record<string, ListedRealServer>>;
}

export interface ListedRealServer {
  /** `Masq`, `Local`, `Tunnel`, `Route`. */
  readonly forwarding: string;
  readonly weight: number;
  readonly active: number;
  readonly inactive: number;
}

/** `ipvsadm -Ln`, by `TCP 10.96.0.1:80`. Lines that are not understood are not left out quietly. */
export async function listServers(netns: Netns): Promise<Record<string, ListedServer>> {
  const [, , , ...lines] = (await netns.exec(['ipvsadm', '-Ln'])).trimEnd().split('\n');
  const servers: Record<string, ListedServer> = {};
  let realServers: Record<string, ListedRealServer> = {};
  for (const line of lines) {
    const words = line.trim().split(/\s+/);
    if (words[0] === '->') {
      const [, address = '', forwarding = '', ...counts] = words;
      const [weight = Number.NaN, active = Number.NaN, inactive = Number.NaN] = counts.map(Number);
      realServers[address] = { forwarding, weight, active, inactive };
      continue;
    }
    const [protocol = '', address = '', scheduler = '', ...flags] = words;
    realServers = {};
    servers[`${protocol} ${address}`] = { scheduler, flags: flags.join(' '), realServers };
  }
  return servers;
}
