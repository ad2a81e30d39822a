// A network namespace with proxies, endpoints and clients in it, and rules by nft that send clients to the proxies as portals do.

import { createInterface } from 'node:readline';
import type { ProxyCounts } from '../../../src/daemon/userspace/proxies.ts';
import type { Trouble } from '../../../src/daemon/userspace/troubles.ts';
import type { Side } from '../../../src/mode/userspace/offered-backends.ts';
import type { SocketAddress } from '../../../src/mode/userspace/proxy-header.ts';
import { familyOf, type Ip, type IpFamily } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { Netns } from '../../support/netns/netns.ts';
import type { Agent } from '../../support/netns/traffic.ts';
import type { Question } from './proxies-agent.ts';

const RUN = [
  process.execPath,
  '--import',
  new URL('../../../scripts/register-typescript.mjs', import.meta.url).pathname,
  new URL('./proxies-agent.ts', import.meta.url).pathname,
] as const;

/** Of the node, of endpoints and of a client. */
const ADDRESSES = [
  ...['192.168.50.10/32', '192.168.50.11/32', 'fd00:50::10/128'],
  ...['10.1.0.11/32', '10.1.0.12/32', '10.1.0.13/32', 'fd00:10:1::11/128', 'fd00:10:1::12/128'],
];
export const NODE_IPS = [
  [4, '192.168.50.10'],
  [6, 'fd00:50::10'],
] as unknown as readonly (readonly [IpFamily, Ip])[];

export class ProxiedNode {
  readonly netns: Netns;
  readonly agent: Agent;
  readonly #child: ReturnType<Netns['spawn']>;
  readonly #lines: AsyncIterator<string>;
  #stderr = '';

  private constructor(netns: Netns) {
    this.netns = netns;
    this.agent = netns.agent();
    this.#child = netns.spawn(RUN);
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk;
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  static async create(): Promise<ProxiedNode> {
    const netns = await Netns.create('proxies');
    await netns.ip(
      ...ADDRESSES.map((address) => `address add ${address} dev lo${address.includes(':') ? ' nodad' : ''}`),
      // Virtual addresses must have a route for output to be translated at all.
      'route add 10.96.0.0/12 dev lo',
      'route add fd00:10:96::/112 dev lo',
    );
    return new ProxiedNode(netns);
  }

  /** Codes and Services of what failed. */
  update(
    frontends: Readonly<Record<string, readonly Frontend[]>>,
    addresses?: readonly (readonly [IpFamily, Ip])[],
  ): Promise<{ code: string; services: ServiceKey[] }[]> {
    const list = Object.entries(frontends).map(
      ([key, one]) => [`default/${key}` as ServiceKey, one] as const,
    );
    return this.#ask({ op: 'update', frontends: list, ...(addresses && { addresses }) });
  }

  async portal(frontend: Frontend, side: Side = 'outside'): Promise<SocketAddress | undefined> {
    return (await this.#ask<SocketAddress | null>({ op: 'portal', frontend, side })) ?? undefined;
  }

  release(): Promise<void> {
    return this.#ask({ op: 'release' });
  }

  counts(): Promise<ProxyCounts> {
    return this.#ask({ op: 'counts' });
  }

  troubles(): Promise<Trouble[]> {
    return this.#ask({ op: 'troubles' });
  }

  close(): Promise<void> {
    return this.#ask({ op: 'close' });
  }

  /** What is dialled from here at `address:port` (any address for a node port) goes to a proxy. */
  async translate(
    { address, port, protocol, family }: Frontend,
    to: SocketAddress,
    match = '',
  ): Promise<void> {
    const ip = family === 4 ? 'ip' : 'ip6';
    const destination = address === undefined ? '' : `${ip} daddr ${address}`;
    const at = familyOf(to.ip) === 6 ? `[${to.ip}]:${to.port}` : `${to.ip}:${to.port}`;
    const rule = `${match} ${destination} ${protocol.toLowerCase()} dport ${port} dnat ${ip} to ${at}`;
    await this.netns.exec(['nft', '-f', '-'], {
      input: `table inet portals {
        chain output { type nat hook output priority -100; }
      }
      add rule inet portals output ${rule}\n`,
    });
  }

  delete(): Promise<void> {
    return this.netns.delete();
  }

  async #ask<T>(question: Question): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Error(`the proxies ended\n${this.#stderr}`);
    return JSON.parse(value) as T;
  }
}
