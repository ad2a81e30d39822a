// iptables mode: what somebody else did to our chains is told by the kernel, found, and undone in under a second; what is
// not ours is never touched, moved or looked at.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { servicePortHash } from '../../src/mode/iptables/names.ts';
import { LISTED, upserts } from '../support/in-process-proxy.ts';
import { service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';
import { IptablesNode, saved } from './iptables-node.ts';

const OBJECTS = [
  service('web', {
    clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
    ports: [{ name: 'http', port: 80, nodePort: 30080 }],
    externalIps: ['203.0.113.7'],
  }),
  slice('web', 'web-4', { ports: [{ name: 'http', port: 8080 }], endpoints: ['10.1.0.11', '10.1.0.12'] }),
  slice('web', 'web-6', { ports: [{ name: 'http', port: 8080 }], endpoints: ['fd00:10:1::11'] }),
  service('empty', { clusterIps: ['10.96.0.2'], ports: [{ port: 53, protocol: 'UDP' }] }),
];

/** What Docker, a CNI plug-in, firewalld and kubelet leave there. */
const OTHERS = `*nat
:DOCKER - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:INPUT DROP [0:0]
:cali-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -i lo -j ACCEPT
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A cali-FORWARD -p tcp -m multiport --dports 80,443 -j ACCEPT
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
*raw
:cali-PREROUTING - [0:0]
-A PREROUTING -j cali-PREROUTING
COMMIT
`;
/** In front of our jumps, between them, and behind. */
const AROUND = `*filter
-I INPUT 1 -s 192.0.2.1/32 -j DROP
-I INPUT 3 -s 192.0.2.2/32 -j DROP
-A INPUT -s 192.0.2.3/32 -j DROP
-I FORWARD 2 -s 192.0.2.4/32 -j RETURN
COMMIT
*nat
-I PREROUTING 1 -s 192.0.2.5/32 -j RETURN
-A POSTROUTING -s 192.0.2.6/32 -j RETURN
COMMIT
`;

describe('a proxy that is told', () => {
  let node: IptablesNode;
  let before: string[];
  let before6: string[];

  beforeAll(async () => {
    node = await IptablesNode.create('ipt-drift');
  });

  afterAll(() => node?.delete());

  beforeEach(async () => {
    await node.nft('flush ruleset');
    await restore(OTHERS);
    node.restart();
    expect(await node.apply(...LISTED, ...upserts(...OBJECTS))).toMatchObject({ failures: [] });
    await restore(AROUND);
    await node.caughtUp();
    expect(node.suspicions).toBe(1);
    // Rules of others in chains of the hooks make it look there, and no further.
    expect(await node.check()).toMatchObject({ writes: 0, isFull: false, failures: [] });
    [before, before6] = [await saved(node.netns), await saved(node.netns, 'ip6tables')];
    node.suspicions = 0;
  });

  const restore = (input: string): Promise<string> =>
    node.netns.exec(['iptables-nft-restore', '--noflush'], { input });
  const noticed = async (): Promise<void> => {
    await node.caughtUp();
    expect(node.suspicions).toBe(1);
  };

  /** The name of the first chain that begins so. */
  const chain = (prefix: string): string =>
    before
      .find((line) => line.startsWith(`:${prefix}`))!
      .slice(1)
      .split(' ')[0]!;

  test.each<[string, readonly string[], () => string[][]]>([
    ['the entrance flushed', [], () => [['-t', 'nat', '-F', 'KUBE-SERVICES']]],
    ['a rule of a Service deleted', [], () => [['-t', 'nat', '-D', chain('KUBE-SVC-'), '1']]],
    ['a rule of an endpoint in front', [], () => [['-t', 'nat', '-I', chain('KUBE-SEP-'), '-j', 'ACCEPT']]],
    [
      'a rule of an endpoint replaced',
      [],
      () => [['-t', 'nat', '-R', chain('KUBE-SEP-'), '2', '-j', 'ACCEPT']],
    ],
    ['a jump deleted', ['at the top'], () => [['-t', 'nat', '-D', 'PREROUTING', '2']]],
    [
      'a jump moved to the end',
      ['moved'],
      () => [
        ['-D', 'INPUT', '2'],
        [
          '-A',
          'INPUT',
          '-m',
          'conntrack',
          '--ctstate',
          'NEW',
          '-m',
          'comment',
          '--comment',
          'kubernetes load balancer firewall',
          '-j',
          'KUBE-PROXY-FIREWALL',
        ],
      ],
    ],
    [
      'a jump there twice',
      [],
      () => [
        [
          '-t',
          'nat',
          '-A',
          'PREROUTING',
          '-m',
          'comment',
          '--comment',
          'kubernetes service portals',
          '-j',
          'KUBE-SERVICES',
        ],
      ],
    ],
    ['a chain made', [], () => [['-t', 'nat', '-N', 'KUBE-SVC-AAAAAAAAAAAAAAAA']]],
    [
      'a chain deleted, and what led there',
      [],
      () => [
        ['-t', 'nat', '-D', 'POSTROUTING', '1'],
        ['-t', 'nat', '-F', 'KUBE-POSTROUTING'],
        ['-t', 'nat', '-X', 'KUBE-POSTROUTING'],
      ],
    ],
    ['the canary deleted', [], () => [['-t', 'mangle', '-X', 'KUBE-PROXY-CANARY']]],
  ])('%s: only those chains are compared', async (_, kinds, edits) => {
    for (const edit of edits()) await node.iptables(...edit);
    await noticed();
    const damaged = await saved(node.netns);
    expect(damaged).not.toEqual(before);
    const isMoved = kinds.includes('moved');
    const isAtTop = kinds.includes('at the top');
    expect(await node.check()).toMatchObject({
      isFull: false,
      failures: [],
      writes: isMoved ? 0 : expect.any(Number),
    });
    const now = await saved(node.netns);
    if (isAtTop) {
      // Where kube-proxy would put it; the others keep their order.
      expect(now.filter((line) => damaged.includes(line))).toEqual(damaged);
      expect(now.toSorted()).toEqual(before.toSorted());
    } else expect(now).toEqual(isMoved ? damaged : before);
    expect(await node.differences()).toEqual([]);
    expect(await node.check(), 'what we wrote ourselves').toBeUndefined();
  });

  test('a stray chain that a rule of somebody else leads to is emptied, and stays', async () => {
    const stray = ['KUBE-FW-AAAAAAAAAAAAAAAA'];
    await node.iptables('-N', ...stray);
    await node.iptables('-A', ...stray, '-j', 'DROP');
    await node.iptables('-A', 'FORWARD', '-d', '192.0.2.9', '-j', ...stray);
    await noticed();
    expect(await node.check()).toMatchObject({ failures: [] });
    expect(await saved(node.netns)).toEqual(
      expect.arrayContaining([...before, `:${stray} -`, `-A FORWARD -d 192.0.2.9/32 -j ${stray}`]),
    );
    expect(await node.iptables('-S', ...stray)).toBe(`-N ${stray}\n`);
    expect(await node.check()).toBeUndefined();
  });

  test.each([
    ['nat flushed', '*nat\nCOMMIT\n', 'iptables'],
    ['filter flushed, policies set', '*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n', 'iptables'],
    ['nat of IPv6 flushed', '*nat\nCOMMIT\n', 'ip6tables'],
  ])('%s by iptables-restore: ours come back, policies stay', async (_, input, program) => {
    await node.netns.exec([`${program}-nft-restore`], { input });
    await noticed();
    const left = (await saved(node.netns)).filter((line) => /^:(INPUT|FORWARD|OUTPUT) /.test(line));
    expect((await node.check())?.failures).toEqual([]);
    expect(await node.differences()).toEqual([]);
    const ours = (lines: string[]) =>
      lines.filter((line) => line.includes('KUBE-') && !line.includes('KUBELET'));
    const now = await saved(node.netns);
    for (const line of ours(before)) if (!/KUBE-FIREWALL/.test(line)) expect(now).toContain(line);
    expect(await saved(node.netns, 'ip6tables')).toEqual(before6);
    expect(now).toEqual(expect.arrayContaining(left));
  });

  test.each([
    ['the ruleset flushed', 'flush ruleset'],
    ['a table deleted', 'delete table ip nat'],
  ])('%s', async (_, edit) => {
    await node.nft(edit);
    await noticed();
    expect(await node.check()).toMatchObject({ failures: [], isFull: true });
    expect(await node.differences()).toEqual([]);
    expect(await node.check()).toBeUndefined();
  });

  test('a change that comes before the check finds the chain as it shall be', async () => {
    await node.iptables('-t', 'nat', '-I', chain('KUBE-SVC-'), '-j', 'ACCEPT');
    await noticed();
    const endpoints = ['10.1.0.12', '10.1.0.13'];
    const changed = slice('web', 'web-4', { ports: [{ name: 'http', port: 8080 }], endpoints });
    expect(await node.apply(...upserts(changed))).toMatchObject({ failures: [], isFull: false });
    expect(node.warnings).toEqual(['repaired what somebody else had changed']);
    expect(await node.differences()).toEqual([]);
  });

  test('programs that write their own chains all the time are none of our business', async () => {
    const chains = ['DOCKER', 'CNI-HOSTPORT-DNAT'];
    const questions = node.disturbed;
    let asked = 0;
    questions.disturb = (request, pass) => {
      asked++;
      return pass(request);
    };
    for (let i = 0; i < 40; i++) {
      await node.iptables(
        '-t',
        'nat',
        i % 2 === 0 ? '-A' : '-D',
        chains[(i >> 1) % 2]!,
        '-s',
        '192.0.2.7',
        '-j',
        'RETURN',
      );
      expect(await node.backend.hasDrifted()).toBe(false);
    }
    await node.nft(
      'add table ip mine; add chain ip mine KUBE-SERVICES; add rule ip mine KUBE-SERVICES accept',
    );
    await node.nft(
      'add table inet nat; add chain inet nat KUBE-SERVICES; add rule inet nat KUBE-SERVICES accept',
    );
    await node.caughtUp();
    expect([node.suspicions, asked]).toEqual([0, 0]);
    // Nor are its own changes noticed.
    const changed = slice('web', 'web-4', {
      ports: [{ name: 'http', port: 8080 }],
      endpoints: ['10.1.0.12', '10.1.0.13'],
    });
    expect((await node.apply(...upserts(changed))).writes).toBeGreaterThan(0);
    await node.caughtUp();
    expect(await node.backend.hasDrifted()).toBe(false);
    expect(node.suspicions).toBe(0);
  });
});

/** What somebody does, with a program of the backend or with nft: it, its arguments, and what it is told on its input. */
interface Edit {
  readonly program: 'iptables' | 'iptables-restore' | 'nft';
  readonly args: readonly string[];
  readonly input?: string;
  /** The only backend that it is tried with. */
  readonly on?: 'nft';
}

/** What a firewall service loads at its reload: what it knows, in place of all that is there. */
const RELOAD = `*mangle
COMMIT
*nat
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -i lo -j ACCEPT
COMMIT
`;
const WEB_CHAIN = `KUBE-SVC-${servicePortHash('default/web:http', 'TCP')}`;
const WEB_EXTERNALLY = `KUBE-EXT-${servicePortHash('default/web:http', 'TCP')}`;
const DELETE_CHAIN = `*nat
:KUBE-SERVICES - [0:0]
:${WEB_EXTERNALLY} - [0:0]
:${WEB_CHAIN} - [0:0]
-X ${WEB_CHAIN}
COMMIT
`;
const EDITS: Readonly<Record<string, Edit>> = {
  'iptables -t nat -F KUBE-SERVICES': {
    program: 'iptables',
    args: ['-t', 'nat', '-F', 'KUBE-SERVICES'],
    on: 'nft',
  },
  'iptables -t nat -F': { program: 'iptables', args: ['-t', 'nat', '-F'], on: 'nft' },
  'iptables -F': { program: 'iptables', args: ['-F'], on: 'nft' },
  'a deleted jump': { program: 'iptables', args: ['-t', 'nat', '-D', 'PREROUTING', '1'] },
  'a deleted chain': { program: 'iptables-restore', args: ['--noflush'], input: DELETE_CHAIN, on: 'nft' },
  'all tables loaded anew by iptables-restore': { program: 'iptables-restore', args: [], input: RELOAD },
  'nft flush ruleset': { program: 'nft', args: ['flush', 'ruleset'], on: 'nft' },
};

describe.each([
  // The kernel tells.
  { backend: 'nft', flags: [], limitMs: 1000 },
  // The canary is looked for at every check; all rules are compared as often as that takes one per cent of the time.
  { backend: 'legacy', flags: ['--iptables-backend=legacy', '--sync-period=500ms'], limitMs: 25_000 },
])('the daemon with the tables of $backend', ({ backend, flags, limitMs }) => {
  const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
  let node: TestNode;
  let daemon: Daemon;
  let folder: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-drift-'));
    // The lock of this machine is not ours to hold.
    env = { XTABLES_LOCKFILE: join(folder, 'xtables.lock') };
    node = await TestNode.create(2);
    node.manifests.put(
      'web',
      service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
      slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(1), podIp(2)] }),
    );
    daemon = Daemon.start(node.netns, [...node.flags, '-v=2', '--proxy-mode=iptables', ...flags], env);
    await daemon.rulesInForce();
  });

  afterAll(async () => {
    await node?.delete();
    rmSync(folder, { recursive: true });
  });

  const run = ({ program, args, input = '' }: Edit): Promise<string> =>
    node.netns.exec([program.replace('iptables', `iptables-${backend}`), ...args], { env, input });
  const iptables = (...args: string[]): Promise<string> => run({ program: 'iptables', args });
  const rules = async (): Promise<string[]> =>
    (await node.netns.exec([`iptables-${backend}-save`], { env }))
      .split('\n')
      .filter((line) => /^-A|^:KUBE-/.test(line));
  const ours = (lines: readonly string[]): string[] => lines.filter((line) => line.includes('KUBE-')).sort();

  const edits = Object.entries(EDITS).filter(([, { on = backend }]) => on === backend);
  test.each(edits)('%s: repaired in time while clients go on, and told', async (_, edit) => {
    const before = await rules();
    const client = node.topology.client.agent();
    const held = await client.hold({ ...WEB, intervalMs: 20 });
    const load = await client.startLoad({ ...WEB, timeoutMs: 250 });
    const from = daemon.log.length;
    await run(edit);
    const [editedAtMs, startMs] = [Date.now(), performance.now()];
    const line = await daemon.waitForLog('repaired', { from, timeoutMs: limitMs });
    expect(performance.now() - startMs).toBeLessThan(limitMs);
    expect(line).toMatchObject({ level: 'warn', cause: 'drift' });
    expect(Number(line['writes'])).toBeGreaterThan(0);
    await expect.poll(async () => ours(await rules()), { timeout: limitMs }).toEqual(ours(before));
    const { total } = await load.peek();
    await expect.poll(async () => (await load.peek()).total, { timeout: 5000 }).toBeGreaterThan(total + 50);
    const tally = await load.stop();
    // Asked in the last moment, and not answered.
    const late = tally.failures.filter(({ atMs }) => atMs > editedAtMs + limitMs + 250);
    expect(late).toEqual([]);
    expect(tally.outcomes.reply).toBeGreaterThan(50);
    // Who was connected did not notice.
    expect(await held.release()).toMatchObject({ outcome: 'reply', server: held.first.server! });
  });

  test('who writes in chains of others makes it do nothing at all', async () => {
    await iptables('-t', 'nat', '-N', 'DOCKER');
    await iptables('-t', 'nat', '-A', 'DOCKER', '-j', 'RETURN');
    const from = daemon.log.length;
    const generation = await node.generation();
    const before = await rules();
    const each = async (what: string): Promise<void> => {
      for (let i = 0; i < 10; i++) await iptables('-t', 'nat', what, 'DOCKER', '-s', `192.0.2.${i}`);
    };
    await each('-A');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await each('-D');
    expect(await node.generation()).toBe(generation + (backend === 'nft' ? 20 : 0));
    expect(await rules()).toEqual(before);
    expect(daemon.log.slice(from)).toEqual([]);
  });

  // Where the kernel tells of nothing, repairs are as rare as the looks.
  if (backend === 'legacy') return;
  test('a fight with somebody who always undoes it costs ten repairs a second, each of them told', async () => {
    const from = daemon.log.length;
    const seconds = 2;
    const undo = `while :; do iptables-${backend} -t nat -F KUBE-POSTROUTING; done`;
    const { status } = await node.netns.tryExec(['timeout', `${seconds}`, 'sh', '-c', undo], { env });
    expect(status).toBe(124);
    const told = daemon.log.slice(from).filter(({ msg }) => msg.includes('repaired'));
    expect(told.length).toBeGreaterThan(0);
    const times = told.map(({ time }) => Date.parse(String(time)));
    const pauses = times.slice(1).map((time, i) => time - times[i]!);
    for (const pause of pauses) expect(pause).toBeGreaterThanOrEqual(100);
    // In the end the last word is ours.
    await expect
      .poll(async () => (await rules()).filter((line) => line.startsWith('-A KUBE-POSTROUTING')).length, {
        timeout: limitMs,
      })
      .toBe(3);
    expect(await node.topology.client.agent().probe(WEB)).toMatchObject({ outcome: 'reply' });
  });
});
