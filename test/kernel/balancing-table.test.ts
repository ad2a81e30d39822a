// The table with affinity and schedulers in it, as others see and treat it: nft lists and re-loads it, edits are found and
// undone whatever they did to ids and chains, `kproxy-ts table` says what it does.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { vipTableRows } from '../../src/mode/nftables/rows.ts';
import { type FrontendSpec, FrontendsInKernel, frontend } from '../support/frontends.ts';
import { deadEnds, FAMILIES } from '../support/in-process-proxy.ts';
import { Netns } from '../support/netns/netns.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const PODS = ['10.1.0.11:8080', '10.1.0.12:8080', '10.1.0.13:8080'];
const PODS6 = ['[fd00:10:1::11]:8080', '[fd00:10:1::12]:8080'];
const HOUR = 3600;

const SPECS: readonly FrontendSpec[] = [
  { address: '10.96.0.1', affinityTimeoutSeconds: 3 * HOUR, masquerade: 'always', backends: PODS },
  { address: '10.96.0.2', scheduler: 'rr', affinityTimeoutSeconds: 90, backends: PODS },
  { address: '10.96.0.3', scheduler: 'sh', backends: PODS },
  { address: '10.96.0.4', scheduler: 'rr', backends: PODS },
  { port: 30080, scheduler: 'mh', affinityTimeoutSeconds: 600, backends: PODS },
  { port: 30081, affinityTimeoutSeconds: HOUR, backends: PODS.slice(1), insideBackends: PODS },
  { address: '10.96.0.5', backends: ['10.1.0.11:8080*3', '10.1.0.12:8080'] },
];
const SPECS6: readonly FrontendSpec[] = [
  { address: 'fd00:10:96::3', scheduler: 'sh', backends: PODS6 },
  { address: 'fd00:10:96::4', scheduler: 'rr', backends: PODS6 },
  { port: 30080, scheduler: 'mh', backends: PODS6 },
];

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

beforeEach(() => netns.exec(['nft', 'flush', 'ruleset']));

const nft = (input: string): Promise<string> => netns.exec(['nft', '-f', '-'], { input });
const list = (...args: string[]): Promise<string> => netns.exec(['nft', '-s', 'list', ...args]);

/** A daemon that starts, does what it has to do, and ends: its rules stay. */
async function start(specs: readonly FrontendSpec[] = SPECS): Promise<FrontendsInKernel> {
  const kernel = new FrontendsInKernel(netlink);
  const { failures } = await kernel.set(...specs.map((spec) => frontend('web', spec)));
  expect(failures).toEqual([]);
  await kernel.flush();
  return kernel;
}

const lines = (listing: string): string[] => listing.split('\n').sort();

test('nft re-loads what it lists, in another namespace too, and then there is nothing to write', async () => {
  const kernel = await start([...SPECS, ...SPECS6]);
  const listing = await list('ruleset');
  for (const word of [
    'rr-3-sticky-90-10.96.0.2/tcp/80',
    'update @affinity',
    'nodeport-stick-600',
    'numgen inc mod 3',
  ])
    expect(listing).toContain(word);
  await nft(`flush ruleset\n${listing}`);
  expect(lines(await list('ruleset'))).toEqual(lines(listing));
  expect(await kernel.compare()).toEqual({ now: [], later: [] });
  expect(await kernel.restart()).toMatchObject({ failures: [], writes: 0 });

  const other = await Netns.create('elsewhere');
  try {
    await other.exec(['nft', '-f', '-'], { input: listing });
    expect(lines(await other.exec(['nft', '-s', 'list', 'ruleset']))).toEqual(lines(listing));
  } finally {
    await other.delete();
  }
});

test('nft lists affinity over IPv6', async () => {
  await start([{ address: 'fd00:10:96::1', affinityTimeoutSeconds: HOUR, backends: PODS6 }]);
  expect(await list('chain', 'ip6', 'kproxy-ts', 'stick-3600')).toContain(
    'meta priority != none update @affinity { ip6 saddr . ip6 daddr . meta l4proto . th dport timeout 1h : meta priority }',
  );
});

test('rows say how connections are balanced, and to whom', async () => {
  await start();
  const { observed } = await new NftSession(netlink).observe(FAMILIES);
  const rows = vipTableRows(observed).map(({ address, port, action, backends }) => [
    `${address}:${port}`,
    action,
    backends.map((one) => `${one.address}:${one.port}`).sort(),
  ]);
  expect(rows).toEqual(
    expect.arrayContaining([
      ['10.96.0.1:80', 'balance, affinity 3h', PODS],
      ['10.96.0.2:80', 'balance rr, affinity 90s', PODS],
      ['10.96.0.3:80', 'balance sh', PODS],
      ['10.96.0.4:80', 'balance rr', PODS],
      ['*:30080', 'balance mh, affinity 10m', PODS],
      ['*:30081', 'balance, affinity 1h', PODS.slice(1)],
      ['10.96.0.5:80', 'balance', PODS.slice(0, 2)],
    ]),
  );
});

/** The id of a chain, as nft prints it. */
async function idOf(chain: string): Promise<string> {
  const listing = await list('map', 'ip', 'kproxy-ts', 'shapes');
  return new RegExp(`(\\S+) : goto ${chain}[ ,]`).exec(listing)![1]!;
}

async function backendIdOf(vip: string, pod: string): Promise<string> {
  const listing = await list('map', 'ip', 'kproxy-ts', 'picked');
  return new RegExp(`${vip} \\. tcp \\. 80 \\. (\\S+) : ${pod} `).exec(listing)![1]!;
}

const STICKY = 'pick-3-sticky-10800-masquerade';

describe('an edit is found at start', () => {
  test.each([
    [
      'a shape that leads to the chain of another',
      async () =>
        nft(`delete element ip kproxy-ts shapes { ${await idOf(STICKY)} }
           add element ip kproxy-ts shapes { ${await idOf(STICKY)} : goto sh-3 }`),
    ],
    [
      'a shape that leads to a chain of no shape',
      async () =>
        nft(`delete element ip kproxy-ts shapes { ${await idOf(STICKY)} }
           add element ip kproxy-ts shapes { ${await idOf(STICKY)} : goto refuse }`),
    ],
    [
      'two shapes that changed places',
      async () => {
        const [a, b] = [await idOf(STICKY), await idOf('sh-3')];
        await nft(`delete element ip kproxy-ts shapes { ${a}, ${b} }
                 add element ip kproxy-ts shapes { ${a} : goto sh-3, ${b} : goto ${STICKY} }`);
      },
    ],
    ['two ids for one chain', () => nft(`add element ip kproxy-ts shapes { 8000:ff : goto ${STICKY} }`)],
    [
      'the last id of all for one chain',
      () => nft(`add element ip kproxy-ts shapes { ffff:fffe : goto ${STICKY} }`),
    ],
    [
      'an id with a chain of its own',
      () =>
        nft(`add chain ip kproxy-ts mine { counter; }
       add element ip kproxy-ts shapes { 8000:77 : goto mine }`),
    ],
    [
      'an id that leads to a chain with a name like ours',
      () =>
        nft(`add chain ip kproxy-ts pick-2-sticky-60 { counter; }
       add element ip kproxy-ts shapes { 8000:77 : goto pick-2-sticky-60 }`),
    ],
    [
      'a small id that leads to a chain of ours',
      () => nft(`add element ip kproxy-ts shapes { 0:7 : goto ${STICKY} }`),
    ],
    [
      'an id of the inside that leads to a chain for all',
      async () => nft('add element ip kproxy-ts inside-shapes { 8000:7 : goto choose }'),
    ],
    ['no ids', () => nft('flush map ip kproxy-ts inside-shapes\nflush map ip kproxy-ts shapes')],
    ['an empty chain of a shape', () => nft(`flush chain ip kproxy-ts ${STICKY}`)],
    ['an empty subroutine', () => nft('flush chain ip kproxy-ts learn-10800')],
    ['a subroutine with another rule', () => nft('insert rule ip kproxy-ts stick-10800 accept')],
    ['an extra subroutine', () => nft('add chain ip kproxy-ts stick-77 { counter; }')],
    ['picks flushed', () => nft('flush map ip kproxy-ts picks')],
    [
      'backends flushed',
      () => nft('flush map ip kproxy-ts picked\nflush map ip kproxy-ts inside-nodeport-picked'),
    ],
    [
      'a pick of nobody',
      () =>
        nft(`delete element ip kproxy-ts picks { 10.96.0.1 . tcp . 80 . 0:1 }
       add element ip kproxy-ts picks { 10.96.0.1 . tcp . 80 . 0:1 : 7:7 }`),
    ],
    ['an extra pick', () => nft('add element ip kproxy-ts picks { 10.96.0.1 . tcp . 80 . 0:3 : 7:7 }')],
    [
      'an extra backend',
      () => nft('add element ip kproxy-ts picked { 10.96.0.1 . tcp . 80 . 7:7 : 10.1.0.66 . 80 }'),
    ],
    [
      'a backend under an id that nobody gives out',
      () => nft('add element ip kproxy-ts picked { 10.96.0.1 . tcp . 80 . none : 10.1.0.11 . 8080 }'),
    ],
    [
      'a backend under two ids',
      () => nft('add element ip kproxy-ts picked { 10.96.0.1 . tcp . 80 . 7:7 : 10.1.0.11 . 8080 }'),
    ],
    [
      'another backend under an id',
      async () => {
        const id = await backendIdOf('10.96.0.1', '10.1.0.12');
        await nft(`delete element ip kproxy-ts picked { 10.96.0.1 . tcp . 80 . ${id} }
                 add element ip kproxy-ts picked { 10.96.0.1 . tcp . 80 . ${id} : 10.1.0.66 . 80 }`);
      },
    ],
    [
      'a map of clients that packets cannot write',
      () =>
        nft(`flush chain ip kproxy-ts nodeport-stick-600
       flush chain ip kproxy-ts nodeport-learn-600
       flush chain ip kproxy-ts nodeport-stick-3600
       flush chain ip kproxy-ts nodeport-learn-3600
       delete map ip kproxy-ts nodeport-affinity
       add map ip kproxy-ts nodeport-affinity { typeof ip saddr . meta l4proto . th dport : meta priority; }`),
    ],
  ] as const)('%s', async (_, edit) => {
    const kernel = await start();
    await edit();
    const damage = await kernel.compare();
    expect([...damage.now, ...damage.later]).not.toEqual([]);
    expect(await kernel.restart()).toMatchObject({ failures: [] });
    await kernel.flush();
    expect(await deadEnds(netlink)).toEqual([]);
    expect(await kernel.compare()).toEqual({ now: [], later: [] });
    const listing = await list('map', 'ip', 'kproxy-ts', 'shapes');
    const chains = [...listing.matchAll(/goto ([^ ,]+)/g)].map(([, chain]) => chain);
    expect(new Set(chains).size, 'one id per chain').toBe(chains.length);
    expect(await kernel.restart()).toMatchObject({ failures: [], writes: 0 });
    await kernel.flush();

    // And what is new gets an id that is nobody's.
    const ids = new Set([...listing.matchAll(/(\S+) : goto/g)].map(([, id]) => id));
    await kernel.set(frontend('new', { address: '10.96.0.9', scheduler: 'rr', backends: PODS }));
    expect(ids).not.toContain(await idOf('rr-3-10\\.96\\.0\\.9/tcp/80'));
    expect(await kernel.compare()).toEqual({ now: [], later: [] });
  });

  test('chains that nobody needs, one of which jumps to one that was edited', async () => {
    const kernel = await start();
    await start(SPECS.slice(2));
    await nft('insert rule ip kproxy-ts stick-10800 accept');
    expect(await list('chains')).toContain(`chain ${STICKY}`);
    const next = new FrontendsInKernel(netlink);
    const specs = SPECS.slice(2).map((spec) => frontend('web', spec));
    expect(await next.set(...specs)).toMatchObject({ failures: [] });
    await next.flush();
    expect(await list('chains')).not.toMatch(/sticky-10800|stick-10800/);
    expect(await list('chains')).toContain('chain stick-90');
    expect(await next.compare()).toEqual({ now: [], later: [] });
    expect(await kernel.restart()).toMatchObject({ failures: [] });
  });

  test('clients stay where they were', async () => {
    const kernel = await start();
    const id = await backendIdOf('10.96.0.1', '10.1.0.12');
    await nft(`add element ip kproxy-ts affinity { 192.0.2.1 . 10.96.0.1 . tcp . 80 timeout 3h : ${id} }`);
    await nft('flush map ip kproxy-ts picks\nflush chain ip kproxy-ts stick-10800');
    await kernel.restart();
    await kernel.flush();
    expect(await list('map', 'ip', 'kproxy-ts', 'affinity')).toContain(
      '192.0.2.1 . 10.96.0.1 . tcp . 80 timeout 3h',
    );
    expect(await backendIdOf('10.96.0.1', '10.1.0.12')).toBe(id);
  });
});
