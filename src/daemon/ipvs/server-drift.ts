// Whether others have changed virtual servers of ours: IPVS tells nobody. All virtual servers are listed, which is one dump, and the
// real servers of some, in turn.

import { type Desired, keyAt } from '../../mode/ipvs/desired.ts';
import type { DrainingServers } from '../../mode/ipvs/draining.ts';
import { realId, serverId, virtualServerAt } from '../../mode/ipvs/planned-server.ts';
import { isSameServer, planServerChange } from '../../mode/ipvs/server-plan.ts';
import { isMarked } from '../../netlink/ipvs/table.ts';
import type { VirtualServer } from '../../netlink/ipvs/virtual-server.ts';
import type { IpvsSession } from './ipvs-session.ts';

/** Real servers of so many virtual servers are compared at each check. */
const SAMPLE_SIZE = 64;

type ServerTable = Pick<IpvsSession, 'virtualServers' | 'realServers'>;

export class ServerDrift {
  readonly #table: ServerTable;
  readonly #desired: Desired;
  readonly #draining: DrainingServers;
  /** Where the next check begins to compare real servers. */
  #sampleStart = 0;

  constructor(table: ServerTable, desired: Desired, draining: DrainingServers) {
    this.#table = table;
    this.#desired = desired;
    this.#draining = draining;
  }

  /** Rejects with KernelError, DecodeError. */
  async isSeen(): Promise<boolean> {
    return (await this.#isSeenOfServers()) || (await this.#isSeenOfRealServers());
  }

  async #isSeenOfServers(): Promise<boolean> {
    const seen = new Map<string, VirtualServer>();
    for (const server of await this.#table.virtualServers())
      if (!isMarked(server)) seen.set(serverId(server), server);
    for (const [address, wanted] of this.#desired.servers()) {
      const server = virtualServerAt(wanted, address);
      const known = seen.get(serverId(server));
      if (known === undefined || !isSameServer(known, server)) return true;
    }
    return false;
  }

  async #isSeenOfRealServers(): Promise<boolean> {
    const all = [...this.#desired.servers()];
    if (all.length === 0) return false;
    const start = this.#sampleStart % all.length;
    const sample = [...all.slice(start), ...all.slice(0, start)].slice(0, SAMPLE_SIZE);
    this.#sampleStart = start + SAMPLE_SIZE;
    const keys = sample.map(([address, wanted]) => keyAt(wanted, address));
    const seen = await this.#table.realServers(keys);
    return sample.some(([address, wanted], i) => {
      const realServers = new Map(seen[i]!.map((one) => [realId(one), one]));
      const server = virtualServerAt(wanted, address);
      const { first, draining } = planServerChange(address, { server, realServers }, wanted);
      const known = this.#draining.at(keys[i]!);
      return first.length > 0 || draining.some((one) => !known.has(realId(one)));
    });
  }
}
