// TCP connections to endpoints that stopped serving: kept, or reset after a grace period if their Service asks for it.

import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Ip } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { Flow } from '../../src/netlink/conntrack/flow.ts';
import { FlowIndex } from '../../src/vip/conntrack/stale-flows.ts';
import { Cluster, type Conditions, flow, NODE_IP, type ServiceSpec } from './cluster.ts';

const VIP = '10.96.0.20';
const EXTERNAL = '203.0.113.7';
const [A, B, C] = ['10.1.0.11', '10.1.0.12', '10.1.0.13'] as const;
const TCP = 6;

const connection = (dialled: string, answered: string): Flow => flow(dialled, answered, TCP);
const toA = connection(`${VIP} 80`, `${A} 8080`);
const toB = connection(`${VIP} 80`, `${B} 8080`);
const toC = connection(`${VIP} 80`, `${C} 8080`);

const KEPT: ServiceSpec = { name: 'web', clusterIps: [VIP], protocol: 'TCP', port: 80 };
const RESET: ServiceSpec = { ...KEPT, resetAfterS: 30 };

let cluster: Cluster;

beforeEach(() => {
  cluster = new Cluster();
});

type Endpoints = readonly (string | [string, Conditions])[];
const endpoints = (all: Endpoints, service = 'web') =>
  cluster.slice(service, all, { port: 8080, protocol: 'TCP' });

/** What is reset by a pass at that time. */
function passAt(seconds: number, ...flows: Flow[]): Flow[] {
  cluster.nowMs = seconds * 1000;
  return cluster.pass(...flows);
}

/** A Service that has been there for long. */
function start(spec: ServiceSpec, all: Endpoints): void {
  cluster.apply(cluster.service(spec), endpoints(all, spec.name));
  passAt(1000);
  expect(cluster.targets.nextDueMs(cluster.nowMs)).toBeUndefined();
}

const nextDueS = (): number | undefined => {
  const dueMs = cluster.targets.nextDueMs(cluster.nowMs);
  return dueMs === undefined ? undefined : dueMs / 1000;
};

describe('when an endpoint goes', () => {
  test('keep: nobody ever looks', () => {
    start(KEPT, [A, B]);
    cluster.apply(endpoints([B]));
    cluster.targets.distrust(cluster.nowMs);
    expect(nextDueS()).toBeUndefined();
    expect(passAt(2000, toA, toB)).toEqual([]);
    expect(cluster.due()).toEqual([]);
  });

  test('reset: its connections are, when the grace period is over, and those of the others never', () => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([B]));
    expect(nextDueS()).toBe(1030);
    expect(passAt(1029.999, toA, toB)).toEqual([]);
    expect(passAt(1030, toA, toB)).toEqual([toA]);
    expect(nextDueS()).toBeUndefined();
    expect(cluster.due()).toEqual([]);
  });

  test('each endpoint has its own time', () => {
    start(RESET, [A, B, C]);
    cluster.apply(endpoints([B, C]));
    cluster.nowMs += 10_000;
    cluster.apply(endpoints([C]));
    expect(nextDueS()).toBe(1030);
    expect(passAt(1030, toA, toB, toC)).toEqual([toA]);
    expect(nextDueS()).toBe(1040);
    expect(passAt(1040, toB, toC)).toEqual([toB]);
  });

  test('one that is back in time has lost nothing, and its next grace period is a whole one', () => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([B]));
    cluster.nowMs += 29_000;
    cluster.apply(endpoints([A, B]));
    expect(nextDueS()).toBeUndefined();
    expect(passAt(1031, toA)).toEqual([]);
    cluster.apply(endpoints([B]));
    expect(passAt(1060, toA)).toEqual([]);
    expect(passAt(1061, toA)).toEqual([toA]);
  });

  test.each([
    ['drains', { ready: false, serving: true, terminating: true }, false],
    ['is neither ready nor serving', { ready: false, serving: false }, true],
    ['is ready without serving', { ready: true, serving: false }, false],
  ])('one that %s', (_, conditions, isReset) => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([[A, conditions], B]));
    expect(passAt(1030, toA, toB)).toEqual(isReset ? [toA] : []);
  });

  test('the last one, and one whose target port changes', () => {
    start(RESET, [A]);
    cluster.apply(cluster.slice('web', [A], { port: 9090, protocol: 'TCP' }));
    expect(passAt(1030, toA, connection(`${VIP} 80`, `${A} 9090`))).toEqual([toA]);
    cluster.apply(endpoints([]));
    expect(passAt(1060, connection(`${VIP} 80`, `${A} 9090`))).toHaveLength(1);
    // The first is no reason to look: without any, no connection was made.
    cluster.apply(endpoints([B]));
    expect(nextDueS()).toBeUndefined();
  });

  test('a grace period that is changed meanwhile counts from when the endpoint went', () => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([B]));
    cluster.apply(cluster.service({ ...RESET, resetAfterS: 5 }));
    expect(nextDueS()).toBe(1005);
    cluster.apply(cluster.service({ ...RESET, resetAfterS: 50 }));
    expect(passAt(1049, toA)).toEqual([]);
    expect(passAt(1050, toA)).toEqual([toA]);
  });

  test('no grace: at once', () => {
    start({ ...RESET, resetAfterS: 0 }, [A, B]);
    cluster.apply(endpoints([B]));
    expect(passAt(1000, toA, toB)).toEqual([toA]);
  });
});

describe('what is not reset', () => {
  test('other protocols, addresses and ports, and what nobody translated', () => {
    start({ ...RESET, resetAfterS: 0 }, [A, B]);
    cluster.apply(endpoints([B]));
    const others = [
      flow(`${VIP} 80`, `${A} 8080`, 17),
      flow(`${VIP} 80`, `${A} 8080`, 132),
      connection(`${VIP} 81`, `${A} 8080`),
      connection('10.96.0.21 80', `${A} 8080`),
      connection(`${A} 8080`, `${A} 8080`),
      connection(`${VIP} 80`, `${VIP} 80`),
      connection(`${NODE_IP} 80`, `${A} 8080`),
    ];
    expect(passAt(1000, ...others, toA)).toEqual([toA]);
  });

  test('UDP of the same address and port, which has its own rules', () => {
    cluster.apply(
      cluster.service({ ...RESET, name: 'tcp', externalIps: [EXTERNAL] }),
      cluster.service({ name: 'udp', clusterIps: ['10.96.0.21'], externalIps: [EXTERNAL], port: 80 }),
      endpoints([A], 'tcp'),
      cluster.slice('udp', [A], { port: 8080 }),
    );
    passAt(1000);
    const all = [flow(`${EXTERNAL} 80`, `${A} 8080`, 17), connection(`${EXTERNAL} 80`, `${A} 8080`)];
    cluster.apply(cluster.slice('udp', [], { port: 8080 }));
    expect(passAt(1050, ...all)).toEqual([all[0]]);
    cluster.apply(endpoints([], 'tcp'));
    expect(passAt(1100, ...all)).toEqual([all[1]]);
  });

  test('at a node port: what another Service has at that address, though nobody looks after it', () => {
    start({ ...RESET, nodePort: 30080 }, [A, B]);
    cluster.apply(
      cluster.service({
        ...KEPT,
        name: 'ext',
        clusterIps: ['10.96.0.21'],
        externalIps: [NODE_IP],
        port: 30080,
      }),
      endpoints([C], 'ext'),
    );
    const [onA, onC] = [
      connection(`${NODE_IP} 30080`, `${A} 8080`),
      connection(`${NODE_IP} 30080`, `${C} 8080`),
    ];
    cluster.apply(endpoints([B]));
    expect(passAt(1030, toA, onA, onC)).toEqual([toA]);
    // Nor when the node port has the address for itself again.
    cluster.apply(cluster.remove('Service', 'ext'));
    const onB = connection(`${NODE_IP} 30080`, `${B} 8080`);
    cluster.apply(endpoints([A]));
    expect(passAt(1060, onB, onC)).toEqual([onB]);
  });
});

describe('a Service that is deleted', () => {
  test('has what it asked for last: connections to its endpoints are reset', () => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([B]));
    cluster.nowMs += 10_000;
    cluster.apply(cluster.remove('Service', 'web'), cluster.remove('EndpointSlice', 'web'));
    expect(nextDueS()).toBe(1030);
    expect(passAt(1030, toA, toB, toC)).toEqual([toA]);
    // To C it never led.
    expect(passAt(1040, toB, toC)).toEqual([toB]);
    expect(nextDueS()).toBeUndefined();
  });

  test('and whose address another Service gets: that is not ours any more', () => {
    start(RESET, [A]);
    cluster.apply(cluster.remove('Service', 'web'), cluster.remove('EndpointSlice', 'web'));
    cluster.apply(cluster.service({ ...KEPT, name: 'next' }), endpoints([A, B], 'next'));
    expect(passAt(1100, toA, toB)).toEqual([]);
    expect(nextDueS()).toBeUndefined();
  });

  test('and whose address another one gets that asks as well: its time counts from there on', () => {
    start(RESET, [A]);
    cluster.apply(cluster.remove('Service', 'web'), cluster.remove('EndpointSlice', 'web'));
    cluster.nowMs += 10_000;
    cluster.apply(cluster.service({ ...RESET, name: 'next' }), endpoints([B], 'next'));
    expect(passAt(1039, toA, toB)).toEqual([]);
    expect(passAt(1040, toA, toB)).toEqual([toA]);
  });

  test('and comes back: as if nothing had been, for the endpoints that it still has', () => {
    start(RESET, [A, B]);
    cluster.apply(cluster.remove('Service', 'web'));
    cluster.nowMs += 10_000;
    cluster.apply(cluster.service(RESET), endpoints([B]));
    expect(passAt(1030, toA, toB)).toEqual([toA]);
    expect(passAt(1100, toB)).toEqual([]);
  });

  test('and comes back without asking: all is kept', () => {
    start(RESET, [A, B]);
    cluster.apply(cluster.remove('Service', 'web'));
    cluster.apply(cluster.service({ ...KEPT, clusterIps: ['10.96.0.99'] }));
    expect(passAt(1100, toA, toB)).toEqual([]);
  });
});

describe('a policy that changes', () => {
  test('no longer asked for: all is kept, also what is about an address that the Service lost', () => {
    start({ ...RESET, externalIps: [EXTERNAL] }, [A, B]);
    cluster.apply(cluster.service(RESET));
    cluster.apply(endpoints([B]));
    cluster.apply(cluster.service(KEPT));
    expect(nextDueS()).toBeUndefined();
    expect(passAt(1100, toA, connection(`${EXTERNAL} 80`, `${B} 8080`))).toEqual([]);
  });

  test('asked for again: the grace period begins again', () => {
    start(RESET, [A, B]);
    cluster.apply(endpoints([B]));
    cluster.nowMs += 10_000;
    cluster.apply(cluster.service(KEPT));
    cluster.nowMs += 10_000;
    cluster.apply(cluster.service(RESET));
    expect(passAt(1049, toA)).toEqual([]);
    expect(passAt(1050, toA, toB)).toEqual([toA]);
  });

  test('an address that the Service loses', () => {
    start({ ...RESET, externalIps: [EXTERNAL] }, [A]);
    cluster.apply(cluster.service(RESET));
    const lost = connection(`${EXTERNAL} 80`, `${A} 8080`);
    expect(passAt(1029, lost)).toEqual([]);
    expect(passAt(1030, lost, toA)).toEqual([lost]);
  });
});

describe('times that nobody watched', () => {
  test('the start: connections to what does not serve have the grace period from there on', () => {
    cluster.nowMs = 1_000_000;
    cluster.apply(cluster.service(RESET), endpoints([B]));
    expect(nextDueS()).toBe(1030);
    expect(passAt(1029, toA, toB)).toEqual([]);
    // An endpoint that goes meanwhile has all of its own.
    cluster.apply(endpoints([C]));
    const untranslated = connection(`${VIP} 80`, `${VIP} 80`);
    expect(passAt(1030, toA, toB, untranslated)).toEqual([toA]);
    expect(passAt(1059, toB, toC)).toEqual([toB]);
  });

  test('rules that were not ours for a while, and node ports at other addresses: the same', () => {
    start({ ...RESET, nodePort: 30080 }, [B]);
    cluster.targets.distrust(cluster.nowMs);
    cluster.nowMs += 10_000;
    cluster.targets.distrust(cluster.nowMs);
    // That it happens again is no reason to wait longer.
    expect(nextDueS()).toBe(1030);
    expect(passAt(1030, toA, toB)).toEqual([toA]);
    cluster.targets.distrustNodePorts(cluster.nowMs);
    const onA = connection(`${NODE_IP} 30080`, `${A} 8080`);
    expect(passAt(1059, onA, toA)).toEqual([]);
    expect(passAt(1060, onA, toA)).toEqual([onA]);
  });

  test('passes that fail: what was due stays so, and what is not yet due waits on', () => {
    start(RESET, [A, B, C]);
    cluster.apply(endpoints([B, C]));
    cluster.nowMs += 10_000;
    cluster.apply(endpoints([C]));
    cluster.nowMs = 1_035_000;
    expect(cluster.due()).toEqual([`${VIP}:80/TCP`]);
    // The deadline that has passed belongs to the retry, and is not what the timer is for.
    expect(nextDueS()).toBe(1040);
    expect(passAt(1036, toA, toB)).toEqual([toA]);
    expect(passAt(1040, toB, toC)).toEqual([toB]);
  });
});

test('of two Services with one address, the one that has it decides', () => {
  const both = { externalIps: [EXTERNAL], protocol: 'TCP', port: 80 } as const;
  const older = { ...both, name: 'older', clusterIps: [VIP], createdAt: '2024-01-01T00:00:00Z' };
  const newer = { ...both, name: 'newer', clusterIps: ['10.96.0.21'], createdAt: '2025-01-01T00:00:00Z' };
  cluster.apply(cluster.service(older), cluster.service({ ...newer, resetAfterS: 30 }));
  cluster.apply(endpoints([A], 'older'), endpoints([B], 'newer'));
  const [onA, onB] = [connection(`${EXTERNAL} 80`, `${A} 8080`), connection(`${EXTERNAL} 80`, `${B} 8080`)];
  expect(passAt(1000, onA, onB)).toEqual([]);
  cluster.apply(cluster.remove('Service', 'older'));
  expect(passAt(1029, onA, onB)).toEqual([]);
  expect(passAt(1030, onA, onB)).toEqual([onA]);
});

test('nothing is kept of Services that leave their connections alone', () => {
  start(KEPT, [A, B]);
  expect(cluster.targets.due(Number.POSITIVE_INFINITY)).toEqual([]);
  cluster.targets.distrust(0);
  expect(cluster.targets.due(Number.POSITIVE_INFINITY)).toEqual([]);
  const index = new FlowIndex([], { nowMs: 0, nodePortAddresses: [NODE_IP as Ip], isClaimed: () => true });
  expect(index.scopes()).toEqual([]);
});

/** One Service; undefined: there is none. */
const step = fc.record({
  service: fc.constantFrom(1, 2),
  spec: fc.option(
    fc.record({
      pods: fc.subarray([A, B, C]),
      resetAfterS: fc.constantFrom(undefined, 0, 10, 10, 30),
    }),
    { nil: undefined, freq: 5 },
  ),
  afterS: fc.constantFrom(0, 1, 5, 10, 20, 40),
  outcome: fc.constantFrom('clean', 'clean', 'clean', 'refused', 'fails'),
});

test('random histories: every connection goes when it is time, at the next pass that succeeds, and no other does', () => {
  const vipOf = (n: number): string => `10.96.1.${n}`;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (history) => {
      cluster = new Cluster();
      /** By Service: what it asks for (of a deleted one: asked for last), and since when. */
      const policies = new Map<number, { graceS: number; sinceS: number } | undefined>();
      /** By `vip pod`: when it was last known to serve. */
      const servedAtS = new Map<string, number>();
      const serving = new Map<number, readonly string[]>();
      let flows = new Set<string>();
      const dueAtS = (text: string): number => {
        const n = Number(text.split(' ')[0]!.split('.')[3]);
        const policy = policies.get(n);
        if (policy === undefined || serving.get(n)?.some((pod) => `${vipOf(n)} ${pod}` === text)) {
          return Number.POSITIVE_INFINITY;
        }
        return Math.max(servedAtS.get(text)!, policy.sinceS) + policy.graceS;
      };

      let nowS = 0;
      for (const { service, spec, afterS, outcome } of history) {
        nowS += afterS;
        cluster.nowMs = nowS * 1000;
        const [name, vip] = [`s${service}`, vipOf(service)];
        for (const pod of serving.get(service) ?? []) servedAtS.set(`${vip} ${pod}`, nowS);
        serving.set(service, spec?.pods ?? []);
        if (spec === undefined) {
          cluster.apply(cluster.remove('Service', name), cluster.remove('EndpointSlice', name));
        } else {
          const { pods, resetAfterS } = spec;
          const reset = resetAfterS === undefined ? {} : { resetAfterS };
          cluster.apply(
            cluster.service({ name, clusterIps: [vip], protocol: 'TCP', port: 80, ...reset }),
            endpoints(pods, name),
          );
          const sinceS = policies.get(service)?.sinceS ?? nowS;
          policies.set(service, resetAfterS === undefined ? undefined : { graceS: resetAfterS, sinceS });
        }
        if (outcome === 'fails') continue;
        const except = new Set(outcome === 'refused' ? [`default/${name}` as ServiceKey] : []);
        // The rules are in force: clients connect.
        for (const [n, pods] of serving) {
          if (outcome === 'refused' && n === service) continue;
          for (const pod of pods) flows.add(`${vipOf(n)} ${pod}`);
        }
        const due = cluster.targets.due(cluster.nowMs, except);
        const index = cluster.index(due);
        cluster.targets.settle(due, cluster.nowMs);
        const isReset = (text: string): boolean => {
          const [to, by] = text.split(' ');
          return index.isStale(connection(`${to} 80`, `${by} 8080`));
        };
        const expected = [...flows].filter(
          (text) => dueAtS(text) <= nowS && !(outcome === 'refused' && text.startsWith(`${vip} `)),
        );
        const reset = [...flows].filter(isReset);
        expect(reset).toEqual(expected);
        flows = new Set([...flows].filter((text) => !reset.includes(text)));
        // The timer comes no later than the next of them.
        const next = Math.min(...[...flows].map(dueAtS).filter((atS) => atS > nowS));
        const timerS = (cluster.targets.nextDueMs(cluster.nowMs) ?? Number.POSITIVE_INFINITY) / 1000;
        expect(timerS).toBeGreaterThan(nowS);
        expect(timerS).toBeLessThanOrEqual(next);
      }
    }),
    { numRuns: 500 },
  );
});
