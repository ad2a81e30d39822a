// A proxy in this process over a disturbed transport to the kernel of a namespace of its own, for the tests of faults.

import { expect } from 'vitest';
import type { SyncResult } from '../../src/daemon/backend.ts';
import { DisturbedNetlink } from '../support/disturbed-netlink.ts';
import { compare, InProcessProxy } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

export class FaultyNode {
  readonly netns: Netns;
  /** To the kernel, undisturbed. */
  readonly netlink: RemoteNetlink;
  /** What the proxy uses. */
  disturbed: DisturbedNetlink;
  proxy: InProcessProxy;

  private constructor(netns: Netns, netlink: RemoteNetlink) {
    this.netns = netns;
    this.netlink = netlink;
    this.disturbed = new DisturbedNetlink(netlink);
    this.proxy = new InProcessProxy(this.disturbed);
  }

  static async create(): Promise<FaultyNode> {
    const netns = await Netns.create('faults');
    return new FaultyNode(netns, await RemoteNetlink.open(netns));
  }

  /** An empty ruleset and a proxy that knows nothing. */
  async restart(sendBufferBytes?: number): Promise<void> {
    await this.netns.exec(['nft', 'flush', 'ruleset']);
    this.disturbed = new DisturbedNetlink(this.netlink, sendBufferBytes);
    this.proxy = new InProcessProxy(this.disturbed);
  }

  /** The kernel holds exactly what the proxy's objects call for, and nobody complains. */
  async expectInForce(): Promise<void> {
    expect((await compare(this.netlink, this.proxy.store)).now).toEqual([]);
    expect(this.proxy.backend.problems()).toEqual([]);
    await this.proxy.flush();
    expect(await compare(this.netlink, this.proxy.store)).toEqual({ now: [], later: [] });
  }

  /** What separates the kernel from what the proxy's objects call for. */
  async differences(): Promise<readonly string[]> {
    const { now, later } = await compare(this.netlink, this.proxy.store);
    return [...now, ...later];
  }

  async delete(): Promise<void> {
    this.netlink.close();
    await this.netns.delete();
  }
}

/** The Service web-<n> with a cluster IP, a node port and `count` endpoints. */
export function web(n: number, count: number, port = 8080): object[] {
  const endpoints = Array.from({ length: count }, (_, i) => `10.1.${n}.${i + 1}`);
  const ports = [{ name: 'http', port: 80, nodePort: 30000 + n }];
  return [
    service(`web-${n}`, { clusterIps: [`10.96.0.${n}`], ports }),
    slice(`web-${n}`, `web-${n}`, { ports: [{ name: 'http', port }], endpoints }),
  ];
}

export const failuresOf = ({ failures }: SyncResult): string[] => failures.map(({ error }) => error.message);
