// Chains that exist as long as a frontend needs them: those of shapes, which ids in the maps of shapes lead to, and the
// subroutines that these jump to.

import type { IpFamily } from '../../model/ip.ts';
import { type Chain, type RuleSettings, shapeChainOf, subroutineChainOf } from './chains.ts';
import { type Shape, shapeChain } from './shape.ts';
import { type Subroutine, subroutineChain } from './subroutines.ts';

export interface ShapeChain {
  readonly family: IpFamily;
  readonly shape: Shape;
  /** Packed: what leads to the chain in the map of shapes. */
  readonly id: string;
}

export interface SubroutineChain {
  readonly family: IpFamily;
  readonly subroutine: Subroutine;
}

export type NeededChain = ShapeChain | SubroutineChain;

export function isShapeChain(chain: NeededChain): chain is ShapeChain {
  return 'shape' in chain;
}

export function neededChainName(chain: NeededChain): string {
  return isShapeChain(chain) ? shapeChain(chain.shape) : subroutineChain(chain.subroutine);
}

/** With its rules. */
export function neededChainOf(chain: NeededChain, settings: RuleSettings): Chain {
  const { family } = chain;
  return isShapeChain(chain)
    ? shapeChainOf(family, chain.shape, settings)
    : subroutineChainOf(family, chain.subroutine);
}
