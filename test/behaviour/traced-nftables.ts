// nftables mode under the tracer: the whole daemon from objects to bytes, over a kernel that is the tracer's own.

import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import type { Branch } from './branch.ts';
import { FAMILIES } from './objects.ts';
import type { PacketState } from './packet-state.ts';
import type { Packet } from './row.ts';
import { traceNftables } from './trace-nftables.ts';
import { TracedCluster } from './traced-cluster.ts';
import { TracedKernel } from './traced-kernel.ts';
import { isLocalFor, TracedMode } from './traced-mode.ts';

export class TracedNftables extends TracedMode<PacketState> {
  readonly #cluster: TracedCluster;
  readonly #kernel = new TracedKernel();
  readonly #backend: NftablesBackend;

  constructor(flags: readonly string[]) {
    super();
    this.#cluster = new TracedCluster(flags);
    this.#backend = new NftablesBackend({
      session: new NftSession(this.#kernel),
      families: FAMILIES,
      masqueradeBit: this.#cluster.settings.masqueradeBit,
    });
  }

  override async show(objects: readonly object[]): Promise<void> {
    const { failures } = await this.#backend.sync(this.#cluster.show(objects));
    if (failures[0] !== undefined) throw failures[0].error;
  }

  override async wait(seconds: number): Promise<void> {
    this.#kernel.state.wait(seconds);
    while (this.#backend.hasDeferred) {
      const { failures } = await this.#backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }

  protected override get state(): PacketState {
    return this.#kernel.state;
  }

  protected override set state(state: PacketState) {
    this.#kernel.state = state;
  }

  protected override trace(packet: Packet, state: PacketState): Branch<PacketState>[] {
    const isLocal = (address: string): boolean => isLocalFor(packet, address);
    return traceNftables(this.#kernel.table(packet.family === 4 ? 'ip' : 'ip6'), state, packet, { isLocal });
  }
}
