// Shapes that no frontend has any more. Their element and chain cost nothing where they are, but a chain that is made
// anew makes the kernel walk the whole endpoint map it reads (nf_tables_bind_set): 4 ms at 50,000 endpoints, 50 ms at
// 250,000. So they stay for a while, for the next Service that comes to have as many endpoints.

import { shapeChange } from './desired.ts';
import { elementId } from './element-change.ts';
import { nftFamily } from './names.ts';
import { isShapeChain, type NeededChain, neededChainName } from './needed-chain.ts';

export class UnusedShapes {
  readonly #pending = new Map<string, { readonly chain: NeededChain; readonly round: number }>();
  #round = 0;

  /** A shape or subroutine that is there, as it should be, and not needed. */
  add(chain: NeededChain): void {
    this.#pending.set(chainKey(chain), { chain, round: this.#round });
  }

  /** Takes back a shape that is needed again; true when it is there, so that nothing has to be written for it. */
  revive(chain: NeededChain): boolean {
    return this.#pending.delete(chainKey(chain));
  }

  /** Those that were not needed at the previous call either. No subroutine is among them that others still jump to. */
  take(): NeededChain[] {
    const ripe: NeededChain[] = [];
    for (const [key, { chain, round }] of this.#pending) {
      if (round === this.#round) continue;
      ripe.push(chain);
      this.#pending.delete(key);
    }
    this.#round++;
    return ripe;
  }

  /** The ids (`elementId`) of the elements that lead to them. */
  keys(): string[] {
    const chains = [...this.#pending.values()].map(({ chain }) => chain);
    return chains.filter(isShapeChain).map((chain) => elementId(shapeChange(chain, true)));
  }

  clear(): void {
    this.#pending.clear();
  }
}

function chainKey(chain: NeededChain): string {
  return `${nftFamily(chain.family)} ${neededChainName(chain)}`;
}
