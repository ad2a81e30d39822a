// The codecs against the kernel of this machine, in a network namespace: what is encoded loads, nft prints it and loads
// what it printed, and what a dump decodes to is what was encoded.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KernelError } from '../../src/errors.ts';
import { type NftRequest, originOf } from '../../src/netlink/nftables/batch.ts';
import { decodeChain } from '../../src/netlink/nftables/chain.ts';
import { DATATYPE } from '../../src/netlink/nftables/datatypes.ts';
import { decodeSetElements, type Element } from '../../src/netlink/nftables/element.ts';
import { type Expression, normalizeExpressions } from '../../src/netlink/nftables/expression.ts';
import { decodeGeneration } from '../../src/netlink/nftables/generation.ts';
import { decodeRule } from '../../src/netlink/nftables/rule.ts';
import { decodeSet, type SetDeclaration } from '../../src/netlink/nftables/set.ts';
import { decodeTable } from '../../src/netlink/nftables/table.ts';
import { affinity } from './golden/affinity.ts';
import { hex } from './golden/build.ts';
import { changes } from './golden/changes.ts';
import { canonical } from './golden/decoded.ts';
import { expressions } from './golden/expressions.ts';
import { services } from './golden/services.ts';
import { services6 } from './golden/services6.ts';
import { TestKernel } from './support/kernel.ts';

let kernel: TestKernel;

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}.nft`, import.meta.url));

beforeAll(async () => {
  kernel = await TestKernel.create();
});
beforeEach(() => kernel.nft('flush', 'ruleset'));
afterAll(() => kernel?.delete());

type RequestOf<Op> = Extract<NftRequest, { readonly op: Op }>;

function requestsOf<Op extends NftRequest['op']>(requests: readonly NftRequest[], op: Op): RequestOf<Op>[] {
  return requests.filter((request): request is RequestOf<Op> => request.op === op);
}

/** What is listed, without the time that passes. */
async function listing(): Promise<string> {
  return (await kernel.nft('list', 'ruleset')).replace(/ expires \w+/g, '');
}

const isAnonymous = (set: string) => set.startsWith('__');

/**
 * Ids of sets are not dumped, anonymous sets get another name, and of expressions without a codec the kernel dumps
 * more than it was told.
 */
function asDumped(one: Expression): object {
  const { setId: _, ...rest } = one as Expression & { readonly setId?: number };
  if (rest.kind === 'unknown') return { kind: rest.kind, name: rest.name };
  return rest.kind === 'lookup' && isAnonymous(rest.set) ? { ...rest, set: '' } : rest;
}

describe.each([
  ['services', services],
  ['services6', services6],
  ['expressions', expressions],
  ['affinity', affinity],
] as const)('%s', (name, requests) => {
  beforeEach(async () => {
    const { failures } = await kernel.commit(requests);
    expect(failures).toEqual([]);
  });

  it('is listed by nft as what nft itself loads', async () => {
    const ours = await listing();
    await kernel.nft('flush', 'ruleset');
    await kernel.nft('-f', fixture(name));
    expect(ours).toBe(await listing());
  });

  it('loads again from what nft lists', async () => {
    const ours = await listing();
    await kernel.nft('flush', 'ruleset');
    await kernel.netns.exec(['nft', '-f', '-'], { input: ours });
    expect(await listing()).toBe(ours);
  });

  it('is dumped as the tables and chains it was made of', async () => {
    const tables = await kernel.dump({ object: 'tables' }, decodeTable);
    expect(tables.map(({ handle: _, ...table }) => table)).toEqual(
      requestsOf(requests, 'addTable').map(({ op: _, flags: __, ...table }) => table),
    );
    const chains = await kernel.dump({ object: 'chains' }, decodeChain);
    const wanted = requestsOf(requests, 'addChain').map(({ op: _, base, ...chain }) => {
      if (base === undefined) return chain;
      const { policy, ...rest } = base;
      return { ...chain, base: policy === 'drop' ? base : rest };
    });
    const byName = (one: { chain: string }, other: { chain: string }) => (one.chain < other.chain ? -1 : 1);
    expect(chains.map(({ handle: _, ...chain }) => chain).sort(byName)).toEqual(wanted.sort(byName));
  });

  it('is dumped as the rules it was made of', async () => {
    const rules = await kernel.dump({ object: 'rules' }, decodeRule);
    for (const { table, chain } of requestsOf(requests, 'addChain')) {
      const inChain = (rule: { table: string; chain: string }) =>
        rule.table === table && rule.chain === chain;
      const wanted = requestsOf(requests, 'addRule').filter(inChain);
      const got = rules.filter(inChain).map(({ handle: _, position: __, ...rule }) => rule);
      expect(got.map((rule) => ({ ...rule, expressions: rule.expressions.map(asDumped) }))).toEqual(
        wanted.map(({ op: _, ...rule }) => ({
          ...rule,
          expressions: normalizeExpressions(rule.expressions).map(asDumped),
        })),
      );
    }
  });

  it('is dumped as the sets and elements it was made of', async () => {
    for (const request of requestsOf(requests, 'addSet')) {
      const { op: _, family, table, set, setId: __, ...rest } = request;
      if (isAnonymous(set)) continue;
      const declaration =
        rest.expressions === undefined ? rest : { ...rest, expressions: rest.expressions.map(canonical) };
      const sets = await kernel.dump({ object: 'sets', family, table }, decodeSet);
      expect(sets.find((one) => one.set === set)?.declaration).toEqual(declaration);

      const messages = await kernel.dump({ object: 'elements', family, table, set }, decodeSetElements);
      const wanted = requestsOf(requests, 'addElements')
        .filter((one) => one.set === set && one.table === table)
        .flatMap(({ elements }) => elements);
      const got = messages.flatMap(({ elements }) => elements);
      // Time passes, and what a set's declaration says of all its elements is dumped with each.
      const counter = declaration.expressions ? { counter: { packets: 0n, bytes: 0n } } : {};
      const comparable = ({ expirationMs: _, ...element }: Element) => ({ ...counter, ...element });
      const byKey = (one: Element, other: Element) => (one.key < other.key ? -1 : 1);
      expect(got.map(comparable).sort(byKey)).toEqual(wanted.map(comparable).sort(byKey));
    }
  });
});

describe('changes', () => {
  it('do to the ruleset what nft does', async () => {
    // All but the last, which deletes the table.
    const text = readFileSync(fixture('changes'), 'utf8').trimEnd().split('\n').slice(0, -1).join('\n');
    await kernel.nft('-f', fixture('services'));
    await kernel.netns.exec(['nft', '-f', '-'], { input: text });
    const wanted = await listing();
    await kernel.nft('flush', 'ruleset');
    await kernel.nft('-f', fixture('services'));
    expect((await kernel.commit(changes.slice(0, -1))).failures).toEqual([]);
    expect(await listing()).toBe(wanted);
    expect((await kernel.commit(changes.slice(-1))).failures).toEqual([]);
    expect(await listing()).toBe('');
  });
});

const at = { family: 'ip', table: 't' } as const;
const addresses: SetDeclaration = { keyType: DATATYPE.ipv4_addr, keyLength: 4, isMap: false, flags: {} };
const address = (index: number) => String.fromCharCode(10, index >>> 16, (index >>> 8) & 255, index & 255);
const addressRange = (from: number, count: number): Element[] =>
  Array.from({ length: count }, (_, index) => ({ key: address(from + index) }));

describe('a set', () => {
  const dumpElements = async (set: string) =>
    (await kernel.dump({ object: 'elements', ...at, set }, decodeSetElements)).flatMap(
      ({ elements }) => elements,
    );

  it('of more elements than one message holds comes and goes whole', async () => {
    const elements = addressRange(0, 10_000);
    const { batch, failures } = await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses },
      { op: 'addElements', ...at, set: 's', elements },
    ]);
    expect(failures).toEqual([]);
    expect(batch.origins.length).toBeGreaterThan(4);
    const keys = (list: readonly Element[]) => new Set(list.map(({ key }) => key));
    expect(keys(await dumpElements('s'))).toEqual(keys(elements));
    const half = elements.slice(0, 5000);
    expect(
      (await kernel.commit([{ op: 'deleteElements', ...at, set: 's', elements: half }])).failures,
    ).toEqual([]);
    expect(keys(await dumpElements('s'))).toEqual(keys(elements.slice(5000)));
    expect((await kernel.commit([{ op: 'flushSet', ...at, set: 's' }])).failures).toEqual([]);
    expect(await dumpElements('s')).toEqual([]);
  });

  it('keeps its elements when asked to delete none', async () => {
    await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses },
      { op: 'addElements', ...at, set: 's', elements: addressRange(0, 3) },
      { op: 'deleteElements', ...at, set: 's', elements: [] },
    ]);
    expect(await dumpElements('s')).toHaveLength(3);
  });

  it('keeps comments longer than nft can show, and nft shows their beginning', async () => {
    const comment = `${'n'.repeat(63)}/${'s'.repeat(63)}:${'p'.repeat(63)}`;
    const { failures } = await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses },
      { op: 'addElements', ...at, set: 's', elements: [{ key: address(1), comment }] },
    ]);
    expect(failures).toEqual([]);
    expect(await dumpElements('s')).toEqual([{ key: address(1), comment }]);
    expect(await kernel.nft('list', 'ruleset')).toContain(`10.0.0.1 comment "${comment.slice(0, 127)}"`);
  });

  it('may have a catch-all element, which can be deleted', async () => {
    const elements: Element[] = [{ key: '', comment: 'rest' }, { key: address(1) }];
    await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses },
      { op: 'addElements', ...at, set: 's', elements },
    ]);
    expect(new Set(await dumpElements('s'))).toEqual(new Set(elements));
    await kernel.commit([{ op: 'deleteElements', ...at, set: 's', elements: [{ key: '' }] }]);
    expect(await dumpElements('s')).toEqual([{ key: address(1) }]);
  });

  it('of open intervals is listed as such', async () => {
    await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses, flags: { interval: true } },
      { op: 'addElements', ...at, set: 's', elements: [{ key: hex('00000000') }] },
    ]);
    expect(await kernel.nft('list', 'ruleset')).toContain('elements = { 0.0.0.0/0 }');
  });
});

describe('a refusal', () => {
  beforeEach(async () => {
    const { failures } = await kernel.commit([
      { op: 'addTable', ...at },
      { op: 'addSet', ...at, set: 's', ...addresses },
      { op: 'addElements', ...at, set: 's', elements: addressRange(0, 10) },
    ]);
    expect(failures).toEqual([]);
  });

  it.each([
    ['the first message', 0, 0],
    ['a later message', 9000, 7321],
  ])('of one element in %s names it, and nothing is applied', async (_, count, index) => {
    const added = addressRange(10, count + 1);
    await kernel.commit([{ op: 'addElements', ...at, set: 's', elements: added.toSpliced(index, 1) }]);
    const generation = async () => (await kernel.dump({ object: 'generation' }, decodeGeneration))[0]!.genId;
    const before = await generation();
    const { batch, failures } = await kernel.commit([
      { op: 'addChain', ...at, chain: 'c' },
      { op: 'deleteElements', ...at, set: 's', elements: added },
      { op: 'addChain', ...at, chain: 'd' },
    ]);
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ kind: 'error', errno: 2, code: 'ENOENT' });
    const { seq, offset } = failures[0]!;
    expect(originOf(batch, seq, offset)).toEqual({ requestIndex: 1, elementIndex: index });
    expect(await generation()).toBe(before);
  });

  it('of an exclusive element is EEXIST', async () => {
    const { batch, failures } = await kernel.commit([
      { op: 'addElements', ...at, set: 's', elements: addressRange(8, 4), isExclusive: true },
    ]);
    expect(failures.map(({ code }) => code)).toEqual(['EEXIST']);
    expect(originOf(batch, failures[0]!.seq, failures[0]!.offset)).toEqual({
      requestIndex: 0,
      elementIndex: 0,
    });
  });

  it('of a request names it', async () => {
    const { batch, failures } = await kernel.commit([
      { op: 'addChain', ...at, chain: 'c' },
      { op: 'deleteSet', ...at, set: 'absent' },
    ]);
    expect(failures.map(({ code }) => code)).toEqual(['ENOENT']);
    expect(originOf(batch, failures[0]!.seq, failures[0]!.offset)).toEqual({ requestIndex: 1 });
  });

  it('of a stale generation is about the batch', async () => {
    const [generation] = await kernel.dump({ object: 'generation' }, decodeGeneration);
    const chain: NftRequest = { op: 'addChain', ...at, chain: 'c' };
    expect((await kernel.commit([chain], { genId: generation!.genId })).failures).toEqual([]);
    const { batch, failures } = await kernel.commit([chain], { genId: generation!.genId });
    expect(failures.map(({ code }) => code)).toEqual(['ERESTART']);
    expect(originOf(batch, failures[0]!.seq)).toBeUndefined();
  });

  it('of a dump is a KernelError', async () => {
    const dump = kernel.dump({ object: 'elements', ...at, set: 'absent' }, decodeSetElements);
    await expect(dump).rejects.toThrow(KernelError);
    await expect(dump).rejects.toMatchObject({ code: 'ENOENT', errno: 2 });
  });
});

it('announces changes as they were asked for', async () => {
  const generation = async () => (await kernel.dump({ object: 'generation' }, decodeGeneration))[0]!.genId;
  await kernel.commit([{ op: 'addTable', family: 'ip6', table: 'before' }]);
  await kernel.notificationsUntil(await generation());
  await kernel.commit([
    { op: 'addTable', ...at, comment: 'ours' },
    { op: 'addChain', ...at, chain: 'c' },
    { op: 'addRule', ...at, chain: 'c', expressions: [{ kind: 'counter' }] },
    { op: 'addSet', ...at, set: 's', ...addresses },
    { op: 'addElements', ...at, set: 's', elements: addressRange(0, 1) },
  ]);
  await kernel.nft('delete', 'element', 'ip', 't', 's', '{ 10.0.0.0 }');
  await kernel.nft('delete', 'table', 'ip', 't');
  const notifications = await kernel.notificationsUntil(await generation());
  expect(notifications.map(({ event }) => event)).toEqual([
    ...['newTable', 'newChain', 'newRule', 'newSet', 'newElements', 'newGeneration'],
    ...['deleteElements', 'newGeneration'],
    ...['deleteRule', 'deleteSet', 'deleteChain', 'deleteTable', 'newGeneration'],
  ]);
  expect(notifications.slice(0, 5)).toMatchObject([
    { value: { ...at, comment: 'ours' } },
    { value: { ...at, chain: 'c' } },
    { value: { ...at, chain: 'c', expressions: [{ kind: 'counter' }] } },
    { value: { ...at, set: 's', declaration: addresses } },
    { value: { ...at, set: 's', elements: addressRange(0, 1) } },
  ]);
  expect(notifications.at(-1)).toMatchObject({ value: { processName: 'nft' } });
});
