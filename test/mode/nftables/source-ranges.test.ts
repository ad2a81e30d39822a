// Source ranges: whatever changes, and wherever the changes are cut into transactions, the kernel's set of ranges takes
// them, and nobody is let in meanwhile whom neither the state before nor the one after lets in.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/nftables/desired.ts';
import { type ElementChange, elementId, mustWait } from '../../../src/mode/nftables/element-change.ts';
import { formatChange } from '../../../src/mode/nftables/format.ts';
import { serviceValueParts, TABLE } from '../../../src/mode/nftables/names.ts';
import { noElements } from '../../../src/mode/nftables/observed.ts';
import { planFrontend } from '../../../src/mode/nftables/planned-frontend.ts';
import { reconcileElements, type SeenElements } from '../../../src/mode/nftables/reconcile-elements.ts';
import { shapeOfId } from '../../../src/mode/nftables/shape.ts';
import { rangeChanges, rangeElements } from '../../../src/mode/nftables/source-ranges.ts';
import { chunkChanges, elementTransaction, estimateBytes } from '../../../src/mode/nftables/transaction.ts';
import { type Cidr, cidrContains, type Ip, packIp, parseCidr, unpackIp } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { frontend } from '../../support/frontend-proxy.ts';

const cidrs = (...texts: string[]): Cidr[] => texts.map((text) => parseCidr(text)!);

/** Four bits of an address vary: few enough that ranges meet all the time. */
const CLIENTS = Array.from({ length: 16 }, (_, i) => `10.${i * 16}.0.1` as Ip);
const someCidr = fc
  .tuple(fc.constantFrom(...CLIENTS), fc.integer({ min: 8, max: 12 }))
  .map(([ip, prefix]) => parseCidr(`${ip}/${prefix}`)!);
/** None within another. */
const someRanges = fc.array(someCidr, { maxLength: 3 }).map((list) =>
  list.filter(
    (one, i) =>
      !list.some((other, j) => {
        const isWider = other.prefix < one.prefix || (other.prefix === one.prefix && j < i);
        return isWider && cidrContains(other, one.ip);
      }),
  ),
);

const SERVICES = ['n/a', 'n/b'] as ServiceKey[];
const VIPS = ['203.0.113.1', '203.0.113.2'] as const;

/** Each address belongs to one of the Services, with its backends and its ranges, or to nobody. */
const someState = fc.tuple(
  ...VIPS.map((vip) =>
    fc.option(
      fc
        .record({
          service: fc.constantFrom(...SERVICES),
          backendCount: fc.nat(3),
          ranges: fc.option(someRanges, { nil: undefined }),
          hasInside: fc.boolean(),
        })
        .map(({ service, backendCount, ranges, hasInside }): Frontend => {
          const own = service === 'n/a' ? '10.1.0' : '10.2.0';
          const backends = Array.from({ length: backendCount }, (_, i) => `${own}.${i + 1}`);
          const insideBackends = hasInside ? backends : undefined;
          return { ...frontend(vip, { service, backends, insideBackends }), sourceRanges: ranges };
        }),
      { nil: undefined },
    ),
  ),
);
type State = (Frontend | undefined)[];

/** Sets as the kernel holds them; `source-ranges` takes and finds ranges as nft_set_pipapo.c does. */
class Kernel {
  readonly byId = new Map<string, ElementChange>();

  /** One transaction. */
  commit(changes: readonly ElementChange[]): void {
    const { requests } = elementTransaction(changes, TABLE);
    expect(requests.length, 'what is committed is not empty').toBeGreaterThan(0);
    for (const change of changes) {
      if (change.before === undefined) continue;
      const found = change.set === 'source-ranges' ? this.#rangeAt(change) : this.byId.get(elementId(change));
      expect(found?.after, `deletes what is there: ${formatChange(change)}`).toBe(change.before);
      expect(found?.key).toBe(change.key);
      this.byId.delete(elementId(change));
    }
    for (const change of changes) {
      if (change.after === undefined) continue;
      expect(this.byId.has(elementId(change)), 'adds what is not there').toBe(false);
      if (change.set === 'source-ranges') {
        const refused = this.#rangeAt(change) ?? this.#rangeAt({ ...change, key: change.after });
        expect(refused && formatChange(refused), `overlaps with ${formatChange(change)}`).toBe(undefined);
      }
      this.byId.set(elementId(change), change);
    }
  }

  /** The oldest range that holds the key, each field in its own bounds. */
  #rangeAt({ family, key }: Pick<ElementChange, 'family' | 'key'>): ElementChange | undefined {
    const fields: [number, number][] = [
      [0, 4],
      [4, 5],
      [8, 10],
      [12, 16],
    ];
    return [...this.byId.values()].find(
      (one) =>
        one.set === 'source-ranges' &&
        one.family === family &&
        fields.every(([from, to]) => {
          const part = key.slice(from, to);
          return one.key.slice(from, to) <= part && part <= one.after!.slice(from, to);
        }),
    );
  }

  /** True when a range holds the key. */
  holds(key: string): boolean {
    return this.#rangeAt({ family: 4, key }) !== undefined;
  }

  /** What a client gets that dials an address from outside: the owner of it, or nothing. */
  answer(vip: string, client: Ip): string {
    const key = frontendKey(vip);
    const element = this.byId.get(`4services ${key}`);
    if (element === undefined) return 'not ours';
    const { shapeId, comment } = serviceValueParts(element.after!);
    const shape = shapeOfId(shapeId);
    const isKeptOut = shape?.isRestricted === true && !this.holds(key + packIp(client));
    const backends = Array.from({ length: shape?.slotCount ?? 0 }, (_, slot) => {
      const value = this.byId.get(`4endpoints ${key}${String.fromCharCode(slot)}\0\0\0`)?.after;
      return value === undefined ? 'dead end' : unpackIp(value.slice(0, 4));
    });
    return isKeptOut ? 'kept out' : `${comment} ${backends.sort()}`;
  }

  /** As an observation tells it. */
  seen(): Map<4 | 6, SeenElements> {
    const seen = new Map(
      ([4, 6] as const).map((family) => [family, { elements: noElements(), counters: new Map() }]),
    );
    for (const { family, set, key, after } of this.byId.values()) {
      seen.get(family)!.elements.get(set)!.set(key, after!);
    }
    return seen;
  }
}

/** `203.0.113.1 . tcp . 80` */
const frontendKey = (vip: string): string => `${packIp(vip as Ip)}\x06\0\0\0\0\x50\0\0`;

/** What of the desired state goes into one update. */
function update(desired: Desired, state: State): readonly ElementChange[] {
  const present = state.filter((one) => one !== undefined);
  return desired.update(
    new Map(
      SERVICES.map((service) => [
        service,
        present.filter((one) => one.service === service).map((one) => planFrontend(one, desired)),
      ]),
    ),
  ).elements;
}

/** Commits the changes in transactions of so many bytes, then what had to wait; `check` runs after each of the former. */
function commit(
  kernel: Kernel,
  changes: Iterable<ElementChange>,
  limitBytes: number,
  check = (): void => undefined,
): void {
  const waiting: ElementChange[] = [];
  const now = [...changes].filter((change) => !mustWait(change) || waiting.push(change) === 0);
  for (const chunk of chunkChanges(now, limitBytes)) {
    kernel.commit(chunk);
    check();
  }
  if (waiting.length > 0) kernel.commit(waiting);
}

/** From cuts after every change to none at all. All changes of one of these frontends fit into the third. */
const FRONTEND_BYTES = 2000;
const someLimit = fc.constantFrom(1, 600, FRONTEND_BYTES, 3000, 100_000);

const answers = (kernel: Kernel): string[] =>
  VIPS.flatMap((vip) => CLIENTS.map((client) => kernel.answer(vip, client)));

/** Between two transactions: a client that is kept out at either end, or at both. */
function expectBetween(
  before: readonly string[],
  now: readonly string[],
  after: readonly string[],
  limitBytes: number,
): void {
  for (const [i, one] of now.entries()) {
    const ends = [before[i], after[i]];
    if (!ends.includes('kept out')) continue;
    if (limitBytes >= FRONTEND_BYTES || ends.every((end) => end === 'kept out')) expect(ends).toContain(one);
  }
}

function changesHands(before: State, after: State): boolean {
  return after.some((one, i) => one !== undefined && (before[i]?.service ?? one.service) !== one.service);
}

describe('changes', () => {
  test('of any frontends, in transactions of any size: nobody gets in whom neither state lets in', () => {
    fc.assert(
      fc.property(fc.array(someState, { minLength: 1, maxLength: 6 }), someLimit, (states, limitBytes) => {
        // An address that passes from one Service to another changes in one piece only if that fits a transaction.
        fc.pre(!states.some((state, i) => changesHands(states[i - 1] ?? [], state)));
        const desired = new Desired();
        const kernel = new Kernel();
        kernel.commit([...desired.elements()]);
        for (const state of states) {
          const wanted = new Kernel();
          const scratch = new Desired();
          update(scratch, state);
          wanted.commit([...scratch.elements()]);
          const [before, after] = [answers(kernel), answers(wanted)];
          commit(kernel, update(desired, state), limitBytes, () => {
            expectBetween(before, answers(kernel), after, limitBytes);
          });
          expect(answers(kernel)).toEqual(after);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('found by a full comparison, whatever somebody else added: the same', () => {
    // Ranges of one frontend, around or across it, of no frontend at all, and one for everybody.
    const foreign = fc.oneof(
      fc
        .tuple(fc.constantFrom(...VIPS), someRanges)
        .map(([vip, list]) => [...rangeElements(frontendKey(vip), list)]),
      fc.tuple(fc.constantFrom(...CLIENTS), fc.constantFrom(...CLIENTS)).map(([a, b]) => {
        const [first, last] = [packIp(a), packIp(b)].sort() as [string, string];
        const of = (vip: string, port: string, ip: string) =>
          `${packIp(vip as Ip)}\x06\0\0\0${port}\0\0${ip}`;
        return [[of(VIPS[0], '\0\0', first), of(VIPS[1], '\xff\xff', last)] as [string, string]];
      }),
    );
    fc.assert(
      fc.property(someState, someState, foreign, someLimit, (start, state, junk, limitBytes) => {
        const kernel = new Kernel();
        const desired = new Desired();
        update(desired, start);
        kernel.commit([...desired.elements()]);
        for (const [key, after] of junk) {
          const change: ElementChange = {
            family: 4,
            set: 'source-ranges',
            key,
            before: undefined,
            after,
            service: undefined,
          };
          try {
            kernel.commit([change]);
          } catch {
            // Refused, as it would be to somebody else.
          }
        }
        const wanted = new Desired();
        update(wanted, state);
        const expected = new Kernel();
        expected.commit([...wanted.elements()]);
        const [before, after] = [answers(kernel), answers(expected)];
        const late: ElementChange[] = [];
        const changes = reconcileElements(wanted.elements(), kernel.seen(), new Set(), (c) => late.push(c));
        commit(kernel, changes, limitBytes, () => {
          // What somebody else let in is kept out at once.
          expectBetween(before, answers(kernel), after, junk.length === 0 ? limitBytes : 1);
        });
        if (late.length > 0) kernel.commit(late);
        expect(answers(kernel)).toEqual(after);
        const text = ({ byId }: Kernel) => [...byId.values()].map((one) => `${elementId(one)} ${one.after}`);
        expect(text(kernel).sort()).toEqual(text(expected).sort());
        const again = [...reconcileElements(wanted.elements(), kernel.seen(), new Set(), () => undefined)];
        expect(again).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('of a frozen Service are none: its ranges stay, the stale ones too', () => {
    const desired = new Desired();
    const kernel = new Kernel();
    const at = (...texts: string[]): Frontend =>
      frontend(VIPS[0], { service: 'n/a', backends: ['10.1.0.1'], sourceRanges: texts });
    update(desired, [at('10.0.0.0/8')]);
    kernel.commit([...desired.elements()]);
    for (const now of [at('10.0.0.0/16'), frontend(VIPS[0], { service: 'n/a', backends: ['10.1.0.1'] })]) {
      update(desired, [now]);
      const changes = reconcileElements(
        desired.elements(),
        kernel.seen(),
        new Set(SERVICES),
        () => undefined,
      );
      expect([...changes].filter(({ set }) => set === 'source-ranges' || set === 'services')).toEqual([]);
    }
  });
});

test('a range that encloses another is replaced first, wherever the changes are cut', () => {
  const kernel = new Kernel();
  const key = frontendKey(VIPS[0]);
  const owner = { family: 4, service: SERVICES[0]!, together: 'x' } as const;
  // The wider one can only come second; somebody else has put it there.
  const before = rangeElements(key, cidrs('10.128.0.0/10', '10.0.0.0/8'));
  for (const change of rangeChanges(owner, undefined, before)) kernel.commit([change]);
  const after = rangeElements(key, cidrs('10.128.0.0/11', '10.0.0.0/12'));
  for (const change of rangeChanges(owner, before, after)) kernel.commit([change]);
  expect(CLIENTS.filter((client) => kernel.holds(key + packIp(client)))).toHaveLength(3);
});

describe('ranges', () => {
  test('hold exactly the addresses of their CIDRs, in both families', () => {
    const prefix4 = fc.integer({ min: 0, max: 32 });
    const prefix6 = fc.integer({ min: 0, max: 128 });
    const bytes = (length: number) =>
      fc
        .uint8Array({ minLength: length, maxLength: length })
        .map((list) => unpackIp(String.fromCharCode(...list)));
    const cidrAndProbe = fc.oneof(
      fc.tuple(bytes(4), prefix4, bytes(4)),
      fc.tuple(bytes(16), prefix6, bytes(16)),
    );
    fc.assert(
      fc.property(cidrAndProbe, ([ip, prefix, probe]) => {
        const cidr = parseCidr(`${ip}/${prefix}`)!;
        const [[first, last]] = [...rangeElements('', [cidr])] as [[string, string]];
        for (const one of [probe, ip, unpackIp(first), unpackIp(last)]) {
          expect(packIp(one) >= first && packIp(one) <= last).toBe(cidrContains(cidr, one));
        }
      }),
    );
  });

  test('are none for a node port: it must not be open where it was to be restricted', () => {
    const one: Frontend = {
      ...frontend(VIPS[0], { sourceRanges: ['10.0.0.0/8'] }),
      kind: 'NodePort',
      address: undefined,
    };
    expect(() => planFrontend(one, new Desired())).toThrow('source ranges of node port 80 of default/web');
  });

  test('read as lines for humans', () => {
    const [change] = [...rangeElements(frontendKey(VIPS[0]), cidrs('10.0.0.0/8'))].map(
      ([key, after]): ElementChange => ({
        family: 4,
        set: 'source-ranges',
        key,
        before: undefined,
        after,
        service: undefined,
      }),
    );
    expect(formatChange(change!)).toBe(
      '+ ip source-ranges 203.0.113.1 . tcp . 80 . 10.0.0.0 : to 10.255.255.255',
    );
    const before = `${frontendKey(VIPS[0])}${packIp('10.0.255.255' as Ip)}`;
    expect(formatChange({ ...change!, before })).toBe(
      '~ ip source-ranges 203.0.113.1 . tcp . 80 . 10.0.0.0 : to 10.0.255.255 -> to 10.255.255.255',
    );
  });
});

test('all changes of one frontend fit into a transaction of the tests above', () => {
  const widest = cidrs(...CLIENTS.map((ip) => `${ip}/12`));
  const at = (service: string, net: string, sourceRanges: Cidr[]): Frontend => {
    const backends = [1, 2, 3].map((n) => `${net}.${n}`);
    return { ...frontend(VIPS[0], { service, backends, insideBackends: backends }), sourceRanges };
  };
  const [before, after] = [new Desired(), new Desired()];
  const kernel = new Kernel();
  update(before, [at('n/a', '10.1.0', widest.slice(0, 3))]);
  kernel.commit([...before.elements()]);
  // The most that changes at once: the address passes to another Service, and a full comparison finds it.
  update(after, [at('n/b', '10.2.0', widest.slice(6, 9))]);
  const changes = [...reconcileElements(after.elements(), kernel.seen(), new Set(), () => undefined)];
  expect(
    changes.filter(({ together }) => together !== undefined).reduce((n, c) => n + estimateBytes(c), 0),
  ).toBeLessThan(FRONTEND_BYTES);
});
