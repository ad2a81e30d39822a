// iptables mode on the real kernel behind a socket that fails, lies and loses: whatever happens is reported, nothing is
// lost, what one Service is refused leaves the others in force, and in the end the kernel holds what was asked for.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { servicePortHash } from '../../src/mode/iptables/names.ts';
import { failure, interrupted, isBatch, type Pass, withoutEnd } from '../support/disturbed-netlink.ts';
import { deletion, LISTED, upserts } from '../support/in-process-proxy.ts';
import { failuresOf, web } from './faulty-node.ts';
import { deadEnds, IptablesNode } from './iptables-node.ts';

let node: IptablesNode;

beforeAll(async () => {
  node = await IptablesNode.create('ipt-faults');
});

afterAll(() => node?.delete());

beforeEach(() => restart());

async function restart(sendBufferBytes?: number): Promise<void> {
  await node.nft('flush ruleset');
  node.restart(sendBufferBytes);
}

async function expectInForce(): Promise<void> {
  expect(await node.differences()).toEqual([]);
  expect(node.backend.problems()).toEqual([]);
}

const rules = async (...args: string[]): Promise<string> => node.iptables('-t', 'nat', '-S', ...args);

/** Every kind of change, in a few syncs. */
const STEPS = [
  () => [...LISTED, ...upserts(...web(1, 3), ...web(2, 1), ...web(3, 0), ...web(4, 2))],
  () => upserts(...web(1, 2), ...web(2, 3), ...web(3, 1)),
  () => [deletion('Service', 'web-4'), ...upserts(...web(1, 4), ...web(3, 2, 8081), ...web(5, 1))],
  () => upserts(...web(4, 5), ...web(5, 0)),
];

/** Plays all steps, failing the n-th request; returns how many requests there were, and the reports of failure. */
async function play(n: number, fail: (request: Uint8Array, pass: Pass) => Promise<Uint8Array[]>) {
  let requests = 0;
  const reports: string[] = [];
  node.disturbed.disturb = (request, pass) => (++requests === n ? fail(request, pass) : pass(request));
  for (const step of STEPS) {
    for (let result = await node.apply(...step()); result.failures.length > 0; result = await node.retry()) {
      reports.push(...failuresOf(result));
      expect(reports.length, reports.join('\n')).toBeLessThan(3);
    }
  }
  await expectInForce();
  return { requests, reports };
}

test.each([
  ['EPERM before it was sent', 'EPERM', 1, false],
  ['EINTR before it was sent', 'EINTR', 4, false],
  ['EBUSY before it was sent', 'EBUSY', 16, false],
  ['ENOBUFS: the outcome is unknown, and it had taken effect', 'ENOBUFS', 105, true],
])('%s, at any of its requests: reported, retried, and all is in force', async (_, code, errno, isSent) => {
  const { requests } = await play(Number.POSITIVE_INFINITY, (request, next) => next(request));
  for (let n = 1; n <= requests; n += 2) {
    await restart();
    const { reports } = await play(n, async (request, next) => {
      const replies = isSent ? await next(request) : [];
      throw failure(code, errno, replies.slice(0, -1));
    });
    expect(reports, `request ${n} of ${requests}`).toEqual([`sendmsg(NETLINK_NETFILTER): ${code}`]);
  }
});

test('dumps that somebody interrupts are asked for again, and nobody is bothered', async () => {
  await node.apply(...STEPS[0]!());
  node.restart();
  let left = 7;
  node.disturbed.disturb = async (request, next) => {
    const replies = await next(request);
    return !isBatch(request) && left-- > 0 ? interrupted(replies) : replies;
  };
  expect(await node.apply(...STEPS[0]!())).toMatchObject({ failures: [], writes: 0 });
  expect(left).toBeLessThan(0);
  await expectInForce();
});

test('dumps that are always interrupted are given up, reported, and made later', async () => {
  node.disturbed.disturb = async (request, next) =>
    isBatch(request) ? next(request) : interrupted(await next(request));
  expect(failuresOf(await node.apply(...STEPS[0]!()))).toEqual([expect.stringMatching(/: EINTR$/)]);
  expect(await node.netns.exec(['nft', 'list', 'ruleset'])).toBe('');
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.retry())).toEqual([]);
  await expectInForce();
});

test('a dump without its end is no dump', async () => {
  await node.apply(...STEPS[0]!());
  node.restart();
  node.disturbed.disturb = async (request, next) => withoutEnd(await next(request));
  expect(failuresOf(await node.apply(...STEPS[0]!()))).toEqual([expect.stringMatching(/no end/)]);
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.retry())).toEqual([]);
  await expectInForce();
});

test('a small send buffer takes several transactions, none of which leads to a chain that is not there yet', async () => {
  await restart(24 * 1024);
  const numbers = Array.from({ length: 60 }, (_, i) => i + 1);
  const dangling: string[] = [];
  node.disturbed.disturb = async (request, next) => {
    const replies = await next(request);
    if (isBatch(request)) dangling.push(...deadEnds(await rules()));
    return replies;
  };
  const first = await node.apply(...LISTED, ...upserts(...numbers.flatMap((n) => web(n, 3))));
  expect(failuresOf(first)).toEqual([]);
  expect(first.transactions).toBeGreaterThan(5);
  await expectInForce();
  const all = await node.apply(...upserts(...numbers.flatMap((n) => web(n, 1 + (n % 5), 8081))));
  expect(failuresOf(all)).toEqual([]);
  expect(dangling).toEqual([]);
  expect(Math.max(...node.disturbed.batchBytes)).toBeLessThanOrEqual(24 * 1024);
  await expectInForce();
});

// linux/netfilter/nf_tables.h
const NEW_RULE = (10 << 8) | 6;

/** The kernel refuses rules that have this address as the target of DNAT: it is made to look for a target `DNOT`. */
const refuse =
  (...ips: string[]) =>
  async (request: Uint8Array, pass: Pass): Promise<Uint8Array[]> =>
    pass(isBatch(request) ? ips.reduce(spoil, request) : request);

function spoil(request: Uint8Array, ip: string): Uint8Array {
  const bytes = Buffer.from(request);
  const packed = Buffer.from(ip.split('.').map(Number));
  for (let start = 0; start + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(start);
    const message = bytes.subarray(start, start + length);
    const at = message.indexOf('DNAT\0');
    if (message.readUInt16LE(4) === NEW_RULE && at >= 0 && message.indexOf(packed, at) >= 0)
      message.write('DNOT', at, 'latin1');
    start += Math.ceil(length / 4) * 4;
  }
  return bytes;
}

test('a rule that the kernel refuses: the Service is named, all others are in force, and it is tried again', async () => {
  node.disturbed.disturb = refuse('10.1.2.7');
  const result = await node.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7), ...web(3, 3)));
  expect(result.failures).toMatchObject([{ services: ['default/web-2'], error: { code: 'ENOENT' } }]);
  expect(failuresOf(result)[0]).toMatch(
    /^service default\/web-2: -t nat -A KUBE-SEP-\w+ .*--to-destination 10\.1\.2\.7:8080: ENOENT/,
  );
  expect(node.backend.problems()).toMatchObject([
    { subject: 'Service default/web-2', code: 'REFUSED_BY_KERNEL' },
  ]);
  const portals = await rules('KUBE-SERVICES');
  expect(portals).toContain('default/web-1:http cluster IP');
  expect(portals).toContain('default/web-3:http cluster IP');
  expect(portals).not.toContain('web-2');

  // The others go on changing meanwhile.
  expect(failuresOf(await node.apply(...upserts(...web(3, 4))))).toEqual(failuresOf(result));
  expect(await rules()).toContain('10.1.3.4:8080');

  // The periodic check tries it again, and so does a change.
  expect(await node.backend.hasDrifted()).toBe(true);
  expect(failuresOf((await node.check())!)).toEqual(failuresOf(result));
  node.disturbed.disturb = undefined;
  expect(failuresOf((await node.check())!)).toEqual([]);
  await expectInForce();
});

test('a Service that worked stays as it was', async () => {
  await node.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 6)));
  const before = (await rules()).split('\n').filter((line) => line.includes('web-2'));
  node.disturbed.disturb = refuse('10.1.2.7');
  expect((await node.apply(...upserts(...web(1, 3), ...web(2, 7)))).failures).toHaveLength(1);
  const lines = (await rules()).split('\n');
  expect(lines.filter((line) => line.includes('web-2'))).toEqual(before);
  expect(lines.join('\n')).toContain('10.1.1.3:8080');
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.apply(...upserts(...web(2, 8))))).toEqual([]);
  await expectInForce();
});

test('of a refused Service that is deleted nothing is left', async () => {
  await node.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 6)));
  node.disturbed.disturb = refuse('10.1.2.7');
  await node.apply(...upserts(...web(2, 7)));
  const gone = [deletion('Service', 'web-2'), deletion('EndpointSlice', 'web-2')];
  expect(failuresOf(await node.apply(...gone))).toEqual([]);
  expect(await rules()).not.toContain('web-2');
  await expectInForce();
});

test('twenty at a time are each found out', async () => {
  const bad = Array.from({ length: 20 }, (_, i) => 20 + i);
  node.disturbed.disturb = refuse(...bad.map((n) => `10.1.${n}.2`));
  const objects = bad.flatMap((n) => web(n, 2));
  const result = await node.apply(...LISTED, ...upserts(...web(1, 2), ...objects, ...web(3, 3)));
  expect(result.failures.flatMap(({ services }) => services).sort()).toEqual(
    bad.map((n) => `default/web-${n}`),
  );
  expect(await rules('KUBE-SERVICES')).toMatch(/web-1:[\s\S]*web-3:/);
  node.disturbed.disturb = undefined;
  expect(failuresOf(await node.retry())).toEqual([]);
  await expectInForce();
});

test('chains that were taken away since they were read are noticed by the next change, which takes effect', async () => {
  await node.apply(...STEPS[0]!());
  // Between the look at the chain and the transaction.
  let isFlushed = false;
  node.disturbed.disturb = async (request, next) => {
    if (isBatch(request) && !isFlushed) {
      isFlushed = true;
      await node.iptables('-t', 'nat', '-F');
    }
    return next(request);
  };
  expect(failuresOf(await node.apply(...upserts(...web(1, 2))))).toEqual([]);
  await expectInForce();
});

test('a chain that somebody leads to by the time that it is deleted stays, without rules', async () => {
  await node.apply(...STEPS[0]!());
  const chain = `KUBE-SVC-${servicePortHash('default/web-4:http', 'TCP')}`;
  let isUsed = false;
  node.disturbed.disturb = async (request, next) => {
    if (isBatch(request) && !isUsed) {
      isUsed = true;
      await node.iptables('-t', 'nat', '-A', 'OUTPUT', '-d', '192.0.2.9', '-j', chain);
    }
    return next(request);
  };
  // EBUSY for the transaction, of which nothing is in force then; the whole comparison that follows finds the rule.
  const result = await node.apply(deletion('Service', 'web-4'), ...upserts(...web(1, 2)));
  expect(result).toMatchObject({ failures: [], isFull: true });
  expect(await rules(chain)).toBe(`-N ${chain}\n`);
  expect(await rules('OUTPUT')).toContain(`-d 192.0.2.9/32 -j ${chain}`);
  expect(await rules('KUBE-SERVICES')).not.toContain('web-4');
  await expectInForce();
});

test('what does not fit the socket even by itself is named', async () => {
  await restart(200);
  for (const result of [await node.apply(...STEPS[0]!()), await node.retry()]) {
    expect(result.failures).toMatchObject([{ services: [], error: { code: 'EMSGSIZE' } }]);
    expect(failuresOf(result)[0]).toMatch(/^-t \w+ -[AN] KUBE-/);
  }
  await restart();
  expect(failuresOf(await node.apply(...STEPS[0]!()))).toEqual([]);
  await expectInForce();
});
