import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Previous } from '../../../src/mode/nftables/planned-frontend.ts';
import { type Side, servedSides } from '../../../src/mode/userspace/offered-backends.ts';
import { type Portal, planPortal, portalFrontend } from '../../../src/mode/userspace/portals.ts';
import type { Ip } from '../../../src/model/ip.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { type FrontendSpec, frontend } from '../../support/frontends.ts';

const PORTALS: Readonly<Record<Side, Portal>> = {
  outside: { ip: '192.168.50.10' as Ip, port: 40_001 },
  inside: { ip: '192.168.50.10' as Ip, port: 40_002 },
};
const NOTHING: Previous = { slots: () => [], picks: () => [], ids: () => new Map() };
const led = (one: Frontend, portalOf: (side: Side) => Portal | undefined = (side) => PORTALS[side]) =>
  portalFrontend(one, (_, side) => portalOf(side));
const ends = (list: readonly { ip: string; port: number }[] | undefined) =>
  list?.map(({ ip, port }) => `${ip}:${port}`);

const WEB: FrontendSpec = { address: '10.96.0.1', backends: ['10.1.0.11:8080', '10.1.0.12:8080'] };
const LOCAL: FrontendSpec = {
  kind: 'LoadBalancer',
  address: '203.0.113.8',
  trafficPolicy: 'Local',
  whenEmpty: 'drop',
  backends: ['10.1.0.11:8080'],
  insideBackends: ['10.1.0.11:8080', '10.1.1.11:8080'],
};

describe('a Frontend in front of proxies', () => {
  test('has one backend for all of its endpoints, and keeps nothing of how they are balanced', () => {
    const { frontend: is, portals } = led(
      frontend('web', { ...WEB, scheduler: 'mh', affinityTimeoutSeconds: 60, masquerade: 'off-cluster' }),
    );
    expect(ends(is.backends)).toEqual(['192.168.50.10:40001']);
    expect(is).toMatchObject({
      insideBackends: undefined,
      scheduler: 'random',
      affinityTimeoutSeconds: undefined,
      masquerade: 'never',
    });
    expect(portals).toEqual([PORTALS.outside]);
  });

  test('leads this node and its pods to a proxy of their own under a Local policy', () => {
    const { frontend: is, portals } = led(frontend('lb', LOCAL));
    expect(ends(is.backends)).toEqual(['192.168.50.10:40001']);
    expect(ends(is.insideBackends)).toEqual(['192.168.50.10:40002']);
    expect(portals).toEqual([PORTALS.outside, PORTALS.inside]);
  });

  test('keeps out whom a Local policy keeps out, and asks for no proxy for them', () => {
    const asked: Side[] = [];
    const { frontend: is } = led(frontend('lb', { ...LOCAL, backends: [] }), (side) => {
      asked.push(side);
      return PORTALS[side];
    });
    expect(asked).toEqual(['inside']);
    expect(is).toMatchObject({ backends: [], whenEmpty: 'drop' });
    expect(ends(is.insideBackends)).toEqual(['192.168.50.10:40002']);
  });

  test.each<[missing: Side]>([['outside'], ['inside']])(
    'is refused without its proxy %s, not led to nothing, and still keeps out who may not come',
    (missing) => {
      const ranges = [{ ip: '198.51.100.0' as Ip, prefix: 24, family: 4 as const }];
      const { frontend: is, portals } = led(frontend('lb', { ...LOCAL, sourceRanges: ranges }), (side) =>
        side === missing ? undefined : PORTALS[side],
      );
      expect(is).toMatchObject({ backends: [], insideBackends: undefined, whenEmpty: 'refuse' });
      expect(is.sourceRanges).toBe(ranges);
      expect(portals).toEqual([]);
    },
  );

  test('keeps in every case what it is, where it is and who may come', () => {
    const spec = fc.record({
      kind: fc.constantFrom<Frontend['kind']>('ClusterIP', 'ExternalIP', 'LoadBalancer'),
      protocol: fc.constantFrom<Frontend['protocol']>('TCP', 'UDP'),
      port: fc.integer({ min: 1, max: 65535 }),
      trafficPolicy: fc.constantFrom<Frontend['trafficPolicy']>('Cluster', 'Local'),
      healthCheckNodePort: fc.constantFrom(0, 30_999),
      backends: fc.subarray(['10.1.0.11:80', '10.1.0.12:80', '10.1.1.11:80*3']),
      insideBackends: fc.option(fc.subarray(['10.1.0.11:80', '10.1.1.11:80']), { nil: undefined }),
    });
    const property = fc.property(spec, fc.constantFrom(undefined, 'outside', 'inside'), (given, missing) => {
      const { insideBackends, ...rest } = given;
      const before = frontend('web', {
        address: '10.96.0.1',
        ...rest,
        ...(insideBackends !== undefined && { insideBackends }),
      });
      const { frontend: is, portals } = led(before, (side) => (side === missing ? undefined : PORTALS[side]));
      for (const name of ['kind', 'address', 'protocol', 'port', 'service', 'displayName'] as const)
        expect(is[name]).toEqual(before[name]);
      expect(is.healthCheckNodePort).toBe(before.healthCheckNodePort);
      const isServed = !servedSides(before).some((side) => side === missing);
      expect(is.backends.length > 0).toBe(isServed && before.backends.length > 0);
      expect((is.insideBackends ?? []).length > 0).toBe(isServed && (insideBackends ?? []).length > 0);
      expect(portals.length).toBe(isServed ? servedSides(before).length : 0);
    });
    fc.assert(property);
  });
});

describe('what the table has', () => {
  const plan = (one: Frontend) => planPortal(one, NOTHING, (_, side) => PORTALS[side]);

  test('names the proxies that nobody may dial himself, each once', () => {
    const [outside, inside] = plan(frontend('lb', LOCAL)).portals;
    expect([outside, inside]).toEqual([
      '\xc0\xa8\x32\x0a\x06\0\0\0\x9c\x41\0\0',
      '\xc0\xa8\x32\x0a\x06\0\0\0\x9c\x42\0\0',
    ]);
    const same = planPortal(frontend('lb', LOCAL), NOTHING, () => PORTALS.outside);
    expect(same.portals).toEqual([outside]);
  });

  test('masquerades nobody, and nobody dials himself', () => {
    const planned = plan(frontend('web', { ...WEB, masquerade: 'always' }));
    expect(planned.shape?.masquerade).toBe('never');
    expect(planned.hairpins).toEqual([]);
  });

  test('balances SCTP itself', () => {
    const planned = plan(
      frontend('sctp', { ...WEB, protocol: 'SCTP', masquerade: 'always', scheduler: 'rr' }),
    );
    expect(planned).toMatchObject({ portals: [], shape: { slotCount: 2, masquerade: 'always' } });
    expect(planned.shape?.balancing?.scheduler).toBe('rr');
    expect(planned.hairpins).toHaveLength(2);
  });
});
