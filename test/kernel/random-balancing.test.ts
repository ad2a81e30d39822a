// Random frontends with affinity, schedulers and weights, and random changes, in the kernel: it always holds exactly what
// they call for, no packet finds a dead end between any two transactions, and a restart finds nothing to do.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DisturbedNetlink, isBatch } from '../support/disturbed-netlink.ts';
import { type FrontendSpec, FrontendsInKernel, frontend } from '../support/frontends.ts';
import { deadEnds, readLater } from '../support/in-process-proxy.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const RUNS = 10;
const NAMES = ['a', 'b', 'c'];

let netns: Netns;
let netlink: RemoteNetlink;

beforeAll(async () => {
  netns = await Netns.create('balancing');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

const scheduling = fc.record({
  // Tables of mh are long: few of them.
  scheduler: fc.constantFrom(
    ...Array.from({ length: 4 }, () => ['random', 'rr', 'sh'] as const).flat(),
    'mh' as const,
  ),
  affinityTimeoutSeconds: fc.constantFrom(undefined, 60, 10_800),
});
const someBackends = (isIp6: boolean, maxLength: number) =>
  fc
    .uniqueArray(fc.record({ n: fc.integer({ min: 1, max: 9 }), weight: fc.constantFrom(1, 1, 1, 2, 5) }), {
      maxLength,
      selector: ({ n }) => n,
    })
    .map((list) =>
      [...list]
        .sort((a, b) => a.n - b.n)
        .map(({ n, weight }) => `${isIp6 ? `[fd00:10:1::${n}]` : `10.1.0.${n}`}:8080*${weight}`),
    );
/** The frontends of one Service: a cluster IP of each family and a node port. */
const service = (index: number) =>
  fc
    .record({
      scheduling,
      backends: someBackends(false, 6),
      backends6: someBackends(true, 6),
      inside: fc.option(someBackends(false, 4), { nil: undefined }),
      masquerade: fc.constantFrom('never' as const, 'always' as const),
      has: fc.record({ ip: fc.boolean(), ip6: fc.boolean(), nodePort: fc.boolean() }),
    })
    .map(({ scheduling: how, backends, backends6, inside, masquerade, has }): FrontendSpec[] => {
      const insideBackends = inside === undefined ? {} : { insideBackends: inside };
      return [
        ...(has.ip ? [{ ...how, masquerade, address: `10.96.0.${index + 1}`, backends }] : []),
        ...(has.ip6
          ? [{ ...how, masquerade, address: `fd00:10:96::${index + 1}`, backends: backends6 }]
          : []),
        ...(has.nodePort ? [{ ...how, masquerade, port: 30_000 + index, backends, ...insideBackends }] : []),
      ];
    })
    .map((specs) => ({ index, specs }));
const change = fc.record({
  services: fc
    .uniqueArray(fc.constantFrom(...NAMES.keys()), { minLength: 1, maxLength: 2 })
    .chain((indexes) => fc.tuple(...indexes.map(service))),
  next: fc.constantFrom('nothing', 'nothing', 'flush once', 'flush', 'release', 'distrust', 'restart'),
});

test(`${RUNS} histories of ten changes`, async () => {
  const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
  console.log(`random balancing: KPROXY_SEED=${seed}`);
  const property = fc.asyncProperty(fc.array(change, { minLength: 10, maxLength: 10 }), async (changes) => {
    await netns.exec(['nft', 'flush', 'ruleset']);
    const disturbed = new DisturbedNetlink(netlink);
    const broken: string[] = [];
    disturbed.disturb = async (request, pass) => {
      const replies = await pass(request);
      if (isBatch(request)) broken.push(...(await deadEnds(netlink)));
      return replies;
    };
    const kernel = new FrontendsInKernel(disturbed);
    await kernel.update(new Map());
    for (const { services, next } of changes) {
      const before = await readLater(netlink);
      const result = await kernel.update(
        new Map(
          services.map(({ index, specs }) => {
            const list = specs.map((spec) => frontend(NAMES[index]!, spec));
            return [frontend(NAMES[index]!, { backends: [] }).service, list] as const;
          }),
        ),
      );
      expect(result.failures).toEqual([]);
      expect(result.isFull, 'a table that nobody else writes is read once').toBe(false);
      expect((await kernel.compare(netlink)).now).toEqual([]);
      const after = await readLater(netlink);
      expect([...before].filter((id) => !after.has(id))).toEqual([]);
      if (next === 'flush once') await kernel.backend.flushDeferred();
      if (next === 'flush') {
        await kernel.flush();
        expect(await kernel.compare(netlink)).toEqual({ now: [], later: [] });
      }
      if (next === 'release') {
        await kernel.flush();
        expect((await kernel.backend.releaseUnused()).failures).toEqual([]);
        expect((await kernel.backend.releaseUnused()).failures).toEqual([]);
        expect(await kernel.compare(netlink)).toEqual({ now: [], later: [] });
      }
      if (next === 'distrust') {
        kernel.backend.distrust();
        expect(await kernel.update(new Map())).toMatchObject({ failures: [], isFull: true, writes: 0 });
      }
      if (next === 'restart') expect(await kernel.restart()).toMatchObject({ failures: [], writes: 0 });
    }
    await kernel.flush();
    expect(await kernel.compare(netlink)).toEqual({ now: [], later: [] });
    expect(broken).toEqual([]);
  });
  await fc.assert(property, { numRuns: RUNS, seed, endOnFailure: true });
}, 120_000);

test('a backend that waits to be forgotten is forgotten as soon as its frontend remembers clients again', async () => {
  await netns.exec(['nft', 'flush', 'ruleset']);
  const kernel = new FrontendsInKernel(netlink);
  await kernel.update(new Map());
  const spec: FrontendSpec = { address: '10.96.0.1', backends: ['10.1.0.1:80', '10.1.0.2:80'] };
  await kernel.set(frontend('web', { ...spec, affinityTimeoutSeconds: 60 }));
  await kernel.set(frontend('web', spec));
  await kernel.set(frontend('web', { ...spec, affinityTimeoutSeconds: 60, backends: ['10.1.0.2:80'] }));
  const picked = await netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'picked']);
  expect(picked).toContain('10.1.0.2 . 80');
  expect(picked).not.toContain('10.1.0.1 . 80');
  await kernel.flush();
  expect(await kernel.compare()).toEqual({ now: [], later: [] });
});

test('the table is small again when nobody needs it', async () => {
  await netns.exec(['nft', 'flush', 'ruleset']);
  const kernel = new FrontendsInKernel(netlink);
  await kernel.update(new Map());
  const empty = await netns.exec(['nft', 'list', 'ruleset']);
  const specs: FrontendSpec[] = [
    { address: '10.96.0.1', scheduler: 'rr', affinityTimeoutSeconds: 60, backends: ['10.1.0.1:80'] },
    { address: 'fd00:10:96::1', scheduler: 'mh', backends: ['[fd00:10:1::1]:80'] },
    { port: 30_000, affinityTimeoutSeconds: 5, backends: ['10.1.0.1:80'], insideBackends: ['10.1.0.2:80'] },
  ];
  await kernel.set(...specs.map((spec) => frontend('web', spec)));
  await kernel.update(new Map([[frontend('web', { backends: [] }).service, []]]));
  await kernel.flush();
  await kernel.backend.releaseUnused();
  await kernel.backend.releaseUnused();
  expect(await netns.exec(['nft', 'list', 'ruleset'])).toBe(empty);
  expect(await kernel.backend.hasDrifted()).toBe(false);
});
