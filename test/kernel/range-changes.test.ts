// Random source ranges and networks on the real kernel, whose sets refuse what overlaps: every change gets through, also
// after a restart, after edits of others and in small transactions; and between two transactions nobody gets in who is
// kept out before and after.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { serviceValueParts } from '../../src/mode/nftables/names.ts';
import type { Observed } from '../../src/mode/nftables/observed.ts';
import { shapeOfId } from '../../src/mode/nftables/shape.ts';
import {
  type Cidr,
  cidrContains,
  formatCidr,
  type Ip,
  packIp,
  parseCidr,
  parseIp,
} from '../../src/model/ip.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import { DisturbedNetlink, isBatch } from '../support/disturbed-netlink.ts';
import { FrontendProxy, frontend, SURROUNDINGS } from '../support/frontend-proxy.ts';
import { deadEndsOf, FAMILIES } from '../support/in-process-proxy.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const RUNS = 6;

let netns: Netns;
let netlink: RemoteNetlink;

beforeAll(async () => {
  netns = await Netns.create('ranges');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

/** Four bits of an address vary, so that ranges meet all the time. */
const CLIENTS = {
  4: Array.from({ length: 16 }, (_, i) => `10.${i * 16}.0.1` as Ip),
  6: Array.from({ length: 16 }, (_, i) => parseIp(`2001:db8:${i.toString(16)}000::1`)!),
} as const;
const PREFIXES = { 4: [8, 12], 6: [32, 36] } as const;
const VIPS = { 4: '203.0.113.1', 6: 'fd00:10:96::e' } as const;

const someCidr = (family: 4 | 6): fc.Arbitrary<Cidr> =>
  fc
    .tuple(
      fc.constantFrom(...CLIENTS[family]),
      fc.integer({ min: PREFIXES[family][0], max: PREFIXES[family][1] }),
    )
    .map(([ip, prefix]) => parseCidr(`${ip}/${prefix}`)!);
const withoutContained = (list: readonly Cidr[]): Cidr[] =>
  list.filter((one, i) =>
    list.every((other, j) => {
      const isWider = other.prefix < one.prefix || (other.prefix === one.prefix && j < i);
      return !isWider || !cidrContains(other, one.ip);
    }),
  );
const someFrontend = (family: 4 | 6): fc.Arbitrary<Frontend | undefined> =>
  fc.option(
    fc
      .record({
        service: fc.constantFrom('n/a', 'n/b'),
        count: fc.nat(3),
        ranges: fc.option(fc.array(someCidr(family), { maxLength: 6 }).map(withoutContained), {
          nil: undefined,
          freq: 6,
        }),
        hasInside: fc.boolean(),
      })
      .map(({ service, count, ranges, hasInside }) => {
        const backends = Array.from({ length: count }, (_, i) =>
          family === 4 ? `10.1.0.${i + 1}` : `fd00:10:1::${i + 1}`,
        );
        const insideBackends = hasInside ? backends : undefined;
        return { ...frontend(VIPS[family], { service, backends, insideBackends }), sourceRanges: ranges };
      }),
    { nil: undefined, freq: 6 },
  );
const networks = fc.array(fc.oneof(someCidr(4), someCidr(6)), { maxLength: 6 });
const step = fc.record({
  frontends: fc.tuple(someFrontend(4), someFrontend(6)),
  nodePortCidrs: networks,
  serviceCidrs: networks,
  after: fc.constantFrom('nothing', 'nothing', 'restart', 'distrust'),
  /** What somebody else adds after it, as far as the kernel lets them. */
  foreign: fc.option(fc.tuple(someCidr(4), someCidr(6)), { nil: undefined, freq: 2 }),
});

/** Whether a client from outside gets past the ranges, per client. */
function letInBy(observed: Observed): boolean[] {
  return FAMILIES.flatMap((family) => {
    const elements = observed.get(family)?.elements;
    const key = `${packIp(VIPS[family] as Ip)}\x06\0\0\0\0\x50\0\0`;
    const value = elements?.get('services')?.get(key);
    const shape = value === undefined ? undefined : shapeOfId(serviceValueParts(value).shapeId);
    return CLIENTS[family].map((client) => {
      if (value === undefined) return false;
      const from = key + packIp(client);
      return (
        !shape?.isRestricted || [...elements!.get('source-ranges')!].some(([a, b]) => a <= from && from <= b)
      );
    });
  });
}

const observe = async (): Promise<Observed> => (await new NftSession(netlink).observe(FAMILIES)).observed;
const letIn = async (): Promise<boolean[]> => letInBy(await observe());

const wantedIn = (frontends: readonly (Frontend | undefined)[]): boolean[] =>
  FAMILIES.flatMap((family, i) =>
    CLIENTS[family].map((client) => {
      const one = frontends[i];
      return one !== undefined && (one.sourceRanges?.some((cidr) => cidrContains(cidr, client)) ?? true);
    }),
  );

test.each([
  ['of any size', undefined],
  // 4 KB of elements, which is enough for one frontend or one set of networks, and too little for two.
  ['that are small', 20 * 1024],
])(
  `${RUNS} histories in transactions %s`,
  async (_, bufferBytes) => {
    const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
    console.log(`range changes: KPROXY_SEED=${seed}`);
    const property = fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 8 }), async (steps) => {
      await netns.exec(['nft', 'flush', 'ruleset']);
      const start = new FrontendProxy(netlink);
      await start.set([]);
      // The structure alone is larger than the smallest of these.
      const disturbed = new DisturbedNetlink(netlink, bufferBytes);
      let proxy = new FrontendProxy(disturbed);
      let before = wantedIn([]);
      let isForeign = false;
      for (const { frontends, nodePortCidrs, serviceCidrs, after, foreign } of steps) {
        const wanted = wantedIn(frontends);
        const seen: boolean[][] = [];
        const broken: string[] = [];
        disturbed.disturb = async (request, pass) => {
          const replies = await pass(request);
          if (!isBatch(request)) return replies;
          const observed = await observe();
          seen.push(letInBy(observed));
          broken.push(...deadEndsOf(observed));
          return replies;
        };
        const list = frontends.filter((one) => one !== undefined);
        const surroundings = { ...SURROUNDINGS, nodePortCidrs, serviceCidrs };
        const [previous, isForeignBefore] = [before, isForeign];
        if (foreign === undefined && after === 'restart') proxy = new FrontendProxy(disturbed);
        expect(await proxy.set(list, surroundings)).toMatchObject({ failures: [] });
        disturbed.disturb = undefined;
        expect((await proxy.differences()).now).toEqual([]);
        expect(broken).toEqual([]);
        expect(await letIn()).toEqual(wanted);
        for (const moment of seen) {
          for (const [i, isIn] of moment.entries()) {
            if (!previous[i] && !wanted[i]) expect(isIn).toBe(false);
            // All that changes of a frontend goes at once, if it fits.
            if (previous[i] && wanted[i] && !isForeignBefore) expect(isIn).toBe(true);
          }
        }
        before = wanted;
        isForeign = false;
        if (foreign !== undefined) {
          await addForeign(foreign);
          before = await letIn();
          isForeign = true;
          proxy.backend.distrust();
        }
        if (after === 'distrust') {
          proxy.backend.distrust();
          expect(await proxy.retry()).toMatchObject({ failures: [] });
          expect((await proxy.differences()).now).toEqual([]);
          before = wanted;
          isForeign = false;
        }
        if (after === 'restart' && foreign === undefined) {
          proxy = new FrontendProxy(disturbed);
          expect(await proxy.set(list, surroundings)).toMatchObject({ failures: [], writes: 0 });
        }
      }
      expect(await proxy.retry()).toMatchObject({ failures: [] });
      await proxy.flush();
      expect(await proxy.differences()).toEqual({ now: [], later: [] });
    });
    await fc.assert(property, { numRuns: RUNS, seed, endOnFailure: true });
  },
  120_000,
);

/** Ranges and networks of somebody else; nft is refused some. */
async function addForeign([four, six]: readonly [Cidr, Cidr]): Promise<void> {
  const edits = [
    `add element ip kproxy-ts source-ranges { ${VIPS[4]} . tcp . 80 . ${formatCidr(four)} }`,
    `add element ip6 kproxy-ts source-ranges { ${VIPS[6]} . tcp . 0-100 . ${formatCidr(six)} }`,
    `add element ip kproxy-ts service-cidrs { ${formatCidr(four)} }`,
    `add element ip6 kproxy-ts nodeport-addresses { ${formatCidr(six)} }`,
  ];
  for (const input of edits) {
    await netns.exec(['nft', '-f', '-'], { input }).catch((error: Error) => {
      expect(error.message).toMatch(/File exists|conflicting intervals|not empty|overlap/i);
    });
  }
}
