// Shapes that nobody needs stay for a while, and come back for nothing.

import { describe, expect, test } from 'vitest';
import type { ShapeChain } from '../../../src/mode/nftables/desired.ts';
import { UnusedShapes } from '../../../src/mode/nftables/unused-shapes.ts';

const chain = (slotCount: number, family: 4 | 6 = 4): ShapeChain => ({
  family,
  shape: {
    keyedBy: 'vip',
    side: 'all',
    slotCount,
    masquerade: 'never',
    hasInside: false,
    isRestricted: false,
    whenEmpty: 'refuse',
  },
});

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
});
