// Shape ids: what a frontend's element holds must say its chain, and nothing else may.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  chainOfShapeId,
  DROP_ID,
  REFUSE_ID,
  type Shape,
  shapeChain,
  shapeId,
  shapeOfId,
} from '../../../src/mode/nftables/shape.ts';

const shape: fc.Arbitrary<Shape> = fc
  .record({
    keyedBy: fc.constantFrom('vip' as const, 'nodeport' as const),
    side: fc.constantFrom('all' as const, 'inside' as const),
    slotCount: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 24 - 1 })),
    masquerade: fc.constantFrom('never' as const, 'off-cluster' as const, 'always' as const),
    hasInside: fc.boolean(),
    isRestricted: fc.boolean(),
    whenEmpty: fc.constantFrom('refuse' as const, 'drop' as const),
  })
  .chain((one) =>
    fc
      .boolean()
      .map((isEmpty) =>
        isEmpty && (one.hasInside || one.isRestricted)
          ? { ...one, slotCount: 0, masquerade: 'never' as const }
          : { ...one, whenEmpty: 'refuse' as const },
      ),
  );

describe('shapes', () => {
  test.each([
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 3,
        masquerade: 'never',
        hasInside: false,
        isRestricted: false,
        whenEmpty: 'refuse',
      },
      'pick-3',
      '3000000',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 3,
        masquerade: 'off-cluster',
        hasInside: false,
        isRestricted: false,
        whenEmpty: 'refuse',
      },
      'pick-3-masquerade-off-cluster',
      '3000001',
    ],
    [
      {
        keyedBy: 'nodeport',
        side: 'all',
        slotCount: 3,
        masquerade: 'always',
        hasInside: false,
        isRestricted: false,
        whenEmpty: 'refuse',
      },
      'nodeport-pick-3-masquerade',
      '3000006',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'inside',
        slotCount: 2,
        masquerade: 'never',
        hasInside: false,
        isRestricted: false,
        whenEmpty: 'refuse',
      },
      'inside-pick-2',
      '2000008',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 1,
        masquerade: 'never',
        hasInside: true,
        isRestricted: false,
        whenEmpty: 'refuse',
      },
      'local-pick-1',
      '1000010',
    ],
    [
      {
        keyedBy: 'nodeport',
        side: 'all',
        slotCount: 0,
        masquerade: 'never',
        hasInside: true,
        isRestricted: false,
        whenEmpty: 'drop',
      },
      'nodeport-local-drop',
      '0000034',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 2,
        masquerade: 'never',
        hasInside: true,
        isRestricted: true,
        whenEmpty: 'refuse',
      },
      'restricted-local-pick-2',
      '2000050',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 0,
        masquerade: 'never',
        hasInside: false,
        isRestricted: true,
        whenEmpty: 'refuse',
      },
      'restricted-refuse',
      '0000040',
    ],
    [
      {
        keyedBy: 'vip',
        side: 'all',
        slotCount: 0,
        masquerade: 'never',
        hasInside: false,
        isRestricted: true,
        whenEmpty: 'drop',
      },
      'restricted-drop',
      '0000060',
    ],
  ] as const)('%j', (one, chain, bytes) => {
    expect(shapeChain(one)).toBe(chain);
    const hex = Array.from(shapeId(one), (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('');
    expect(hex).toBe(`0${bytes}`);
  });

  test('an id says its shape', () => {
    fc.assert(
      fc.property(shape, (one) => {
        expect(shapeOfId(shapeId(one))).toEqual(one);
        expect(chainOfShapeId(shapeId(one))).toBe(shapeChain(one));
      }),
    );
  });

  test('two shapes have one id exactly when they have one chain', () => {
    fc.assert(
      fc.property(shape, shape, (a, b) => {
        expect(shapeId(a) === shapeId(b)).toBe(shapeChain(a) === shapeChain(b));
      }),
    );
  });

  test('fixed ids are no shape', () => {
    expect([REFUSE_ID, DROP_ID].map(shapeOfId)).toEqual([undefined, undefined]);
    expect([REFUSE_ID, DROP_ID].map(chainOfShapeId)).toEqual(['refuse', 'drop-silently']);
  });
});
