// nftables mode under the tracer: the whole daemon from objects to bytes, over a kernel that is the tracer's own.

import { NftSession } from '../../src/daemon/nft-session.ts';
import { NftablesBackend } from '../../src/daemon/nftables-backend.ts';
import type { Landing } from './judge.ts';
import type { ModeTracer } from './modes.ts';
import { FAMILIES } from './objects.ts';
import type { PacketState } from './packet-state.ts';
import type { Outcome, Packet } from './row.ts';
import { type Branch, traceNftables } from './trace-nftables.ts';
import { TracedCluster } from './traced-cluster.ts';
import { TracedKernel } from './traced-kernel.ts';
import { characterOf, landingOf, outcomeOf } from './traced-outcome.ts';
import { isNodeAddress } from './world.ts';

export class TracedNftables implements ModeTracer {
  readonly #cluster: TracedCluster;
  readonly #kernel = new TracedKernel();
  readonly #backend: NftablesBackend;
  readonly #random = randomNumbers();

  constructor(flags: readonly string[]) {
    this.#cluster = new TracedCluster(flags);
    this.#backend = new NftablesBackend({
      session: new NftSession(this.#kernel),
      families: FAMILIES,
      masqueradeBit: this.#cluster.settings.masqueradeBit,
    });
  }

  async show(objects: readonly object[]): Promise<void> {
    const { failures } = await this.#backend.sync(this.#cluster.show(objects));
    if (failures[0] !== undefined) throw failures[0].error;
  }

  async wait(seconds: number): Promise<void> {
    this.#kernel.state.wait(seconds);
    while (this.#backend.hasDeferred) {
      const { failures } = await this.#backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }

  chances(packet: Packet): Outcome {
    return outcomeOf(this.#trace(packet), packet.family);
  }

  character(packet: Packet): Outcome {
    return characterOf(this.#trace(packet), ({ state }) => this.#trace(packet, state), packet.family);
  }

  async connect(packet: Packet): Promise<Landing> {
    const branches = this.#trace(packet);
    const number = this.#random();
    let total = 0;
    const taken =
      branches.find(({ share }) => {
        total += share;
        return number < total;
      }) ?? branches.at(-1)!;
    this.#kernel.state = taken.state;
    return landingOf(taken.fate, packet.family);
  }

  #trace(packet: Packet, state: PacketState = this.#kernel.state): Branch[] {
    const isLocal = (address: string): boolean =>
      isNodeAddress(address) || (packet.from === 'node' && address === packet.source);
    return traceNftables(this.#kernel.table(packet.family === 4 ? 'ip' : 'ip6'), state, packet, { isLocal });
  }
}

/** Numbers from 0 to 1, the same in every run (mulberry32). */
function randomNumbers(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
