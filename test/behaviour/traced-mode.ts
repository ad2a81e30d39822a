// What every mode's tracer makes of the branches that it finds.

import { randomNumbers } from '../support/random-numbers.ts';
import type { Branch, Remembered } from './branch.ts';
import type { Landing } from './judge.ts';
import type { ModeTracer } from './modes.ts';
import type { Outcome, Packet } from './row.ts';
import { characterOf, landingOf, outcomeOf } from './traced-outcome.ts';
import { isNodeAddress } from './world.ts';

export abstract class TracedMode<State extends Remembered> implements ModeTracer {
  /** What packets have left behind. */
  protected abstract state: State;
  readonly #random = randomNumbers();

  abstract show(objects: readonly object[]): Promise<void>;
  abstract wait(seconds: number): Promise<void>;
  /** Every way that a packet may go when `state` is what others have left behind. */
  protected abstract trace(packet: Packet, state: State): readonly Branch<State>[];

  chances(packet: Packet): Outcome {
    return outcomeOf(this.trace(packet, this.state), packet.family);
  }

  character(packet: Packet): Outcome {
    const next = ({ state }: Branch<State>) => this.trace(packet, state);
    return characterOf(this.trace(packet, this.state), next, packet.family);
  }

  async connect(packet: Packet): Promise<Landing> {
    const branches = this.trace(packet, this.state);
    const number = this.#random();
    let total = 0;
    const taken =
      branches.find(({ share }) => {
        total += share;
        return number < total;
      }) ?? branches.at(-1)!;
    this.state = taken.state;
    return landingOf(taken.fate, packet.family);
  }
}

/** Whether an address is the node's while it sends the packet. */
export function isLocalFor({ from, source }: Packet, address: string): boolean {
  return isNodeAddress(address) || (from === 'node' && address === source);
}
