// Random clusters with random histories against the real kernel: after every change it holds what planning from
// scratch calls for, no packet between or across two transactions is led nowhere, and a restart finds nothing to do.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SourceEvent } from '../../src/model/source-event.ts';
import { DisturbedNetlink, isBatch } from '../support/disturbed-netlink.ts';
import {
  compare,
  deadEnds,
  deletion,
  InProcessProxy,
  LISTED,
  readLater,
  upserts,
} from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const RUNS = 15;

let netns: Netns;
let netlink: RemoteNetlink;

beforeAll(async () => {
  netns = await Netns.create('random');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

// Few names, addresses and ports, so that Services meet: in conflicts, in shared chains, in shared hairpin pairs.
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const port = fc.record({
  name: fc.constantFrom('x', 'y'),
  protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  port: fc.constantFrom(53, 80, 443),
  nodePort: fc.constantFrom(undefined, 30001, 30002),
});
const someService = fc
  .record({
    name: fc.constantFrom(...NAMES),
    clusterIps: fc.constantFrom(
      ['10.96.0.1'],
      ['10.96.0.2'],
      ['10.96.0.2', 'fd00:10:96::2'],
      ['fd00:10:96::1', '10.96.0.3'],
      ['None'],
    ),
    ports: fc.uniqueArray(port, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
    externalIps: fc.constantFrom([], ['203.0.113.1'], ['203.0.113.1', '10.96.0.1', 'fd00:10:96::9']),
    loadBalancerIps: fc.constantFrom(undefined, ['203.0.113.1'], ['203.0.113.2', 'fd00:10:96::9']),
    createdAt: fc.constantFrom('2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z'),
  })
  .map(({ name, ...spec }) => service(name, spec));
const someSlice = fc
  .record({
    of: fc.constantFrom(...NAMES),
    n: fc.nat(1),
    isIp6: fc.boolean(),
    ports: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('x', 'y'),
        protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
        port: fc.constantFrom(8080, 8081),
      }),
      { maxLength: 3, selector: ({ name, protocol }) => `${name}${protocol}` },
    ),
    endpoints: fc.uniqueArray(
      fc.record({ n: fc.integer({ min: 1, max: 9 }), ready: fc.boolean(), isHere: fc.boolean() }),
      { maxLength: 8, selector: ({ n }) => n },
    ),
  })
  .map(({ of, n, isIp6, ports, endpoints }) =>
    slice(of, `${of}-${isIp6 ? 6 : 4}-${n}`, {
      ports,
      endpoints: endpoints.map((one) => ({
        ip: isIp6 ? `fd00:10:1::${one.n}` : `10.1.0.${one.n}`,
        ready: one.ready || one.n > 3,
        nodeName: one.isHere ? 'node-1' : 'node-2',
      })),
    }),
  );
const event: fc.Arbitrary<SourceEvent> = fc.oneof(
  { weight: 4, arbitrary: someService.map((object) => upserts(object)[0]!) },
  { weight: 8, arbitrary: someSlice.map((object) => upserts(object)[0]!) },
  { weight: 1, arbitrary: fc.constantFrom(...NAMES).map((name) => deletion('Service', name)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...NAMES), fc.constantFrom('4-0', '4-1', '6-0', '6-1'))
      .map(([name, suffix]) => deletion('EndpointSlice', `${name}-${suffix}`)),
  },
);
const history = fc.record({
  start: fc.array(event, { minLength: 10, maxLength: 30 }),
  /** Batches of events; some with the deferred deletions carried out after them, some in a table re-read from scratch. */
  changes: fc.array(
    fc.record({
      events: fc.array(event, { minLength: 1, maxLength: 4 }),
      next: fc.constantFrom('nothing', 'nothing', 'flush once', 'flush', 'distrust', 'restart'),
    }),
    { minLength: 10, maxLength: 10 },
  ),
});

test(`${RUNS} clusters with ten changes each`, async () => {
  const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
  console.log(`random clusters: KPROXY_SEED=${seed}`);
  const property = fc.asyncProperty(history, async ({ start, changes }) => {
    await netns.exec(['nft', 'flush', 'ruleset']);
    const disturbed = new DisturbedNetlink(netlink);
    const broken: string[] = [];
    disturbed.disturb = async (request, pass) => {
      const replies = await pass(request);
      if (isBatch(request)) broken.push(...(await deadEnds(netlink)));
      return replies;
    };
    let proxy = new InProcessProxy(disturbed);
    const known: SourceEvent[] = [...LISTED, ...start];
    expect((await proxy.apply(...known)).failures).toEqual([]);
    for (const { events, next } of changes) {
      known.push(...events);
      const before = await readLater(netlink);
      const result = await proxy.apply(...events);
      expect(result.failures).toEqual([]);
      expect(result.isFull, 'a table that nobody else writes is read once').toBe(false);
      expect((await compare(netlink, proxy.store)).now).toEqual([]);
      const after = await readLater(netlink);
      expect([...before].filter((id) => !after.has(id))).toEqual([]);
      if (next === 'flush once') await proxy.backend.flushDeferred();
      if (next === 'flush') {
        await proxy.flush();
        expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
      }
      if (next === 'distrust') {
        proxy.backend.distrust();
        expect(await proxy.retry()).toMatchObject({ failures: [], writes: 0 });
      }
      if (next === 'restart') {
        proxy = new InProcessProxy(disturbed);
        expect(await proxy.apply(...known)).toMatchObject({ failures: [], writes: 0 });
      }
    }
    await proxy.flush();
    expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
    expect(broken).toEqual([]);
  });
  await fc.assert(property, { numRuns: RUNS, seed, endOnFailure: true });
}, 60_000);
