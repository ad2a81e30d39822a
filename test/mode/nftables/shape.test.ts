// Shape ids: what a frontend's element holds must say its chain, and nothing else may.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packHostU32 } from '../../../src/mode/nftables/names.ts';
import {
  balancingShapeOf,
  chainOfShapeId,
  DROP_ID,
  REFUSE_ID,
  type Shape,
  shapeChain,
  shapeId,
  shapeOfId,
} from '../../../src/mode/nftables/shape.ts';
import { subroutineChain, subroutineOf, subroutinesOf } from '../../../src/mode/nftables/subroutines.ts';

const shape: fc.Arbitrary<Shape> = fc
  .record({
    keyedBy: fc.constantFrom('vip' as const, 'nodeport' as const),
    side: fc.constantFrom('all' as const, 'inside' as const),
    slotCount: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 24 - 1 })),
    masquerade: fc.constantFrom('never' as const, 'off-cluster' as const, 'always' as const),
    hasInside: fc.boolean(),
    isRestricted: fc.boolean(),
    whenEmpty: fc.constantFrom('refuse' as const, 'drop' as const),
    balancing: fc.constant(undefined),
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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
        balancing: undefined,
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

  test('an id that was given out says nothing by itself', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2 ** 31, max: 2 ** 32 - 1 }), (id) => {
        expect(shapeOfId(packHostU32(id))).toBeUndefined();
      }),
    );
  });
});

const balanced: fc.Arbitrary<Shape> = fc
  .record({
    keyedBy: fc.constantFrom('vip' as const, 'nodeport' as const),
    side: fc.constantFrom('all' as const, 'inside' as const),
    slotCount: fc.integer({ min: 1, max: 65_535 }),
    masquerade: fc.constantFrom('never' as const, 'off-cluster' as const, 'always' as const),
    hasInside: fc.boolean(),
    isRestricted: fc.boolean(),
    whenEmpty: fc.constant('refuse' as const),
    scheduler: fc.constantFrom('random' as const, 'rr' as const, 'sh' as const, 'mh' as const),
    stickySeconds: fc.option(fc.integer({ min: 1, max: 86_400 }), { nil: undefined }),
    instance: fc.constantFrom('10.96.0.1/tcp/80', 'fd000010009600000000000000000001/sctp/1', 'udp/30080'),
  })
  .map(({ scheduler, stickySeconds, instance, ...rest }) => ({
    ...rest,
    balancing: { scheduler, stickySeconds, instance: scheduler === 'rr' ? instance : undefined },
  }))
  .filter(({ balancing }) => balancing.scheduler !== 'random' || balancing.stickySeconds !== undefined);

describe('shapes with balancing', () => {
  const base = {
    keyedBy: 'vip',
    side: 'all',
    slotCount: 3,
    masquerade: 'never',
    hasInside: false,
    isRestricted: false,
    whenEmpty: 'refuse',
  } as const;

  test.each([
    [
      { ...base, balancing: { scheduler: 'random', stickySeconds: 10_800, instance: undefined } },
      'pick-3-sticky-10800',
    ],
    [
      {
        ...base,
        masquerade: 'off-cluster',
        balancing: { scheduler: 'rr', stickySeconds: 60, instance: '10.96.0.1/tcp/80' },
      },
      'rr-3-sticky-60-masquerade-off-cluster-10.96.0.1/tcp/80',
    ],
    [
      {
        ...base,
        keyedBy: 'nodeport',
        side: 'inside',
        balancing: { scheduler: 'rr', stickySeconds: undefined, instance: 'udp/30080' },
      },
      'nodeport-inside-rr-3-udp/30080',
    ],
    [
      {
        ...base,
        slotCount: 1021,
        isRestricted: true,
        hasInside: true,
        masquerade: 'always',
        balancing: { scheduler: 'mh', stickySeconds: undefined, instance: undefined },
      },
      'restricted-local-mh-1021-masquerade',
    ],
  ] as const)('%j', (one, chain) => {
    expect(shapeChain(one)).toBe(chain);
  });

  test('the name of a chain says its shape, and is one that nft can write', () => {
    fc.assert(
      fc.property(balanced, (one) => {
        const chain = shapeChain(one);
        expect(balancingShapeOf(chain)).toEqual(one);
        expect(chain).toMatch(/^[a-z][a-z0-9/_.-]{0,126}$/);
        expect(subroutineOf(chain)).toBeUndefined();
      }),
    );
  });

  test('names of others and of plain shapes are none of these', () => {
    fc.assert(
      fc.property(shape, (one) => {
        expect(balancingShapeOf(shapeChain(one))).toBeUndefined();
      }),
    );
    const others = [
      'refuse',
      'mine',
      'goto',
      'pick-3',
      'pick-0-sticky-60',
      'pick-03-sticky-60',
      'pick-3-sticky-060',
      'rr-3',
      'sh-3-10.96.0.1/tcp/80',
      'mh-3-sticky-',
      'x-mh-1021',
      'mh-1021 ',
    ];
    expect(others.map(balancingShapeOf)).toEqual(others.map(() => undefined));
  });

  test('what a shape jumps to says its name, too', () => {
    fc.assert(
      fc.property(balanced, (one) => {
        const subroutines = subroutinesOf(one);
        expect(subroutines.map(({ kind }) => kind)).toEqual(
          one.balancing?.stickySeconds === undefined ? ['choose'] : ['stick', 'learn'],
        );
        expect(subroutines.map((sub) => subroutineOf(subroutineChain(sub)))).toEqual(subroutines);
      }),
    );
    const others = [
      'choose-3',
      'stick',
      'stick-',
      'learn-060',
      'nodeport-',
      'inside-nodeport-choose',
      'pick-3',
    ];
    expect(others.map(subroutineOf)).toEqual(others.map(() => undefined));
  });
});
