// The truth table of endpoint selection: one row per statement of Kubernetes' rules, and a literal transcription of them.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Endpoint } from '../../src/model/types.ts';
import type { PortEndpoint } from '../../src/vip/merge-endpoints.ts';
import { type Place, selectEndpoints, type Uses } from '../../src/vip/select-endpoints.ts';
import { ELSEWHERE, endpoint, HERE, type State, states } from './objects.ts';

const place: Place = { nodeName: HERE, zone: 'zone-a' };
const both: Uses = { cluster: true, local: true };

const here = { nodeName: HERE };
const zones = (...zoneHints: string[]) => ({ zoneHints });
const nodes = (...nodeHints: string[]) => ({ nodeHints });

type Over = Partial<Endpoint>;

/** Endpoints numbered from 1 in the order given; the others are on another node and without hints. */
const numbered = (...list: (readonly [State, ...Over[]])[]): readonly PortEndpoint[] =>
  list.map(([state, ...overs], i) =>
    portEndpoint(endpoint(`10.1.0.${i + 1}`, state, Object.assign({}, ...overs))),
  );

function portEndpoint(one: Endpoint): PortEndpoint {
  return {
    endpoint: one,
    backend: { ip: one.ip, port: 8080, isMaybeLocal: one.nodeName === HERE, weight: 1 },
  };
}

/** What was selected, by number. */
function select(endpoints: readonly PortEndpoint[], at: Place = place, uses: Uses = both) {
  const numbers = (list: readonly { readonly ip: string }[]) =>
    list.map((backend) => endpoints.findIndex((one) => one.backend === backend) + 1);
  const { cluster, local, hasAny } = selectEndpoints(endpoints, at, uses);
  return { cluster: numbers(cluster), local: numbers(local), hasAny };
}

const none = { cluster: [], local: [], hasAny: false };

describe('readiness and termination', () => {
  test.each<[string, readonly PortEndpoint[], ReturnType<typeof select>]>([
    ['no endpoint: nothing, anywhere', [], none],
    [
      'ready endpoints, none here',
      numbered(['ready'], ['ready']),
      { cluster: [1, 2], local: [], hasAny: true },
    ],
    [
      'ready endpoints here and elsewhere',
      numbered(['ready', here], ['ready']),
      { cluster: [1, 2], local: [1], hasAny: true },
    ],
    [
      'an endpoint of an unnamed node is not local',
      numbered(['ready', { nodeName: undefined }]),
      { cluster: [1], local: [], hasAny: true },
    ],
    [
      'ready ones leave no traffic to draining ones',
      numbered(['ready', here], ['draining', here], ['draining']),
      { cluster: [1], local: [1], hasAny: true },
    ],
    [
      'draining ones stand in when none is ready',
      numbered(['draining', here], ['draining']),
      { cluster: [1, 2], local: [1], hasAny: true },
    ],
    [
      'the fallback is decided for the node apart: ready elsewhere, draining here',
      numbered(['ready'], ['draining', here]),
      { cluster: [1], local: [2], hasAny: true },
    ],
    [
      'the fallback is decided for the cluster apart: draining elsewhere, nothing usable here',
      numbered(['draining'], ['unready', here]),
      { cluster: [1], local: [], hasAny: true },
    ],
    ['one that is neither ready nor serving is not used', numbered(['unready', here]), none],
    ['one that ended is not used', numbered(['ended', here]), none],
    ['one that serves, not ready and not terminating, is never used', numbered(['servingOnly', here]), none],
    [
      'not even beside draining ones',
      numbered(['servingOnly', here], ['draining', here]),
      { cluster: [2], local: [2], hasAny: true },
    ],
    [
      'ready counts even when terminating: publishNotReadyAddresses',
      numbered(['publishedEnding', here], ['draining']),
      { cluster: [1], local: [1], hasAny: true },
    ],
  ])('%s', (_, endpoints, expected) => {
    expect(select(endpoints)).toEqual(expected);
  });
});

describe('topology', () => {
  const A = zones('zone-a');
  const B = zones('zone-b');
  const other = nodes(ELSEWHERE);
  test.each<[string, readonly PortEndpoint[], number[], number[]]>([
    ['every ready one has zone hints, some for us: those', numbered(['ready', A], ['ready', B]), [1], []],
    ['a hint may name several zones', numbered(['ready', zones('zone-b', 'zone-a')], ['ready', B]), [1], []],
    ['one ready one without zone hints: all', numbered(['ready', A], ['ready', B], ['ready']), [1, 2, 3], []],
    ['no zone hint for us: all', numbered(['ready', B], ['ready', zones('zone-c')]), [1, 2], []],
    [
      'every ready one has node hints, some for us: those',
      numbered(['ready', nodes(HERE)], ['ready', other]),
      [1],
      [],
    ],
    ['one ready one without node hints: all', numbered(['ready', nodes(HERE)], ['ready']), [1, 2], []],
    ['no node hint for us, no zone hints: all', numbered(['ready', other], ['ready', other]), [1, 2], []],
    [
      'node hints before zone hints',
      numbered(['ready', nodes(HERE), B], ['ready', other, A], ['ready', other, A]),
      [1],
      [],
    ],
    [
      'node hints for others only: zone hints are tried next',
      numbered(['ready', other, A], ['ready', other, B]),
      [1],
      [],
    ],
    [
      'node hints that some lack: zone hints are tried next',
      numbered(['ready', nodes(HERE), B], ['ready', A]),
      [2],
      [],
    ],
    ['neither for us: all', numbered(['ready', other, B], ['ready', other, B]), [1, 2], []],
    [
      'endpoints that are not ready do not count, with or without hints',
      numbered(['ready', B], ['ready', A], ['draining'], ['unready'], ['servingOnly']),
      [2],
      [],
    ],
    [
      'hints of endpoints that are not ready do not name us',
      numbered(['ready', B], ['draining', A], ['unready', A]),
      [1],
      [],
    ],
    ['the draining fallback ignores zone hints', numbered(['draining', A], ['draining', B]), [1, 2], []],
    [
      'the draining fallback ignores node hints',
      numbered(['draining', nodes(HERE)], ['draining', other]),
      [1, 2],
      [],
    ],
    ['local ones need no hint for us', numbered(['ready', here, B], ['ready', A]), [2], [1]],
    [
      'local ones need no node hint for us',
      numbered(['ready', here, other], ['ready', nodes(HERE)]),
      [2],
      [1],
    ],
  ])('%s', (_, endpoints, cluster, local) => {
    expect(select(endpoints)).toEqual({ cluster, local, hasAny: true });
  });

  test('zone hints mean nothing while this node has no zone', () => {
    const endpoints = numbered(['ready', A], ['ready', B]);
    expect(select(endpoints, { nodeName: HERE, zone: undefined }).cluster).toEqual([1, 2]);
  });

  test('node hints do not need a zone', () => {
    const endpoints = numbered(['ready', nodes(HERE)], ['ready', other]);
    expect(select(endpoints, { nodeName: HERE, zone: undefined }).cluster).toEqual([1]);
  });
});

describe('what is not used stays empty', () => {
  const endpoints = numbered(['ready', here], ['ready']);
  const elsewhere = numbered(['ready']);
  const draining = numbered(['draining']);
  test.each<[string, readonly PortEndpoint[], Uses, ReturnType<typeof select>]>([
    [
      'no local list',
      endpoints,
      { cluster: true, local: false },
      { cluster: [1, 2], local: [], hasAny: true },
    ],
    [
      'no cluster list',
      endpoints,
      { cluster: false, local: true },
      { cluster: [], local: [1], hasAny: true },
    ],
    [
      'hasAny without a cluster list knows of ready endpoints elsewhere',
      elsewhere,
      { cluster: false, local: true },
      { cluster: [], local: [], hasAny: true },
    ],
    [
      'hasAny without a cluster list knows of draining endpoints elsewhere',
      draining,
      { cluster: false, local: true },
      { cluster: [], local: [], hasAny: true },
    ],
  ])('%s', (_, list, uses, expected) => {
    expect(select(list, place, uses)).toEqual(expected);
  });
});

const hints = fc.option(fc.subarray(['zone-a', 'zone-b', HERE, ELSEWHERE], { minLength: 1 }), {
  nil: undefined,
});
const anyEndpoints = fc
  .array(
    fc.record({
      state: fc.constantFrom(...(Object.keys(states) as State[])),
      nodeName: fc.constantFrom(HERE, ELSEWHERE, undefined),
      zoneHints: hints,
      nodeHints: hints,
    }),
    { maxLength: 6 },
  )
  .map((list) => numbered(...list.map(({ state, ...over }) => [state, over] as const)));
const anyPlace = fc.record({
  nodeName: fc.constant(HERE),
  zone: fc.constantFrom('zone-a', 'zone-c', undefined),
});
const anyUses = fc.constantFrom(both, { cluster: true, local: false }, { cluster: false, local: true });

/** Kubernetes' rules step by step as they are written down, list by list; slow and without a thought of its own. */
function literally(endpoints: readonly PortEndpoint[], at: Place, uses: Uses): ReturnType<typeof select> {
  const all = endpoints.map(({ endpoint: one }, i) => ({ ...one, number: i + 1 }));
  let cluster: typeof all = [];
  let local: typeof all = [];
  let hasAny = false;
  if (uses.cluster) {
    const ready = all.filter((one) => one.isReady);
    const allNode = ready.every((one) => one.nodeHints !== undefined);
    const allZone = ready.every((one) => one.zoneHints !== undefined);
    const isOurNode = (one: Endpoint) => one.nodeHints?.some((name) => name === at.nodeName) === true;
    const isOurZone = (one: Endpoint) => one.zoneHints?.some((name) => name === at.zone) === true;
    let mode = '';
    if (ready.length > 0 && allNode && ready.some(isOurNode)) mode = 'PreferSameNode';
    else if (ready.length > 0 && allZone && ready.some(isOurZone)) mode = 'PreferSameZone';
    if (mode === 'PreferSameNode') cluster = ready.filter(isOurNode);
    else if (mode === 'PreferSameZone') cluster = ready.filter(isOurZone);
    else cluster = ready;
    if (cluster.length === 0) cluster = all.filter((one) => one.isServing && one.isTerminating);
    if (cluster.length > 0) hasAny = true;
  }
  if (uses.local) {
    for (const one of all) if (one.isReady || (one.isServing && one.isTerminating)) hasAny = true;
    local = all.filter((one) => one.isReady && one.nodeName === at.nodeName);
    if (local.length === 0) {
      local = all.filter((one) => one.isServing && one.isTerminating && one.nodeName === at.nodeName);
    }
  }
  return { cluster: cluster.map((one) => one.number), local: local.map((one) => one.number), hasAny };
}

describe('of any endpoints', () => {
  test('the selection is what the rules say word for word', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPlace, anyUses, (endpoints, at, uses) => {
        expect(select(endpoints, at, uses)).toEqual(literally(endpoints, at, uses));
      }),
      { numRuns: 2000 },
    );
  });

  test('a cluster list is empty only when nothing could serve at all', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPlace, (endpoints, at) => {
        const { cluster, hasAny } = select(endpoints, at);
        expect(cluster.length > 0).toBe(hasAny);
      }),
    );
  });

  test('lists hold what was given, once, in its order', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPlace, (endpoints, at) => {
        const { cluster, local } = select(endpoints, at);
        for (const list of [cluster, local]) {
          expect(list).not.toContain(0);
          expect(list).toEqual([...new Set(list)].sort((a, b) => a - b));
        }
      }),
    );
  });

  test('which ones are selected does not depend on their order', () => {
    fc.assert(
      fc.property(anyEndpoints, anyPlace, (endpoints, at) => {
        const ips = (list: readonly PortEndpoint[]) => {
          const { cluster, local, hasAny } = selectEndpoints(list, at, both);
          return {
            cluster: cluster.map((one) => one.ip).sort(),
            local: local.map((one) => one.ip).sort(),
            hasAny,
          };
        };
        expect(ips(endpoints.toReversed())).toEqual(ips(endpoints));
      }),
    );
  });
});
