// The commands table, diff and cleanup in iptables mode, on the real kernel beside rules of Docker, Calico and kubelet.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endpointChain, servicePortHash } from '../../src/mode/iptables/names.ts';
import type { Ip } from '../../src/model/ip.ts';
import { service, slice } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import { KPROXY } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import { NODE } from '../support/netns/topology.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';

const MODE = '--proxy-mode=iptables';

/** kubelet's since 1.24, and what container engines and CNI plugins have around our jumps. */
const OTHERS = `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:DOCKER - [0:0]
:cali-PREROUTING - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
COMMIT
*filter
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-FIREWALL - [0:0]
:DOCKER-USER - [0:0]
:cali-FORWARD - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT -j KUBE-FIREWALL
-A DOCKER-USER -j RETURN
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
`;
/** The same of IPv6, where there is no nat table yet. */
const OTHERS6 = `*mangle
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
`;

const webHash = servicePortHash('default/web:http', 'TCP');
const webEndpoint = endpointChain('default/web:http', 'TCP', { ip: podIp(1) as Ip, port: 8080 });
/** What a kube-proxy leaves behind. */
const KUBE_PROXY = `*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SVC-${webHash} - [0:0]
:${webEndpoint} - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-${webHash}
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-${webHash} -m comment --comment "default/web:http -> ${podIp(1)}:8080" -j ${webEndpoint}
-A ${webEndpoint} -s ${podIp(1)}/32 -m comment --comment "default/web:http" -j KUBE-MARK-MASQ
-A ${webEndpoint} -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination ${podIp(1)}:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
`;

async function load(netns: Netns, program: string, text: string): Promise<void> {
  await netns.exec([`${program}-restore`, '--noflush'], { input: text });
}

/** Rules and chains of `iptables-save`, without those built in: an empty table is no table. */
async function saved(netns: Netns, program = 'iptables-nft'): Promise<string[]> {
  const lines = (await netns.exec([`${program}-save`])).split('\n');
  let table = '';
  return lines.flatMap((line) => {
    if (line.startsWith('*')) table = line;
    return line.startsWith('-A ') || / - \[/.test(line) ? [`${table} ${line}`] : [];
  });
}

async function others(netns: Netns): Promise<string[]> {
  return [...(await saved(netns)), ...(await saved(netns, 'ip6tables-nft'))];
}

describe('a node with a daemon of ours', () => {
  let node: TestNode;
  let before: string[];

  beforeAll(async () => {
    node = await TestNode.create(2);
    await load(node.netns, 'iptables-nft', OTHERS);
    await load(node.netns, 'ip6tables-nft', OTHERS6);
    before = await others(node.netns);
    const target = [{ name: 'http', port: 8080 }];
    node.manifests.put(
      'services',
      service('web', {
        clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
        ports: [{ name: 'http', port: 80, nodePort: 30080 }],
        externalIps: ['203.0.113.8'],
        loadBalancerIps: ['203.0.113.7'],
        sourceRanges: ['192.168.0.0/16'],
      }),
      slice('web', 'web-4', { ports: target, endpoints: [podIp(1), podIp(2)] }),
      slice('web', 'web-6', { ports: target, endpoints: [podIp6(1)] }),
      service('sticky', {
        clusterIps: ['10.96.0.3'],
        ports: [{ name: 'http', port: 80 }],
        affinitySeconds: 90,
      }),
      slice('sticky', 'sticky', { ports: target, endpoints: [podIp(1)] }),
      service('empty', { clusterIps: ['10.96.0.2'], ports: [{ port: 53, protocol: 'UDP' }] }),
    );
    await (await node.start(MODE)).stop();
  }, 60_000);
  afterAll(() => node?.delete());

  test('table prints what the manifests say, and needs no flag to find it', async () => {
    const rows = await node.table();
    expect(rows.map((row) => [row.service, row.kind, row.address, row.action, row.backends.length])).toEqual([
      ['default/empty', 'ClusterIP', '10.96.0.2', 'refuse', 0],
      ['default/sticky:http', 'ClusterIP', '10.96.0.3', 'balance, affinity 90s', 1],
      ['default/web:http', 'ClusterIP', '10.96.0.1', 'balance', 2],
      ['default/web:http', 'ClusterIP', 'fd00:10:96::1', 'balance', 1],
      ['default/web:http', 'ExternalIP', '203.0.113.8', 'balance', 2],
      ['default/web:http', 'LoadBalancer', '203.0.113.7', 'balance, restricted', 2],
      ['default/web:http', 'NodePort', '*', 'balance', 2],
      ['default/web:http', 'NodePort', '*', 'balance', 1],
    ]);
    expect(rows[2]?.backends).toEqual([1, 2].map((n) => ({ address: podIp(n), port: 8080 })));
    expect(rows[0]).toMatchObject({ port: 53, protocol: 'UDP' });
    expect(rows[6]).toMatchObject({ port: 30080, protocol: 'TCP' });
    expect((await node.kproxy('table', '--proxy-mode=nftables')).stderr).toMatch(
      /^No virtual IPs: there are no rules of nftables mode /,
    );
  });

  test('table counts connections, one each', async () => {
    const count = async (address: string, isIp6 = false): Promise<number> =>
      (await node.table()).find(
        (row) => row.address === address && row.backends.some((one) => one.address.includes(':')) === isIp6,
      )!.connections;
    const client = node.topology.client.agent();
    for (const [address, host, port, isIp6] of [
      ['10.96.0.1', '10.96.0.1', 80, false],
      ['fd00:10:96::1', 'fd00:10:96::1', 80, true],
      ['203.0.113.7', '203.0.113.7', 80, false],
      ['*', NODE.ip, 30080, false],
      ['*', NODE.ip6, 30080, true],
    ] as const) {
      const from = await count(address, isIp6);
      const tally = await client.burst({ protocol: 'tcp', host, port, count: 20 });
      expect(tally.outcomes).toEqual({ reply: 20 });
      expect(await count(address, isIp6)).toBe(from + 20);
    }
  });

  test('diff finds nothing after a sync, and writes nothing', async () => {
    const generation = await node.generation();
    expect(await node.diff(MODE)).toEqual({ status: 0, stdout: '', stderr: 'Nothing to write.\n' });
    expect((await node.diff(MODE, '--iptables-masquerade-bit=3')).status).toBe(1);
    expect(await node.generation()).toBe(generation);
  });

  test('diff says which setting of the kernel a daemon changes, for node ports on 127.0.0.1', async () => {
    const set = (value: number) => node.netns.sysctl({ 'net.ipv4.conf.all.route_localnet': value });
    await set(0);
    expect(await node.diff(MODE)).toEqual({
      status: 1,
      stdout: '+ sysctl net.ipv4.conf.all.route_localnet=1\n',
      stderr: '1 to write.\n',
    });
    expect((await node.diff(MODE, '--nodeport-addresses=192.168.50.0/24')).stdout).not.toContain('sysctl');
    await (await node.start(MODE)).stop();
    expect((await node.diff(MODE)).status).toBe(0);
  });

  test('diff says what a daemon then writes, in the words of iptables -S', async () => {
    const listing = async (): Promise<string[]> => {
      const lines: string[] = [];
      for (const program of ['iptables', 'ip6tables']) {
        for (const table of ['nat', 'filter', 'mangle']) {
          const text = await node.netns.exec([`${program}-nft`, '-t', table, '-S']);
          lines.push(...text.split('\n').map((line) => `${program} -t ${table} ${line}`));
        }
      }
      return lines.filter((line) => /-[AN] /.test(line));
    };
    node.manifests.put(
      'more',
      service('new', {
        clusterIps: ['10.96.1.1', 'fd00:10:96::11'],
        ports: [{ port: 443, nodePort: 30443 }],
      }),
      slice('new', 'new-4', { ports: [{ port: 8080 }], endpoints: [podIp(2)] }),
      slice('sticky', 'sticky-2', { ports: [{ name: 'http', port: 8080 }], endpoints: [podIp(2)] }),
    );
    const old = await listing();
    const { status, stdout, stderr } = await node.diff(MODE);
    const lines = stdout.trimEnd().split('\n');
    expect({ status, stderr }).toEqual({ status: 1, stderr: `${lines.length} to write.\n` });
    await (await node.start(MODE)).stop();
    const now = await listing();
    const changes = [
      ...now.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
      ...old.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
    ];
    expect(changes.length).toBeGreaterThan(10);
    expect(changes.some((line) => line.startsWith('- '))).toBe(true);
    expect(lines.toSorted()).toEqual(changes.toSorted());
    node.manifests.remove('more');
  });

  test('rules of both modes: nftables mode is shown, and the other told of', async () => {
    // A daemon removes the rules of the other mode: these come back from elsewhere.
    await (await node.start('--nftables-own-table=false')).stop();
    const tables = await Promise.all(
      ['ip', 'ip6'].map((family) => node.nft('list', 'table', family, 'kproxy-ts')),
    );
    await (await node.start(MODE)).stop();
    expect(await node.nft('list', 'tables')).not.toContain('kproxy-ts');
    await node.nftInput(tables.join(''));
    const { stdout, stderr } = await node.kproxy('table', '-o', 'json');
    expect(stderr).toBe(
      'This is nftables mode. There are rules of iptables mode, too: --proxy-mode=iptables shows them.\n',
    );
    const kinds = (text: string): Set<string> =>
      new Set((JSON.parse(text) as { kind: string }[]).map(({ kind }) => kind));
    expect(kinds(stdout)).toContain('VIP');
    const other = await node.kproxy('table', '-o', 'json', MODE);
    expect(other.stderr).toBe('');
    expect(kinds(other.stdout)).toContain('LoadBalancer');
  });

  test('cleanup removes what is ours in both modes, and nothing else', async () => {
    await node.nft('add', 'table', 'ip', 'kube-proxy');
    const { status, stdout, stderr } = await node.kproxy('cleanup');
    expect(status).toBe(0);
    expect(stdout.replace(/\d+ chains/g, 'N chains').split('\n')).toEqual([
      'removed table ip kproxy-ts',
      'removed table ip6 kproxy-ts',
      'removed iptables -t filter: N chains, 12 rules in chains of others',
      'removed iptables -t nat: N chains, 3 rules in chains of others',
      'removed iptables -t mangle: 1 chain',
      'removed ip6tables -t filter: N chains, 12 rules in chains of others',
      'removed ip6tables -t nat: N chains, 3 rules in chains of others',
      'removed ip6tables -t mangle: 1 chain',
      '',
    ]);
    expect(stderr).toBe("kept table ip kube-proxy: kube-proxy's; --include-kube-proxy removes it\n");
    expect(await others(node.netns)).toEqual(before);
    const generation = await node.generation();
    expect(await node.kproxy('--cleanup')).toMatchObject({ status: 0, stdout: 'Nothing to remove.\n' });
    expect(await node.generation()).toBe(generation);
    expect((await node.kproxy('table')).stderr).toMatch(/^No virtual IPs: there are no rules of kproxy-ts, /);
    expect(await node.kproxy('cleanup', '--include-kube-proxy')).toEqual({
      status: 0,
      stdout: 'removed table ip kube-proxy\n',
      stderr: '',
    });
  });

  test('a guard that only we may have made stays, and is told of', async () => {
    await node.netns.exec(['nft', 'flush', 'ruleset']);
    await (await node.start(MODE)).stop();
    const { stderr } = await node.kproxy('cleanup');
    expect(stderr).toBe(
      "kept iptables -t filter KUBE-FIREWALL: it may be kubelet's, and guards 127.0.0.1 from outside\n",
    );
    expect((await others(node.netns)).filter((line) => !line.includes('KUBE-FIREWALL'))).toEqual([]);
  });
});

describe("a kube-proxy's chains", () => {
  let netns: Netns;
  let folder: string;
  beforeAll(async () => {
    netns = await Netns.create('kube-proxy');
    folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-inspect-'));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await netns.delete();
  });

  /** With a lock file of its own: the one of this machine is not ours to hold. */
  const inside = (...argv: readonly string[]): string[] => [
    'env',
    `XTABLES_LOCKFILE=${join(folder, 'xtables.lock')}`,
    ...argv,
  ];
  const kproxy = (...args: string[]): Promise<CommandResult> =>
    netns.tryExec(inside(process.execPath, KPROXY, ...args), { timeoutMs: 20_000 });

  const KEPT = "kept iptables chains KUBE-…: kube-proxy's; --include-kube-proxy removes them\n";

  async function isShownAndKept(): Promise<void> {
    const { stdout, stderr } = await kproxy('table', '-o', 'json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject([
      {
        service: 'default/web:http',
        kind: 'ClusterIP',
        address: '10.96.0.1',
        backends: [{ address: podIp(1), port: 8080 }],
      },
    ]);
    expect(await kproxy('cleanup')).toEqual({ status: 0, stdout: 'Nothing to remove.\n', stderr: KEPT });
  }

  test('are shown, and removed only when asked for', async () => {
    await load(netns, 'iptables-nft', OTHERS);
    const before = await others(netns);
    await load(netns, 'iptables-nft', KUBE_PROXY);
    await netns.exec(['nft', 'add', 'table', 'ip6', 'kube-proxy']);
    const whole = await others(netns);
    const { stderr } = await kproxy('cleanup');
    expect(stderr).toBe(`kept table ip6 kube-proxy: kube-proxy's; --include-kube-proxy removes it\n${KEPT}`);
    await netns.exec(['nft', 'delete', 'table', 'ip6', 'kube-proxy']);
    await isShownAndKept();
    expect(await others(netns)).toEqual(whole);
    expect(await kproxy('--cleanup', '--include-kube-proxy')).toEqual({
      status: 0,
      stdout: [
        'removed iptables -t filter: 3 chains, 2 rules in chains of others',
        'removed iptables -t nat: 7 chains, 3 rules in chains of others',
        'removed iptables -t mangle: 1 chain',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(await others(netns)).toEqual(before);
    expect(await netns.exec(['nft', 'list', 'tables', 'ip6'])).toBe('');
  });

  test('that others jump to are emptied, and told of', async () => {
    await load(netns, 'iptables-nft', KUBE_PROXY);
    await load(netns, 'iptables-nft', '*nat\n-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ\nCOMMIT\n');
    const { stderr } = await kproxy('cleanup', '--include-kube-proxy');
    expect(stderr).toBe('kept iptables -t nat KUBE-MARK-MASQ, now empty: rules of others lead there\n');
    const left = (await saved(netns)).filter((line) => /KUBE-(?!KUBELET|FIREWALL|IPTABLES)/.test(line));
    expect(left).toEqual(['*nat :KUBE-MARK-MASQ - [0:0]', '*nat -A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ']);
    await netns.exec(['nft', 'flush', 'ruleset']);
  });

  test('are found in the legacy tables of a host that has them there', async () => {
    const legacy = (...argv: string[]): Promise<string> => netns.exec(inside(...argv));
    const save = async (): Promise<string[]> =>
      (await legacy('iptables-legacy-save')).split('\n').filter((line) => /^-A | - \[/.test(line));
    await netns.exec(inside('iptables-legacy-restore', '--noflush'), { input: OTHERS });
    const before = await save();
    await netns.exec(inside('iptables-legacy-restore', '--noflush'), { input: KUBE_PROXY });
    await isShownAndKept();
    expect((await kproxy('cleanup', '--include-kube-proxy')).stdout).toMatch(
      /^removed iptables -t filter: 3 chains, 2 rules in chains of others\n/,
    );
    expect(await save()).toEqual(before);
  });
});
