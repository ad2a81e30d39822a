// Shapes that nobody needs stay for a while, and come back for nothing.

import { describe, expect, test } from 'vitest';
import type { NeededChain, ShapeChain } from '../../../src/mode/nftables/needed-chain.ts';
import { shapeId } from '../../../src/mode/nftables/shape.ts';
import { UnusedShapes } from '../../../src/mode/nftables/unused-shapes.ts';

const chain = (slotCount: number, family: 4 | 6 = 4): ShapeChain => {
  const shape = {
    keyedBy: 'vip',
    side: 'all',
    slotCount,
    masquerade: 'never',
    hasInside: false,
    isRestricted: false,
    whenEmpty: 'refuse',
    balancing: undefined,
  } as const;
  return { family, shape, id: shapeId(shape) };
};

describe('UnusedShapes', () => {
  test('lets go of a shape at the second call at the earliest', () => {
    const unused = new UnusedShapes();
    unused.add(chain(3));
    expect(unused.take()).toEqual([]);
    unused.add(chain(4));
    expect(unused.take()).toEqual([chain(3)]);
    expect(unused.take()).toEqual([chain(4)]);
    expect(unused.take()).toEqual([]);
  });

  test('gives a shape back once, and only of its family', () => {
    const unused = new UnusedShapes();
    unused.add(chain(3));
    expect(unused.revive(chain(3, 6))).toBe(false);
    expect(unused.revive(chain(3))).toBe(true);
    expect(unused.revive(chain(3))).toBe(false);
    unused.take();
    expect(unused.take()).toEqual([]);
  });

  test('a shape that comes and goes stays young', () => {
    const unused = new UnusedShapes();
    for (let i = 0; i < 5; i++) {
      unused.add(chain(3));
      expect(unused.take()).toEqual([]);
      expect(unused.revive(chain(3))).toBe(true);
    }
  });

  test('keeps subroutines as it keeps shapes, and names the elements that lead to shapes only', () => {
    const unused = new UnusedShapes();
    const choose: NeededChain = { family: 4, subroutine: { kind: 'choose', keyedBy: 'vip', side: 'all' } };
    unused.add(choose);
    unused.add(chain(3));
    expect(unused.keys()).toEqual([`4shapes ${chain(3).id}`]);
    unused.take();
    expect(unused.take()).toEqual([choose, chain(3)]);
  });
});
