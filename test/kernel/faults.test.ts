// The real kernel behind a transport that fails, lies and loses: whatever happens is reported, nothing is lost, no
// verdict ever leads nowhere, and in the end the kernel holds what was asked for.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SyncResult } from '../../src/daemon/backend.ts';
import { KernelError } from '../../src/errors.ts';
import {
  DisturbedNetlink,
  failure,
  interrupted,
  isBatch,
  isElementQuery,
  type Pass,
  renameInElements,
  withoutEnd,
  withWords,
} from '../support/disturbed-netlink.ts';
import {
  brokenVerdicts,
  compare,
  deletion,
  InProcessProxy,
  LISTED,
  upserts,
} from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

let netns: Netns;
let netlink: RemoteNetlink;
let disturbed: DisturbedNetlink;
let proxy: InProcessProxy;

beforeAll(async () => {
  netns = await Netns.create('faults');
  netlink = await RemoteNetlink.open(netns);
});

afterAll(async () => {
  netlink?.close();
  await netns?.delete();
});

beforeEach(() => restart());

async function restart(sendBufferBytes?: number): Promise<void> {
  await netns.exec(['nft', 'flush', 'ruleset']);
  disturbed = new DisturbedNetlink(netlink, sendBufferBytes);
  proxy = new InProcessProxy(disturbed);
}

const PORT = { name: 'http', port: 80 } as const;

/** A Service with a cluster IP, a node port and `count` endpoints. */
function web(n: number, count: number, port = 8080): object[] {
  const endpoints = Array.from({ length: count }, (_, i) => `10.1.${n}.${i + 1}`);
  return [
    service(`web-${n}`, { clusterIps: [`10.96.0.${n}`], ports: [{ ...PORT, nodePort: 30000 + n }] }),
    slice(`web-${n}`, `web-${n}`, { ports: [{ name: 'http', port }], endpoints }),
  ];
}

const failuresOf = ({ failures }: SyncResult): string[] => failures.map(({ error }) => error.message);

async function expectInForce(): Promise<void> {
  expect((await compare(netlink, proxy.store)).now).toEqual([]);
  expect(proxy.backend.problems()).toEqual([]);
  await proxy.flush();
  expect(await compare(netlink, proxy.store)).toEqual({ now: [], later: [] });
}

describe('a transaction that the kernel refuses', () => {
  /** What the kernel is told to go to exists for nobody: it refuses the elements of Services with so many endpoints. */
  const refuse =
    (...counts: number[]) =>
    async (request: Uint8Array, pass: Pass): Promise<Uint8Array[]> => {
      if (!isBatch(request)) return pass(request);
      const rename = (bytes: Uint8Array, count: number) =>
        renameInElements(bytes, `pick-${count}-`, `pick-${'x'.repeat(String(count).length)}-`);
      return (await pass(counts.reduce(rename, request))).map((reply) => withWords(reply, 'no such luck'));
    };

  test('names the Service in the words of the kernel, and stops none of the others', async () => {
    disturbed.disturb = refuse(7);
    const result = await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7), ...web(3, 3)));

    expect(result.failures).toHaveLength(1);
    const [{ error, services }] = result.failures as [SyncResult['failures'][0]];
    expect(services).toEqual(['default/web-2']);
    expect(error).toBeInstanceOf(KernelError);
    expect(error).toMatchObject({ code: 'ENOENT', extAck: 'no such luck' });
    expect(error.message).toMatch(
      /^service default\/web-2: \+ ip (services 10\.96\.0\.2 \. tcp \. 80|nodeports tcp \. 30002) .*ENOENT \(no such luck\)$/,
    );
    expect(proxy.backend.problems()).toEqual([
      { subject: 'Service default/web-2', code: 'REFUSED_BY_KERNEL', reason: error.message },
    ]);
    const { now } = await compare(netlink, proxy.store);
    expect(now.filter((line) => !line.includes('web-2') && !line.includes('10.1.2.'))).toEqual([]);
    expect(now).not.toEqual([]);

    // The others go on changing meanwhile.
    expect(failuresOf(await proxy.apply(...upserts(...web(3, 4))))).toEqual([error.message]);
    expect(proxy.backend.problems()).toHaveLength(1);
    expect((await compare(netlink, proxy.store)).now.filter((line) => line.includes('web-3'))).toEqual([]);

    disturbed.disturb = undefined;
    expect(failuresOf(await proxy.retry())).toEqual([]);
    await expectInForce();
  });

  test('is tried again when the Service changes', async () => {
    disturbed.disturb = refuse(7);
    await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
    expect(failuresOf(await proxy.apply(...upserts(...web(2, 6))))).toEqual([]);
    await expectInForce();
  });

  test('leaves a Service that worked as it was', async () => {
    await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 6)));
    disturbed.disturb = refuse(7);
    expect((await proxy.apply(...upserts(...web(2, 7)))).failures).toHaveLength(1);
    expect(await brokenVerdicts(netlink)).toEqual([]);
    const rows = await netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'services']);
    expect(rows).toMatch(/10\.96\.0\.2 .*goto pick-6-/);
    disturbed.disturb = undefined;
    await proxy.retry();
    await expectInForce();
  });

  test('of a Service that is deleted leaves nothing', async () => {
    disturbed.disturb = refuse(7);
    await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
    const gone = [deletion('Service', 'web-2'), deletion('EndpointSlice', 'web-2')];
    expect(failuresOf(await proxy.apply(...gone))).toEqual([]);
    await expectInForce();
  });

  test('is tried again by the periodic check, however much else changes', async () => {
    disturbed.disturb = refuse(7);
    await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...web(2, 7)));
    disturbed.disturb = undefined;
    expect((await proxy.apply(...upserts(...web(1, 3)))).failures).toHaveLength(1);
    expect(await proxy.backend.hasDrifted()).toBe(true);
    proxy.backend.distrust();
    expect(failuresOf(await proxy.apply(...upserts(...web(1, 4))))).toEqual([]);
    await expectInForce();
  });

  test('twenty at a time are each found out, and the rest is in force', async () => {
    const counts = Array.from({ length: 20 }, (_, i) => 20 + i);
    disturbed.disturb = refuse(...counts);
    const bad = counts.flatMap((count) => web(count, count));
    let result = await proxy.apply(...LISTED, ...upserts(...web(1, 2), ...bad, ...web(3, 3)));
    for (let retries = 0; result.transactions === 0; retries++) {
      expect(retries, failuresOf(result).join('\n')).toBeLessThan(3);
      result = await proxy.retry();
    }
    expect(proxy.backend.problems().map(({ subject }) => subject)).toEqual(
      counts.map((count) => `Service default/web-${count}`),
    );
    expect(result.failures).toHaveLength(20);
    const { now } = await compare(netlink, proxy.store);
    expect(now.filter((line) => /web-[13]\b/.test(line))).toEqual([]);
    disturbed.disturb = undefined;
    await proxy.retry();
    await expectInForce();
  });
});

describe('a socket that fails', () => {
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
    const broken: string[] = [];
    const reports: string[] = [];
    disturbed.disturb = async (request, pass) => {
      if (!isElementQuery(request) && ++requests === n) return fail(request, pass);
      const replies = await pass(request);
      if (isBatch(request)) broken.push(...(await brokenVerdicts(netlink)));
      return replies;
    };
    for (const step of STEPS) {
      for (
        let result = await proxy.apply(...step());
        result.failures.length > 0;
        result = await proxy.retry()
      ) {
        reports.push(...failuresOf(result));
        expect(reports.length, reports.join('\n')).toBeLessThan(3);
      }
      while (proxy.backend.hasDeferred) {
        const { failures } = await proxy.backend.flushDeferred();
        if (failures.length === 0) continue;
        reports.push(failures[0]!.error.message);
        await proxy.retry();
      }
    }
    expect(broken).toEqual([]);
    await expectInForce();
    return { requests, reports };
  }

  const pass = (request: Uint8Array, next: Pass): Promise<Uint8Array[]> => next(request);

  test.each([
    ['EAGAIN before it was sent', 'EAGAIN', 11, false],
    ['EINTR before it was sent', 'EINTR', 4, false],
    ['EMSGSIZE', 'EMSGSIZE', 90, false],
    ['ENOBUFS: the outcome is unknown, and it had taken effect', 'ENOBUFS', 105, true],
    ['EIO after it had taken effect', 'EIO', 5, true],
  ])('%s, at any of its requests: reported, retried, and all is in force', async (_, code, errno, isSent) => {
    const { requests } = await play(Number.POSITIVE_INFINITY, pass);
    for (let n = 1; n <= requests; n += 3) {
      await restart();
      const { reports } = await play(n, async (request, next) => {
        const replies = isSent ? await next(request) : [];
        throw failure(code, errno, replies.slice(0, -1));
      });
      expect(reports, `request ${n} of ${requests}`).toEqual([`sendmsg(NETLINK_NETFILTER): ${code}`]);
    }
  });

  test('counters that cannot be read stop nothing', async () => {
    await proxy.apply(...STEPS[0]!());
    disturbed.disturb = async (request, next) => {
      if (isElementQuery(request)) throw failure('ENOENT', 2);
      return next(request);
    };
    expect(failuresOf(await proxy.apply(...STEPS[1]!()))).toEqual([]);
    await expectInForce();
  });

  test('a dump that was interrupted is asked for again, and nobody is bothered', async () => {
    let left = 5;
    disturbed.disturb = async (request, next) => {
      const replies = await next(request);
      return !isBatch(request) && left-- > 0 ? interrupted(replies) : replies;
    };
    expect(failuresOf(await proxy.apply(...STEPS[0]!()))).toEqual([]);
    expect(left).toBeLessThan(0);
    await expectInForce();
  });

  test('a dump that is always interrupted is given up, reported, and made later', async () => {
    disturbed.disturb = async (request, next) =>
      isBatch(request) ? next(request) : interrupted(await next(request));
    expect(failuresOf(await proxy.apply(...STEPS[0]!()))).toEqual([expect.stringMatching(/: EINTR$/)]);
    expect(await netns.exec(['nft', 'list', 'ruleset'])).toBe('');
    disturbed.disturb = undefined;
    expect(failuresOf(await proxy.retry())).toEqual([]);
    await expectInForce();
  });

  test('a dump without its end is no dump', async () => {
    await proxy.apply(...STEPS[0]!());
    proxy.backend.distrust();
    disturbed.disturb = async (request, next) => withoutEnd(await next(request));
    expect(failuresOf(await proxy.apply(...STEPS[1]!()))).toEqual([expect.stringMatching(/no end/)]);
    disturbed.disturb = undefined;
    expect(failuresOf(await proxy.retry())).toEqual([]);
    await expectInForce();
  });

  test('somebody who writes during every dump delays us, and no longer than he does it', async () => {
    let writes = 0;
    const limit = { count: 6 };
    disturbed.disturb = async (request, next) => {
      const replies = await next(request);
      if (!isBatch(request) && writes < limit.count) {
        writes++;
        await netns.exec(['nft', 'add', 'table', 'inet', `other-${writes}`]);
      }
      return replies;
    };
    expect(failuresOf(await proxy.apply(...STEPS[0]!()))).toEqual([]);
    await expectInForce();

    limit.count = Number.POSITIVE_INFINITY;
    proxy.backend.distrust();
    expect(failuresOf(await proxy.apply(...STEPS[1]!()))).toEqual([
      expect.stringMatching(/others kept writing/),
    ]);
    disturbed.disturb = undefined;
    expect(failuresOf(await proxy.retry())).toEqual([]);
    await expectInForce();
  });
});

describe('a small send buffer', () => {
  const SMALL = 32 * 1024;

  /** No verdict is missing or leads nowhere after any batch. */
  function watch(vips: number): string[] {
    const broken: string[] = [];
    disturbed.disturb = async (request, pass) => {
      const replies = await pass(request);
      if (!isBatch(request)) return replies;
      broken.push(...(await brokenVerdicts(netlink)));
      const map = await netns.exec(['nft', 'list', 'map', 'ip', 'kproxy-ts', 'services']);
      const present = map.split(' goto ').length - 1;
      if (present < vips) broken.push(`${present} of ${vips} verdicts after a batch`);
      return replies;
    };
    return broken;
  }

  test('takes several transactions, and no packet meets a gap between them', async () => {
    await restart(SMALL);
    const numbers = Array.from({ length: 120 }, (_, i) => i + 1);
    const load = await proxy.apply(...LISTED, ...upserts(...numbers.flatMap((n) => web(n, 2))));
    expect(failuresOf(load)).toEqual([]);
    expect(load.transactions).toBeGreaterThan(3);
    await expectInForce();
    // Everything at once, new chains included.
    const broken = watch(120);
    expect(
      failuresOf(await proxy.apply(...upserts(...numbers.flatMap((n) => web(n, 3 + (n % 40)))))),
    ).toEqual([]);
    expect(broken).toEqual([]);
    expect(Math.max(...disturbed.batchBytes)).toBeLessThanOrEqual(SMALL);
    await expectInForce();
  });

  test('a restart that has much to write moves the node-port addresses too', async () => {
    await restart(SMALL);
    const numbers = Array.from({ length: 120 }, (_, i) => i + 1);
    await proxy.apply(...LISTED, ...upserts(...numbers.flatMap((n) => web(n, 2))));
    await proxy.flush();
    await netns.exec(['nft', '-f', '-'], {
      input: `flush map ip kproxy-ts services\nflush map ip kproxy-ts endpoints
        flush set ip kproxy-ts nodeport-addresses
        add element ip kproxy-ts nodeport-addresses { 192.168.0.0/16 }`,
    });
    proxy.backend.distrust();
    expect(failuresOf(await proxy.retry())).toEqual([]);
    await expectInForce();
  });
});
