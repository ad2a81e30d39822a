// Annotations of a Service: what each asks for, and that one which cannot be read costs only itself.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildService } from '../../src/model/build-service.ts';
import { isDeepEqual } from '../../src/model/deep-equal.ts';
import { DEFAULT_POLICY, SCHEDULERS, type ServicePolicy } from '../../src/model/service-policy.ts';

/** The policy of a Service with these annotations, and `CODE reason` of everything told. */
function read(annotations: object, spec: object = {}): { policy: ServicePolicy; told: string[] } {
  const built = buildService({
    metadata: { namespace: 'default', name: 'web', annotations },
    spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }], ...spec },
  });
  if (built.kind !== 'built') throw new Error(built.reason);
  expect(built.value.ports).toHaveLength(built.value.isProxied ? 1 : 0);
  return { policy: built.value.policy, told: built.warnings.map(({ code, reason }) => `${code} ${reason}`) };
}

const scheduler = (text: unknown) => read({ 'kproxy-ts.io/scheduler': text });
const weights = (text: unknown) => read({ 'kproxy-ts.io/weights': text });
const removed = (text: unknown) => read({ 'kproxy-ts.io/removed-endpoint-tcp': text });

/** What `weights` states; other kinds of entries are empty, and the default is 1. */
const stated = (some: Partial<NonNullable<ServicePolicy['weights']>>) => ({
  byAddress: {},
  byNode: {},
  byZone: {},
  default: 1,
  ...some,
});

describe('scheduler', () => {
  it.each(SCHEDULERS)('%s', (text) => {
    expect(scheduler(text)).toEqual({ policy: { ...DEFAULT_POLICY, scheduler: text }, told: [] });
  });

  it.each([
    ['twos', '"twos"'],
    ['RR', '"RR"'],
    ['', '""'],
  ])('%j is told, and random is used', (text, got) => {
    expect(scheduler(text)).toEqual({
      policy: DEFAULT_POLICY,
      told: [
        `INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/scheduler"]: must be one of random, rr, sh, mh, wrr, lc, wlc, sed, nq, lblc, lblcr, dh, fo, ovf, got ${got}; random is used`,
      ],
    });
  });

  it.each([
    [5, '5'],
    [null, 'nothing'],
    [['rr'], 'a list'],
  ])('%j is no text', (value, got) => {
    expect(scheduler(value).told).toEqual([
      `INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/scheduler"]: must be a string, got ${got}; random is used`,
    ]);
  });
});

describe('weights', () => {
  it.each<[string, ServicePolicy['weights']]>([
    ['10.1.0.7=0', stated({ byAddress: { '10.1.0.7': 0 } })],
    ['010.1.0.7=5, FD00::7 = 100', stated({ byAddress: { '10.1.0.7': 5, 'fd00::7': 100 } })],
    ['node/node-3.example=50', stated({ byNode: { 'node-3.example': 50 } })],
    ['zone/Zone_A=20\n', stated({ byZone: { Zone_A: 20 } })],
    ['default=0', stated({ default: 0 })],
    ['default=10,10.1.0.7=1', stated({ byAddress: { '10.1.0.7': 1 }, default: 10 })],
    ['node/default=3', stated({ byNode: { default: 3 } })],
    [
      'node/constructor=3,zone/constructor=4',
      stated({ byNode: { constructor: 3 } as never, byZone: { constructor: 4 } as never }),
    ],
    // A default alone makes no difference.
    ['default=7', undefined],
  ])('%j', (text, expected) => {
    const { policy, told } = weights(text);
    expect(told).toEqual([]);
    expect(policy.weights).toEqual(expected);
  });

  it.each([
    ['', ''],
    ['10.1.0.7', '10.1.0.7'],
    ['10.1.0.7=101', '10.1.0.7=101'],
    ['10.1.0.7=-1', '10.1.0.7=-1'],
    ['10.1.0.7=1.5', '10.1.0.7=1.5'],
    ['10.1.0.7=', '10.1.0.7='],
    ['10.1.0.7=1=2', '10.1.0.7=1=2'],
    ['=5', '=5'],
    ['10.1.0=5', '10.1.0=5'],
    ['10.1.0.0/24=5', '10.1.0.0/24=5'],
    ['pod/web-1=5', 'pod/web-1=5'],
    ['node/=5', 'node/=5'],
    ['node/a/b=5', 'node/a/b=5'],
    ['node/__proto__=5', 'node/__proto__=5'],
    ['Default=5', 'Default=5'],
    ['10.1.0.7=5,', ''],
    ['10.1.0.7=5;10.1.0.8=5', '10.1.0.7=5;10.1.0.8=5'],
  ])('%j is told by its entry, and all weigh the same', (text, entry) => {
    const { policy, told } = weights(text);
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      `INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/weights"]: entry ${JSON.stringify(entry)} must be an ` +
        `endpoint's address, node/NAME, zone/NAME or default, then = and a weight from 0 to 100, ` +
        `got ${JSON.stringify(text)}; all endpoints weigh the same`,
    ]);
  });

  it.each(['10.1.0.7=5,10.1.0.7=6', '10.1.0.7=5,010.1.0.7=5', 'default=1,default=2'])(
    '%j says one thing twice',
    (text) => {
      const { policy, told } = weights(text);
      expect(policy).toBe(DEFAULT_POLICY);
      expect(told[0]).toContain(`entry "${text.split(',')[1]}" must be the only one of its kind`);
    },
  );

  it('one bad entry takes the others along: half a wish is none', () => {
    expect(weights('10.1.0.7=0,10.1.0.8=x').policy).toBe(DEFAULT_POLICY);
  });

  it('are read up to a bound, and told in a line beyond it', () => {
    const entries = (count: number) =>
      Array.from({ length: count }, (_, i) => `10.1.${i >> 8}.${i & 255}=5`).join();
    expect(Object.keys(weights(entries(1000)).policy.weights!.byAddress)).toHaveLength(1000);
    for (const hostile of [
      entries(1001),
      entries(100_000),
      `default=0${' '.repeat(66_000)}`,
      'x'.repeat(1_000_000),
      '='.repeat(60_000),
    ]) {
      const { policy, told } = weights(hostile);
      expect(policy).toBe(DEFAULT_POLICY);
      expect(told).toHaveLength(1);
      expect(told[0]!.length).toBeLessThan(500);
    }
  });
});

describe('removed-endpoint-tcp', () => {
  it.each<[string, ServicePolicy['removedTcp']]>([
    ['keep', { kind: 'keep' }],
    ['reset-after=30s', { kind: 'reset', graceMs: 30_000 }],
    ['reset-after=1h30m', { kind: 'reset', graceMs: 5_400_000 }],
    ['reset-after=0', { kind: 'reset', graceMs: 0 }],
    ['reset-after=24h', { kind: 'reset', graceMs: 86_400_000 }],
    ['reset-after=1ns', { kind: 'reset', graceMs: 1 }],
  ])('%s', (text, expected) => {
    expect(removed(text)).toEqual({ policy: { ...DEFAULT_POLICY, removedTcp: expected }, told: [] });
  });

  it.each([
    'reset',
    'reset-after',
    'reset-after=',
    'reset-after=30',
    'reset-after=-1s',
    'reset-after=24h1s',
    'reset-after=300000h',
    `reset-after=${'1'.repeat(50_000)}`,
    'Keep',
  ])('%j is told, and connections are kept', (text) => {
    const { policy, told } = removed(text);
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(
      /^INVALID_ANNOTATION metadata\.annotations\["kproxy-ts\.io\/removed-endpoint-tcp"\]: must be keep, or reset-after= and a duration from 0s to 24h such as 30s, got ".{1,61}"; connections are kept$/,
    );
  });
});

describe('for ipvs mode', () => {
  it.each([
    ['mh-port', ['mh-port']],
    [' sh-fallback , mh-fallback', ['sh-fallback', 'mh-fallback']],
  ])('scheduler flags %j', (text, schedulerFlags) => {
    const { policy, told } = read({ 'kproxy-ts.io/scheduler-flags': text });
    expect({ policy, told }).toEqual({ policy: { ...DEFAULT_POLICY, schedulerFlags }, told: [] });
  });

  it.each(['', 'mh', 'mh-port,', 'mh-port,mh-port'])('scheduler flags %j are told', (text) => {
    const { policy, told } = read({ 'kproxy-ts.io/scheduler-flags': text });
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      'INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/scheduler-flags"]: must be some of sh-port, sh-fallback, ' +
        `mh-port, mh-fallback, each once and separated by commas, got ${JSON.stringify(text)}; none is used`,
    ]);
  });

  it.each([
    ['tunnel', true],
    ['none', false],
  ])('direct routing %s', (text, isDirect) => {
    const { policy, told } = read({ 'kproxy-ts.io/direct-routing': text });
    expect({ policy, told }).toEqual({ policy: { ...DEFAULT_POLICY, isDirect }, told: [] });
  });

  it('a limit of connections, and the PROXY protocol', () => {
    const { policy, told } = read({
      'kproxy-ts.io/max-connections': '1000',
      'kproxy-ts.io/proxy-protocol': 'v2',
    });
    expect({ policy, told }).toEqual({
      policy: { ...DEFAULT_POLICY, maxConnections: 1000, proxyProtocol: 'v2' },
      told: [],
    });
    expect(read({ 'kproxy-ts.io/proxy-protocol': 'none' }).policy).toBe(DEFAULT_POLICY);
  });

  it.each(['0', '-1', '1e3', '1000001', ''])('a limit of %j connections is told', (text) => {
    const { policy, told } = read({ 'kproxy-ts.io/max-connections': text });
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      'INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/max-connections"]: must be a number from 1 to 1000000, ' +
        `got ${JSON.stringify(text)}; there is no limit`,
    ]);
  });

  it('version 1 of the PROXY protocol is told', () => {
    const { policy, told } = read({ 'kproxy-ts.io/proxy-protocol': 'v1' });
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      'INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/proxy-protocol"]: must be one of none, v2, ' +
        'got "v1"; none is used',
    ]);
  });

  it.each(['true', 'gre', ''])('direct routing %j is told', (text) => {
    const { policy, told } = read({ 'kproxy-ts.io/direct-routing': text });
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      'INVALID_ANNOTATION metadata.annotations["kproxy-ts.io/direct-routing"]: must be tunnel or none, ' +
        `got ${JSON.stringify(text)}; answers come through this node`,
    ]);
  });
});

describe('annotations together', () => {
  it('one that cannot be read has its default, the others hold', () => {
    const { policy, told } = read({
      'kproxy-ts.io/scheduler': 'rr',
      'kproxy-ts.io/weights': 'nonsense',
      'kproxy-ts.io/removed-endpoint-tcp': 'reset-after=5s',
    });
    expect(policy).toEqual({
      ...DEFAULT_POLICY,
      scheduler: 'rr',
      removedTcp: { kind: 'reset', graceMs: 5000 },
    });
    expect(told).toHaveLength(1);
  });

  it('one of this prefix that is not known is told; those of others are not looked at', () => {
    const { policy, told } = read({
      'kproxy-ts.io/shceduler': 'rr',
      'kube-router.io/service.scheduler': 'rr',
      'kproxy-ts.iox/scheduler': 'rr',
      scheduler: 'rr',
    });
    expect(policy).toBe(DEFAULT_POLICY);
    expect(told).toEqual([
      'UNKNOWN_ANNOTATION metadata.annotations["kproxy-ts.io/shceduler"]: is not known (known are ' +
        'kproxy-ts.io/scheduler, kproxy-ts.io/scheduler-flags, kproxy-ts.io/direct-routing, kproxy-ts.io/weights, kproxy-ts.io/removed-endpoint-tcp, kproxy-ts.io/max-connections, kproxy-ts.io/proxy-protocol), got "rr"; ignored',
    ]);
  });

  it('are told in a bounded number of bounded lines', () => {
    const hostile = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => [`kproxy-ts.io/${'x'.repeat(5000)}${i}`, 'y'.repeat(5000)]),
    );
    const { told } = read(hostile);
    expect(told).toHaveLength(21);
    for (const line of told) expect(line.length).toBeLessThan(500);
  });

  it('of a Service that is left alone are not read', () => {
    const bad = { 'kproxy-ts.io/scheduler': 'x' };
    expect(read(bad, { clusterIP: 'None' })).toEqual({ policy: DEFAULT_POLICY, told: [] });
  });

  it('must be an object, as the API has it', () => {
    expect(() => read([])).toThrow('metadata.annotations: must be an object, got a list');
  });

  it('that ask for the default share its policy', () => {
    const { policy } = read({
      'kproxy-ts.io/scheduler': 'random',
      'kproxy-ts.io/weights': 'default=1',
      'kproxy-ts.io/removed-endpoint-tcp': 'keep',
    });
    expect(policy).toBe(DEFAULT_POLICY);
  });

  it('that say the same in another order are equal', () => {
    const entry = fc.tuple(
      fc.constantFrom('10.1.0.1', '10.1.0.2', 'node/a', 'node/b', 'zone/a', 'default'),
      fc.nat(100),
    );
    const entries = fc.uniqueArray(entry, { minLength: 1, selector: ([name]) => name });
    fc.assert(
      fc.property(entries, (list) => {
        const of = (some: typeof list) =>
          weights(some.map(([name, weight]) => `${name}=${weight}`).join()).policy;
        expect(isDeepEqual(of(list), of(list.toReversed()))).toBe(true);
      }),
    );
  });
});
