// The codecs against the kernel of this machine, in a network namespace: what is encoded loads, nft prints it and loads
// what it printed, and what a dump decodes to is what was encoded.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KernelError } from '../../src/errors.ts';
import { type NftRequest, originOf } from '../../src/netlink/nftables/batch.ts';
import { decodeChain } from '../../src/netlink/nftables/chain.ts';
import { decodeSetElements, type Element } from '../../src/netlink/nftables/element.ts';
import { type Expression, normalizeExpressions } from '../../src/netlink/nftables/expression.ts';
import type { NftFamily } from '../../src/netlink/nftables/family.ts';
import { decodeGeneration } from '../../src/netlink/nftables/generation.ts';
import { decodeRule } from '../../src/netlink/nftables/rule.ts';
import { decodeSet } from '../../src/netlink/nftables/set.ts';
import { decodeTable } from '../../src/netlink/nftables/table.ts';
import { hex } from './golden/build.ts';
import { changes } from './golden/changes.ts';
import { expressions } from './golden/expressions.ts';
import { services } from './golden/services.ts';
import { services6 } from './golden/services6.ts';
import { TestKernel } from './support/kernel.ts';

let kernel: TestKernel;

beforeAll(async () => {
  kernel = await TestKernel.create();
});
beforeEach(() => kernel.nft('flush', 'ruleset'));
afterAll(() => kernel?.delete());

type RequestOf<Op> = Extract<NftRequest, { readonly op: Op }>;
const requestsOf = <Op extends NftRequest['op']>(requests: readonly NftRequest[], op: Op) =>
  requests.filter((request): request is RequestOf<Op> => request.op === op);

/** Anonymous sets get a name from the kernel; rules that use them are compared without it. */
const withoutSetName = (one: Expression) =>
  one.kind === 'lookup' && one.set.startsWith('__') ? { ...one, set: '', setId: 0 } : withoutSetId(one);
const withoutSetId = (one: Expression) => {
  const { setId: _, ...rest } = one as Expression & { setId?: number };
  return rest;
};

describe.each([
  ['services', services],
  ['services6', services6],
  ['expressions', expressions],
])('%s', (_, requests) => {
  beforeEach(async () => {
    const { failures } = await kernel.commit(requests);
    expect(failures).toEqual([]);
  });

  it('is listed by nft, and loads again from that text', async () => {
    const text = await kernel.nft('list', 'ruleset');
    expect(text).toMatchSnapshot();
  });
});
