// Ids of shapes with `balancing`. What such a shape is does not fit in 32 bits, so its id is a number given out when the
// shape is first needed. `shapes` in the kernel leads from the id to a chain, whose name says the shape: that is how a
// daemon that starts learns what another one gave out.

import type { IpFamily } from '../../model/ip.ts';
import { packHostU32, type SetName, SHAPE_SETS, unpackHostU32 } from './names.ts';
import type { ObservedTable } from './observed.ts';
import { shapeSet } from './planned-frontend.ts';
import { balancingShapeOf, DYNAMIC_ID_BIT, type Shape, shapeChain } from './shape.ts';

/** The numbers in one map of one family. */
class Numbers {
  /** Packed id per name of a chain. */
  readonly ids = new Map<string, string>();
  /** What must not be given out: what `ids` holds, and what somebody was seen to have written. */
  readonly taken = new Set<string>();
  #last = 0;

  bind(chain: string, id: string): void {
    this.ids.set(chain, id);
    this.take(id);
  }

  /** A number that was used is not used again until all others were: a packet may still carry it. */
  take(id: string): void {
    this.taken.add(id);
    this.#last = Math.max(this.#last, (unpackHostU32(id) & ~DYNAMIC_ID_BIT) >>> 0);
  }

  next(): string {
    for (;;) {
      this.#last = (this.#last + 1) % DYNAMIC_ID_BIT;
      const id = packHostU32((DYNAMIC_ID_BIT | this.#last) >>> 0);
      if (!this.taken.has(id)) return id;
    }
  }
}

export class ShapeIds {
  readonly #numbers = new Map<string, Numbers>();

  /** The id of a shape with `balancing`: the same until it is forgotten. */
  idOf(family: IpFamily, shape: Shape): string {
    const numbers = this.#numbersOf(family, shapeSet(shape));
    const chain = shapeChain(shape);
    const id = numbers.ids.get(chain) ?? numbers.next();
    numbers.bind(chain, id);
    return id;
  }

  /** The shape of an id that was given out or learnt. */
  hasId(family: IpFamily, shape: Shape, id: string): boolean {
    return this.#numbersOf(family, shapeSet(shape)).ids.get(shapeChain(shape)) === id;
  }

  /** Takes an id back: nothing in the kernel leads to it or from it any more. */
  forget(family: IpFamily, shape: Shape): void {
    const numbers = this.#numbersOf(family, shapeSet(shape));
    const chain = shapeChain(shape);
    numbers.taken.delete(numbers.ids.get(chain) ?? '');
    numbers.ids.delete(chain);
  }

  /**
   * Starts over from what the kernel holds. Shapes `inUse` keep the ids they have. Of two ids for one chain the first
   * counts, and what is not ours is never given out.
   */
  learn(family: IpFamily, table: ObservedTable | undefined, inUse: Iterable<Shape>): void {
    const kept = [...inUse].map((shape) => ({ shape, id: this.idOf(family, shape) }));
    for (const set of SHAPE_SETS) {
      const numbers = new Numbers();
      for (const { shape, id } of kept) if (shapeSet(shape) === set) numbers.bind(shapeChain(shape), id);
      for (const [id, chain] of table?.elements.get(set) ?? []) {
        if (!isDynamic(id)) continue;
        const shape = balancingShapeOf(chain);
        const isOurs = shape !== undefined && shapeSet(shape) === set;
        if (isOurs && !numbers.ids.has(chain) && !numbers.taken.has(id)) numbers.bind(chain, id);
        else numbers.take(id);
      }
      this.#numbers.set(`${family}${set}`, numbers);
    }
  }

  #numbersOf(family: IpFamily, set: SetName): Numbers {
    const key = `${family}${set}`;
    const numbers = this.#numbers.get(key) ?? new Numbers();
    this.#numbers.set(key, numbers);
    return numbers;
  }
}

function isDynamic(id: string): boolean {
  return id.length === 4 && unpackHostU32(id) >= DYNAMIC_ID_BIT;
}
