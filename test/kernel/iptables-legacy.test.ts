// iptables mode on a host of iptables-legacy: the kernel's ip_tables, the real programs, real packets. Each test has network
// namespaces of its own, and a lock file of its own: the one of this machine is not ours to hold.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SyncResult } from '../../src/daemon/backend.ts';
import { chooseVariant } from '../../src/daemon/iptables/choose-backend.ts';
import { IptablesBackend } from '../../src/daemon/iptables/iptables-backend.ts';
import { type RunProgram, runProgram } from '../../src/daemon/iptables/legacy-program.ts';
import { LegacyIptablesTables } from '../../src/daemon/iptables/legacy-tables.ts';
import { LegacyTool } from '../../src/daemon/iptables/legacy-tool.ts';
import { planAgainst } from '../../src/daemon/iptables/plan-against.ts';
import { createLog } from '../../src/daemon/log.ts';
import { NftConnection } from '../../src/daemon/nft-connection.ts';
import { Desired } from '../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../src/mode/iptables/fixed-chains.ts';
import type { PlannedChain } from '../../src/mode/iptables/planned-chain.ts';
import { type Ip, type IpFamily, parseCidr } from '../../src/model/ip.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import { formatIptablesRule } from '../../src/netlink/iptables/format.ts';
import { parseIptablesRule } from '../../src/netlink/iptables/parse.ts';
import { parseIptablesSave } from '../../src/netlink/iptables/parse-save.ts';
import type { IptablesRule } from '../../src/netlink/iptables/rule.ts';
import type { IptablesTable } from '../../src/netlink/iptables/tables.ts';
import type { Backend, Frontend } from '../../src/vip/frontend.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import { someService, surroundings } from '../mode/iptables/arbitrary-services.ts';
import { anyRule, CHAINS } from '../netlink/iptables/arbitrary.ts';
import { Netns } from '../support/netns/netns.ts';
import { GATEWAY, NODE, NodeTopology, POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';
import { RemoteNetlink } from '../support/remote-netlink.ts';

const SETTINGS: RuleSettings = {
  masqueradeBit: 14,
  servesLocalhostNodePorts: false,
  dropsInvalid: true,
  dispatch: 'tree',
};
const cidr = (text: string) => parseCidr(text)!;
const SURROUNDINGS: Surroundings = {
  nodePortCidrs: [cidr(`${NODE.ip}/32`), cidr(`${NODE.ip6}/128`)],
  serviceCidrs: [cidr('10.96.0.0/12')],
  localPods: new Map([
    [4, { kind: 'source', cidr: cidr(POD_CIDR) }],
    [6, { kind: 'source', cidr: cidr(POD_CIDR6) }],
  ]),
};
const TABLES = ['nat', 'filter', 'mangle'] as const;
const log = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: () => undefined },
});

let folder: string;
let lockFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-legacy-'));
  lockFile = join(folder, 'xtables.lock');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Programs of the namespace's. `calls` gets the command line of each. */
function runIn({ name }: Netns, calls: string[] = []): RunProgram {
  return (argv, options) => {
    calls.push(argv.join(' '));
    const inside = ['ip', 'netns', 'exec', name, 'env', `XTABLES_LOCKFILE=${lockFile}`];
    return runProgram([...inside, ...argv], options);
  };
}

const programOf = (family: IpFamily) => (family === 4 ? 'iptables-legacy' : 'ip6tables-legacy');

async function iptables(netns: Netns, ...args: string[]): Promise<void> {
  await netns.exec([programOf(4), ...args], { env: { XTABLES_LOCKFILE: lockFile } });
}

async function saved(netns: Netns, table: IptablesTable, family: IpFamily = 4): Promise<string[]> {
  const text = await netns.exec([`${programOf(family)}-save`, '-t', table]);
  return text.split('\n').filter((line) => /^(?:-A|:[^ ]+ -)/.test(line));
}

const rulesOf = (lines: readonly string[], chain: string): string[] =>
  lines.filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(`-A ${chain} `.length));

async function openTables(netns: Netns, now: () => number = () => 0): Promise<LegacyIptablesTables> {
  return new LegacyIptablesTables({ tool: await LegacyTool.find(runIn(netns)), now });
}

function backendOf(tables: LegacyIptablesTables, families: readonly IpFamily[] = [4]): IptablesBackend {
  return new IptablesBackend({ tables, families, settings: SETTINGS, setSysctl: () => undefined, log });
}

const podIp = (n: number) => `10.1.0.${10 + n}`;
const podIp6 = (n: number) => `fd00:10:1::${10 + n}`;

function frontend(name: string, address: string | undefined, over: Partial<Frontend> = {}): Frontend {
  const family = over.family ?? (address?.includes(':') ? 6 : 4);
  return {
    kind: address === undefined ? 'NodePort' : 'ClusterIP',
    family,
    address: address as Ip | undefined,
    protocol: 'TCP',
    port: 80,
    service: `default/${name}` as ServiceKey,
    displayName: `default/${name}:http`,
    backends: [],
    trafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    masquerade: address === undefined ? 'always' : 'off-cluster',
    whenEmpty: 'refuse',
    insideBackends: undefined,
    scheduler: 'random',
    affinityTimeoutSeconds: undefined,
    sourceRanges: undefined,
    ...over,
  };
}

const backends = (...ips: string[]): Backend[] =>
  ips.map((ip) => ({ ip: ip as Ip, port: 8080, isMaybeLocal: true, weight: 1 }));

const update = (frontends: readonly Frontend[], of?: Surroundings) => ({
  frontends: new Map(
    [...new Set(frontends.map(({ service }) => service))].map((service) => [
      service,
      frontends.filter((one) => one.service === service),
    ]),
  ),
  surroundings: of,
});

const clean = (result: SyncResult) => expect(result.failures).toEqual([]);

/** Every own chain of the kernel, with its rules, is that of the plan. */
async function expectInForce(netns: Netns, wanted: Iterable<PlannedChain>, family: IpFamily): Promise<void> {
  const chains = [...wanted];
  for (const table of TABLES) {
    const lines = await saved(netns, table, family);
    const own = chains.filter((chain) => chain.table === table && chain.ownership === 'own');
    const declared = lines
      .filter((line) => line.startsWith(':KUBE-'))
      .map((line) => line.split(' ')[0]!.slice(1));
    expect(declared.sort()).toEqual(own.map(({ name }) => name).sort());
    const byChain = new Map<string, string[]>(own.map(({ name }) => [name, []]));
    for (const line of lines) byChain.get(line.split(' ')[1]!)?.push(line);
    for (const { name, rules } of own) {
      expect(byChain.get(name)).toEqual(rules().map((rule) => formatIptablesRule(name, rule, family)));
    }
  }
}

describe('a cluster', () => {
  const WEB = frontend('web', '10.96.0.1', { backends: backends(podIp(1), podIp(2)) });
  const WEB6 = frontend('web', 'fd00:10:96::1', { backends: backends(podIp6(1), podIp6(2)) });
  const WEB_PORT = frontend('web', undefined, { port: 30080, backends: WEB.backends });
  const EMPTY = frontend('empty', '10.96.0.2');
  const ALL = [WEB, WEB6, WEB_PORT, EMPTY];

  let topology: NodeTopology;
  let tables: LegacyIptablesTables;
  let backend: IptablesBackend;
  let nowMs: number;
  const longAfter = () => {
    nowMs += 1_000_000;
  };

  beforeAll(async () => {
    topology = await NodeTopology.create(
      [1, 2, 3].map((n) => ({ name: `pod-${n}`, ip: podIp(n), ip6: podIp6(n) })),
    );
    for (const n of [1, 2]) {
      await topology
        .pod(`pod-${n}`)
        .agent()
        .serve({ protocol: 'tcp', port: 8080, name: `pod-${n}` });
    }
  });
  afterAll(() => topology?.delete());

  beforeEach(async () => {
    // Every look takes 1 ms, so that the next is due 100 ms later.
    nowMs = 0;
    tables = await openTables(topology.node, () => nowMs++);
    backend = backendOf(tables, [4, 6]);
    clean(await backend.sync(update(ALL, SURROUNDINGS)));
  });
  afterEach(async () => {
    backend.close();
    const flushes = TABLES.flatMap((table) => [`*${table}`, 'COMMIT']).join('\n');
    for (const family of [4, 6] as const) {
      const env = { XTABLES_LOCKFILE: lockFile };
      await topology.node.exec([`${programOf(family)}-restore`], { input: `${flushes}\n`, env });
    }
  });

  const dial = (from: string, host: string, port = 80, count = 40) =>
    (from === 'client' ? topology.client : topology.pod(from))
      .agent()
      .burst({ protocol: 'tcp', host, port, count, timeoutMs: 2000 });

  it('is served, from outside and from pods, over IPv4 and IPv6', async () => {
    const fromPod = await dial('pod-3', '10.96.0.1');
    expect(fromPod).toMatchObject({ outcomes: { reply: 40 }, peers: { [podIp(3)]: 40 } });
    expect(Object.keys(fromPod.servers).sort()).toEqual(['pod-1', 'pod-2']);
    expect(await dial('client', '10.96.0.1')).toMatchObject({
      outcomes: { reply: 40 },
      peers: { [GATEWAY.ip]: 40 },
    });
    expect(await dial('client', NODE.ip, 30080)).toMatchObject({
      outcomes: { reply: 40 },
      peers: { [GATEWAY.ip]: 40 },
    });
    expect(await dial('pod-3', 'fd00:10:96::1')).toMatchObject({
      outcomes: { reply: 40 },
      peers: { [podIp6(3)]: 40 },
    });
    expect(await dial('client', 'fd00:10:96::1')).toMatchObject({ peers: { [GATEWAY.ip6]: 40 } });
    expect(await dial('pod-3', '10.96.0.2', 80, 3)).toMatchObject({ outcomes: { refused: 3 } });
  });

  it('changes while it is dialled, and nothing is lost', async () => {
    const load = await topology.client.agent().startLoad({ protocol: 'tcp', host: '10.96.0.1', port: 80 });
    clean(await backend.sync(update([frontend('web', '10.96.0.1', { backends: backends(podIp(2)) }), WEB6])));
    expect((await dial('pod-3', '10.96.0.1')).servers).toEqual({ 'pod-2': 40 });
    expect((await dial('client', NODE.ip, 30080, 3)).outcomes).not.toHaveProperty('reply');
    clean(await backend.sync(update([frontend('empty', '10.96.0.2', { backends: backends(podIp(1)) })])));
    expect((await dial('pod-3', '10.96.0.2')).servers).toEqual({ 'pod-1': 40 });
    const gone = await backend.sync({ frontends: new Map([[EMPTY.service, []]]), surroundings: undefined });
    clean(gone);
    expect(gone).toMatchObject({ isFull: false });
    expect((await dial('pod-3', '10.96.0.2', 80, 2)).outcomes).not.toHaveProperty('reply');
    clean(await backend.sync(update([WEB, WEB6, WEB_PORT])));
    const tally = await load.stop();
    expect(tally.outcomes).toEqual({ reply: tally.total });
    expect(tally.total).toBeGreaterThan(10);
    expect(await saved(topology.node, 'nat')).not.toContainEqual(expect.stringContaining('10.96.0.2'));
  });

  it('keeps counters of what stays', async () => {
    await dial('pod-3', '10.96.0.1');
    clean(await backend.sync(update([frontend('more', '10.96.0.7', { backends: backends(podIp(1)) })])));
    const text = await topology.node.exec([`${programOf(4)}-save`, '-c', '-t', 'nat']);
    expect(text).toMatch(/^\[40:\d+\] -A KUBE-SERVICES .*10\.96\.0\.1\/32 /m);
  });

  it('is not written again by another daemon, nor when nothing changes', async () => {
    const again = backendOf(await openTables(topology.node), [4, 6]);
    expect(await again.sync(update(ALL, SURROUNDINGS))).toMatchObject({
      writes: 0,
      transactions: 0,
      failures: [],
    });
    expect(await again.sync(update(ALL))).toMatchObject({ writes: 0, transactions: 0, failures: [] });
    expect(await again.hasDrifted()).toBe(false);
  });

  it('comes back when everything was flushed', async () => {
    for (const table of TABLES) {
      await iptables(topology.node, '-t', table, '-F');
      await iptables(topology.node, '-t', table, '-X');
    }
    expect((await dial('pod-3', '10.96.0.1', 80, 2)).outcomes).not.toHaveProperty('reply');
    expect(await backend.hasDrifted()).toBe(true);
    backend.distrust();
    clean(await backend.sync(update([])));
    expect((await dial('pod-3', '10.96.0.1')).outcomes).toEqual({ reply: 40 });
    longAfter();
    expect(await backend.hasDrifted()).toBe(false);
  });

  it.each<[string, readonly string[]]>([
    ['a rule of ours is gone', ['-t', 'nat', '-D', 'KUBE-POSTROUTING', '1']],
    ['there is one more', ['-t', 'filter', '-A', 'KUBE-FORWARD', '-j', 'RETURN']],
    ['one was replaced', ['-t', 'nat', '-R', 'KUBE-MARK-MASQ', '1', '-j', 'RETURN']],
    ['there is one more chain', ['-t', 'nat', '-N', 'KUBE-SVC-X']],
    ['a jump of ours is gone', ['-t', 'nat', '-D', 'PREROUTING', '1']],
    ['one chain is empty', ['-t', 'filter', '-F', 'KUBE-FORWARD']],
  ])('is repaired when %s, once it is time to look', async (_, change) => {
    const before = await Promise.all(TABLES.map((table) => saved(topology.node, table)));
    // A change of our own is none of somebody else's.
    clean(await backend.sync(update([frontend('more', '10.96.0.7', { backends: backends(podIp(1)) })])));
    clean(
      await backend.sync({
        frontends: new Map([['default/more' as ServiceKey, []]]),
        surroundings: undefined,
      }),
    );
    longAfter();
    expect(await backend.hasDrifted()).toBe(false);
    await iptables(topology.node, ...change);
    expect(await backend.hasDrifted()).toBe(false);
    longAfter();
    expect(await backend.hasDrifted()).toBe(true);
    backend.distrust();
    clean(await backend.sync(update([])));
    expect(await Promise.all(TABLES.map((table) => saved(topology.node, table)))).toEqual(before);
    longAfter();
    expect(await backend.hasDrifted()).toBe(false);
  });

  it('leaves rules of others what and where they are', async () => {
    const node = topology.node;
    const others = {
      PREROUTING: ['-s 198.51.100.0/24 -m multiport -p tcp --dports 22,23 -j OTHERS', '-j OTHERS'],
      FORWARD: ['-s 198.51.100.1/32 -j ACCEPT', '-s 198.51.100.2/32 -m limit --limit 5/min -j DROP'],
    } as const;
    await iptables(node, '-t', 'nat', '-N', 'OTHERS');
    await iptables(node, '-t', 'nat', '-I', 'PREROUTING', '1', ...others.PREROUTING[0].split(' '));
    await iptables(node, '-t', 'nat', '-A', 'PREROUTING', ...others.PREROUTING[1].split(' '));
    await iptables(node, '-I', 'FORWARD', '2', ...others.FORWARD[0].split(' '));
    await iptables(node, '-I', 'FORWARD', '4', ...others.FORWARD[1].split(' '));
    const before = await Promise.all(TABLES.map((table) => saved(node, table)));
    backend.distrust();
    expect(await backend.sync(update([]))).toMatchObject({ writes: 0, failures: [] });

    // Jumps of ours go here and there, one is there twice, one is from an older version.
    await iptables(node, '-D', 'FORWARD', '1');
    await iptables(node, '-D', 'FORWARD', '4');
    const jump = '-m comment --comment';
    await iptables(
      node,
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      ...jump.split(' '),
      'kubernetes service portals',
      '-j',
      'KUBE-SERVICES',
    );
    await iptables(
      node,
      '-A',
      'FORWARD',
      ...jump.split(' '),
      'kubernetes old portals',
      '-j',
      'KUBE-SERVICES',
    );
    const disturbed = await saved(node, 'filter');
    backend.distrust();
    clean(await backend.sync(update([])));
    const after = await Promise.all(TABLES.map((table) => saved(node, table)));
    const foreign = (lines: readonly string[]) => lines.filter((line) => /198\.51\.100|OTHERS/.test(line));
    expect(after.map(foreign)).toEqual(before.map(foreign));
    expect(after.map((lines) => lines.toSorted())).toEqual(before.map((lines) => lines.toSorted()));
    expect(after[1]).not.toEqual(disturbed);
    expect(rulesOf(after[0]!, 'PREROUTING')[0]).toContain('multiport');
    expect((await dial('pod-3', '10.96.0.1')).outcomes).toEqual({ reply: 40 });
  });

  it('deletes no rule of others that came in between', async () => {
    const node = topology.node;
    await iptables(
      node,
      '-t',
      'nat',
      '-I',
      'PREROUTING',
      '2',
      '-m',
      'comment',
      '--comment',
      'kubernetes x',
      '-j',
      'KUBE-SERVICES',
    );
    const desired = new Desired(4, SETTINGS);
    desired.update(update(ALL).frontends, SURROUNDINGS);
    const other = await openTables(node);
    await other.begin();
    const plan = await planAgainst(other, 4, desired.chains());
    await iptables(node, '-t', 'nat', '-I', 'PREROUTING', '1', '-s', '198.51.100.9/32', '-j', 'ACCEPT');
    expect(await other.apply(4, plan, plan.shared)).toMatchObject({
      refusals: [],
      writes: 1,
      transactions: 1,
    });
    expect(rulesOf(await saved(node, 'nat'), 'PREROUTING')).toEqual([
      '-s 198.51.100.9/32 -j ACCEPT',
      '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    ]);
  });

  it('waits for the lock, says who is to blame, and goes on', async () => {
    const more = frontend('more', '10.96.0.7', { backends: backends(podIp(1)) });
    const holder = await holdLock();
    const result = await backend.sync(update([more]));
    expect(result.failures).toMatchObject([{ error: { code: 'XTABLES_LOCK' }, services: [] }]);
    expect(result.failures[0]!.error.message).toMatch(
      /another program holds \/run\/xtables\.lock.*iptables-legacy v\d/,
    );
    expect(await backend.hasDrifted()).toBe(false);
    await release(holder);
    clean(await backend.sync(update([])));
    expect((await dial('pod-3', '10.96.0.7')).outcomes).toEqual({ reply: 40 });
  });

  it('a Service with a rule that the program refuses is left out, and told; all others are served', async () => {
    const bad = frontend('bad', '10.96.0.8', { backends: backends('10.1.0.1111') });
    const good = frontend('good', '10.96.0.9', { backends: backends(podIp(1)) });
    const result = await backend.sync(update([bad, good]));
    expect(result.failures).toMatchObject([{ services: ['default/bad'] }]);
    expect(backend.problems()).toMatchObject([{ subject: 'Service default/bad' }]);
    expect(backend.problems()[0]!.reason).toMatch(
      /service default\/bad: -t nat -A KUBE-SEP-.*10\.1\.0\.1111/,
    );
    expect((await dial('pod-3', '10.96.0.9')).outcomes).toEqual({ reply: 40 });
    expect((await dial('pod-3', '10.96.0.1')).outcomes).toEqual({ reply: 40 });
  });

  it('a table that the kernel refuses is the fault of those whose rules it refuses', async () => {
    const other = await openTables(topology.node);
    const chain = (n: number, rule: IptablesRule): PlannedChain => ({
      table: 'nat',
      name: `KUBE-SVC-${n}`,
      ownership: 'own',
      service: `default/s${n}` as ServiceKey,
      rules: () => [{ matches: [], target: { kind: 'jump', chain: 'KUBE-MARK-MASQ' } }, rule],
    });
    const returning = { kind: 'RETURN' } as const;
    const added = Array.from({ length: 20 }, (_, n) =>
      chain(n, {
        matches: n === 3 || n === 17 ? [{ kind: 'nfacct', name: 'no-such-counter' }] : [],
        target: returning,
      }),
    );
    const before = await saved(topology.node, 'nat');
    const applied = await other.apply(4, { added, edited: [], removed: [] });
    expect(applied).toMatchObject({ writes: 0, transactions: 0 });
    expect(applied.refusals.map(({ service }) => service)).toEqual(['default/s3', 'default/s17']);
    expect(await saved(topology.node, 'nat')).toEqual(before);

    const nobodys = { ...added[3]!, service: undefined };
    const refused = await other.apply(4, { added: [nobodys], edited: [], removed: [] });
    expect(refused.refusals).toMatchObject([{ service: undefined, error: { code: 'EINVAL' } }]);
  });

  it('a chain that is not what it was taken for is TOOL_STALE', async () => {
    const place = { table: 'nat', name: 'KUBE-MARK-MASQ' } as const;
    const edits = [{ kind: 'delete', index: 5, service: 'default/web' as ServiceKey }] as const;
    await expect(
      tables.apply(4, { added: [], edited: [{ ...place, edits }], removed: [] }),
    ).rejects.toMatchObject({
      code: 'TOOL_STALE',
    });
    await expect(tables.apply(4, { added: [], edited: [], removed: [place] })).rejects.toMatchObject({
      code: 'TOOL_STALE',
    });
  });

  it('tables before the one that is refused are in force', async () => {
    const own = (table: IptablesTable, target: 'RETURN' | 'MASQUERADE'): PlannedChain => ({
      table,
      name: 'KUBE-FW-X',
      ownership: 'own',
      service: 'default/x' as ServiceKey,
      rules: () => [
        {
          matches: [],
          target: target === 'RETURN' ? { kind: target } : { kind: target, isFullyRandom: false },
        },
      ],
    });
    const added = [own('filter', 'MASQUERADE'), own('nat', 'RETURN')];
    const applied = await tables.apply(4, { added, edited: [], removed: [] });
    expect(applied).toMatchObject({ writes: 2, transactions: 1, refusals: [{ service: 'default/x' }] });
    expect(rulesOf(await saved(topology.node, 'nat'), 'KUBE-FW-X')).toEqual(['-j RETURN']);
    expect(await saved(topology.node, 'filter')).not.toContainEqual(expect.stringContaining('KUBE-FW-X'));
  });
});

describe('any changes', () => {
  let netns: Netns;
  beforeAll(async () => {
    netns = await Netns.create('legacy-any');
  });
  afterAll(() => netns?.delete());

  it('end in the tables that were wanted', async () => {
    const services = fc.tuple(...Array.from({ length: 30 }, (_, i) => someService(i)));
    const flips = fc.array(fc.subarray(Array.from({ length: 30 }, (_, i) => i)), {
      minLength: 3,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(services, services, surroundings, flips, async (one, other, around, steps) => {
        const backend = backendOf(await openTables(netns));
        const desired = new Desired(4, SETTINGS);
        const held = new Map(one.map((service) => [service.key, service]));
        const first = new Map(one.map(({ key, frontends }) => [key, frontends]));
        desired.update(first, around);
        clean(await backend.sync({ frontends: first, surroundings: around }));
        await expectInForce(netns, desired.chains(), 4);
        for (const step of steps) {
          const changed = new Map<ServiceKey, readonly Frontend[]>();
          for (const index of step) {
            const { key } = one[index]!;
            const is = held.get(key);
            const next = is === undefined ? one[index]! : is === one[index] ? other[index]! : undefined;
            if (next === undefined) held.delete(key);
            else held.set(key, next);
            changed.set(key, next?.frontends ?? []);
          }
          desired.update(changed);
          const result = await backend.sync({ frontends: changed, surroundings: undefined });
          clean(result);
          await expectInForce(netns, desired.chains(), 4);
        }
        expect(await backend.hasDrifted()).toBe(false);
      }),
      { numRuns: 6, endOnFailure: true },
    );
  }, 240_000);
});

describe.each([4, 6] as const)('what iptables-legacy prints, IPv%i', (family) => {
  let netns: Netns;
  beforeAll(async () => {
    netns = await Netns.create('legacy-text');
  });
  afterAll(() => netns?.delete());

  it.each(['filter', 'nat'] as const)(
    'of any rules in %s is parsed to them',
    async (table) => {
      const rules = fc.array(anyRule(family, table), { minLength: 30, maxLength: 60, size: 'max' });
      await fc.assert(
        fc.asyncProperty(rules, async (some) => {
          const lines = some.map((rule) => formatIptablesRule('A', rule, family));
          const chains = ['A', ...CHAINS].map((chain) => `:${chain} - [0:0]`);
          const input = [`*${table}`, ...chains, ...lines, 'COMMIT', ''].join('\n');
          await netns.exec([`${programOf(family)}-restore`], { input, env: { XTABLES_LOCKFILE: lockFile } });
          const text = await netns.exec([`${programOf(family)}-save`, '-t', table]);
          const chain = parseIptablesSave(text.split('\n')).find(({ name }) => name === 'A');
          expect(chain?.lines.map((line) => parseIptablesRule(line, family).rule)).toEqual(some);
          expect(chain?.lines).toEqual(lines);
        }),
        { numRuns: 8, endOnFailure: true },
      );
    },
    120_000,
  );
});

describe('which variant a node uses', () => {
  let netns: Netns;
  let netlink: RemoteNetlink;
  let procNet: string;
  const legacyTables = async () =>
    (await netns.exec(['cat', '/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'])).trim();
  const choose = (run: RunProgram = runIn(netns)) =>
    chooseVariant('auto', { connection: new NftConnection(netlink), run, procNet });
  const nft = (...args: string[]) => netns.exec(['nft', ...args]);

  beforeEach(async () => {
    netns = await Netns.create('legacy-or-nft');
    netlink = await RemoteNetlink.open(netns);
    const idle = netns.spawn(['sleep', 'infinity']);
    procNet = `/proc/${idle.pid}/net`;
    // Until `ip netns exec` has become the program that it runs, it is where it was started.
    await expect.poll(() => netnsOf(idle.pid!)).toBe(await netns.exec(['readlink', '/proc/self/ns/net']));
  });
  afterEach(async () => {
    netlink.close();
    await netns.delete();
  });

  it('nothing there: nf_tables, and no table was made by looking', async () => {
    expect(await choose()).toMatchObject({ variant: 'nft' });
    expect(await legacyTables()).toBe('');
    expect(await nft('list', 'ruleset')).toBe('');
  });

  it("kubelet's hint in nf_tables, although there are more rules in the legacy tables", async () => {
    await netns.exec(['ip6tables-nft', '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT']);
    await iptables(netns, '-A', 'INPUT', '-j', 'ACCEPT');
    expect(await choose()).toMatchObject({
      variant: 'nft',
      reason: expect.stringContaining('KUBE-IPTABLES-HINT'),
    });
  });

  it("kubelet's canary in the legacy tables, although there are more rules in nf_tables", async () => {
    await iptables(netns, '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY');
    await netns.exec(['iptables-nft', '-A', 'INPUT', '-j', 'ACCEPT']);
    const before = await legacyTables();
    expect(await choose()).toMatchObject({
      variant: 'legacy',
      reason: expect.stringContaining('KUBE-KUBELET-CANARY'),
    });
    expect(await legacyTables()).toBe(before);
  });

  it('no sign of kubelet: who has more rules', async () => {
    await iptables(netns, '-A', 'INPUT', '-j', 'ACCEPT');
    await iptables(netns, '-A', 'INPUT', '-j', 'DROP');
    await netns.exec(['iptables-nft', '-A', 'INPUT', '-j', 'ACCEPT']);
    // What is not iptables' own does not count.
    await nft(
      'add table ip kproxy-ts; add chain ip kproxy-ts c; add rule ip kproxy-ts c accept; add rule ip kproxy-ts c accept',
    );
    expect(await choose()).toEqual({
      variant: 'legacy',
      reason: "no chain of kubelet's; rules in nf_tables: 1, in the legacy tables: 2",
    });
    await netns.exec(['ip6tables-nft', '-A', 'INPUT', '-j', 'ACCEPT']);
    expect(await choose()).toMatchObject({ variant: 'nft' });
  });

  it('without the programs of iptables-legacy: nf_tables, and why', async () => {
    await iptables(netns, '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY');
    const without: RunProgram = ([program, ...args], options) =>
      runProgram([`/nonexistent/${program}`, ...args], options);
    const choice = await choose(without);
    expect(choice.variant).toBe('nft');
    expect(choice.reason).toMatch(
      /no iptables-legacy on this host.*although there are legacy tables \(mangle\)/,
    );
  });
});

async function netnsOf(pid: number): Promise<string> {
  const child = spawn('readlink', [`/proc/${pid}/ns/net`]);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(child, 'close');
  return text;
}

/** Another program that holds the lock. */
async function holdLock(): Promise<ChildProcess> {
  writeFileSync(lockFile, '', { flag: 'a' });
  const holder = spawn('flock', [lockFile, 'sh', '-c', 'echo held; exec sleep 60'], { detached: true });
  await once(holder.stdout, 'data');
  return holder;
}

async function release(holder: ChildProcess): Promise<void> {
  process.kill(-holder.pid!, 'SIGKILL');
  await once(holder, 'close');
}
