// What the tests of iptables mode on the kernel share: a proxy in this process over a transport that a test may disturb, and
// the tables as iptables prints them.

import { expect } from 'vitest';
import type { SyncResult } from '../../src/daemon/backend.ts';
import { IptablesBackend } from '../../src/daemon/iptables/iptables-backend.ts';
import { NftIptablesTables } from '../../src/daemon/iptables/nft-tables.ts';
import { planAgainst } from '../../src/daemon/iptables/plan-against.ts';
import type { Log } from '../../src/daemon/log.ts';
import { NftConnection } from '../../src/daemon/nft-connection.ts';
import { Desired } from '../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../src/mode/iptables/fixed-chains.ts';
import { chainId, type PlannedChain } from '../../src/mode/iptables/planned-chain.ts';
import { parseCidr } from '../../src/model/ip.ts';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import { splitMessages } from '../../src/netlink/message.ts';
import { decodeNotification } from '../../src/netlink/nftables/notification.ts';
import { NFNLGRP_NFTABLES } from '../../src/netlink/nftables/uapi.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { DisturbedNetlink } from '../support/disturbed-netlink.ts';
import { CLUSTER_CIDRS, FAMILIES, MASQUERADE_BIT } from '../support/in-process-proxy.ts';
import { NODE_NAME } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

export const SETTINGS: RuleSettings = {
  masqueradeBit: MASQUERADE_BIT,
  servesLocalhostNodePorts: false,
  dropsInvalid: true,
  dispatch: 'tree',
};
export const SURROUNDINGS = {
  nodePortCidrs: ['0.0.0.0/0', '::/0'].map((text) => parseCidr(text)!),
  serviceCidrs: [],
} as const;

export class IptablesNode {
  readonly netns: Netns;
  /** To the kernel, undisturbed. */
  readonly netlink: RemoteNetlink;
  /** What the proxy uses. */
  disturbed!: DisturbedNetlink;
  backend!: IptablesBackend;
  /** How often the proxy was told that others may have changed something. */
  suspicions = 0;
  /** Warnings of the backend. */
  readonly warnings: string[] = [];
  store!: Store;
  table!: VipTable;
  #isNew = true;
  /** The last that the proxy was told of. */
  #generation = 0;

  private constructor(netns: Netns, netlink: RemoteNetlink) {
    this.netns = netns;
    this.netlink = netlink;
    this.restart();
  }

  static async create(label: string): Promise<IptablesNode> {
    const netns = await Netns.create(label);
    return new IptablesNode(netns, await RemoteNetlink.open(netns));
  }

  /** A proxy that knows nothing, as after a start of the daemon. */
  restart(sendBufferBytes?: number): void {
    this.disturbed = new DisturbedNetlink(this.netlink, sendBufferBytes);
    const tables = new NftIptablesTables(
      new NftConnection(this.disturbed),
      () => this.suspicions++,
      (onEvent) =>
        this.netlink.subscribe(NFNLGRP_NFTABLES, (event) => {
          onEvent(event);
          if (event.kind === 'datagram') this.#noteGeneration(event.bytes);
        }),
    );
    const log = { warn: (_: object, text: string) => this.warnings.push(text) } as unknown as Log;
    const setSysctl = (): void => undefined;
    this.backend = new IptablesBackend({ tables, families: FAMILIES, settings: SETTINGS, setSysctl, log });
    this.store = new Store();
    this.table = newTable();
    this.#isNew = true;
    this.suspicions = 0;
    this.warnings.length = 0;
  }

  /** Takes events and syncs once. */
  apply(...events: SourceEvent[]): Promise<SyncResult> {
    const { services } = this.store.apply(events);
    const frontends = this.table.refresh(this.store, services);
    const surroundings = this.#isNew ? { ...SURROUNDINGS, localPods: this.table.facts.localPods } : undefined;
    this.#isNew = false;
    return this.backend.sync({ frontends, surroundings });
  }

  /** Syncs once, as a retry does. */
  retry(): Promise<SyncResult> {
    return this.backend.sync({ frontends: new Map(), surroundings: undefined });
  }

  /** Settles when the proxy was told of all that was done until now. */
  async caughtUp(): Promise<void> {
    const generation = await new NftConnection(this.netlink).generation();
    await expect.poll(() => this.#generation, { timeout: 5000, interval: 5 }).toBe(generation);
  }

  /** Syncs as the loop does when it looks after others. undefined when there was nothing to look after. */
  async check(): Promise<SyncResult | undefined> {
    if (!(await this.backend.hasDrifted())) return undefined;
    this.backend.distrust();
    let result = await this.retry();
    while (this.backend.hasMore) result = await this.backend.resume();
    return result;
  }

  /** Chains that are not as the objects call for, planned anew by one who knows nothing of what happened before. */
  async differences(): Promise<string[]> {
    const table = newTable();
    const frontends = table.refresh(this.store, this.store.serviceKeys());
    const found: string[] = [];
    for (const family of FAMILIES) {
      const desired = new Desired(family, SETTINGS);
      desired.update(frontends, { ...SURROUNDINGS, localPods: table.facts.localPods });
      const tables = new NftIptablesTables(new NftConnection(this.netlink), () => undefined);
      const { added, edited, removed } = await planAgainst(tables, family, desired.chains());
      for (const chain of [...(added as Iterable<PlannedChain>), ...edited, ...removed])
        found.push(`IPv${family} ${chainId(chain)}`);
    }
    return found;
  }

  /** `iptables-nft …`, or `ip6tables-nft …`. */
  iptables(...args: string[]): Promise<string> {
    return this.netns.exec(['iptables-nft', '-w', ...args]);
  }

  nft(input: string): Promise<string> {
    return this.netns.exec(['nft', '-f', '-'], { input });
  }

  #noteGeneration(datagram: Uint8Array): void {
    for (const message of splitMessages(datagram)) {
      const notification = decodeNotification(message);
      if (notification.event === 'newGeneration') this.#generation = notification.value.genId;
    }
  }

  async delete(): Promise<void> {
    this.netlink.close();
    await this.netns.delete();
  }
}

function newTable(): VipTable {
  const detectLocal = { kind: 'ClusterCIDR', cidrs: CLUSTER_CIDRS } as const;
  return new VipTable({ nodeName: NODE_NAME, detectLocal, masqueradeAll: false });
}

/** `iptables-save` without counters, comments of its own and the order of tables. */
export async function saved(netns: Netns, program: 'iptables' | 'ip6tables' = 'iptables'): Promise<string[]> {
  const text = await netns.exec([`${program}-nft-save`]);
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''));
}

/** Rules for Services, of those that `iptables -S` or `iptables-save` print of nat, that lead to a chain without any. */
export function deadEnds(text: string): string[] {
  const lines = text.split('\n');
  const filled = new Set(lines.filter((line) => line.startsWith('-A ')).map((line) => line.split(' ')[1]));
  return lines.filter((line) => {
    const target = / -[jg] (KUBE-(?:SVC|SVL|EXT|FW|SEP)-\S+)/.exec(line)?.[1];
    return target !== undefined && !filled.has(target);
  });
}
