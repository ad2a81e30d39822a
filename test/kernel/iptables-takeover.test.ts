// From kube-proxy in iptables mode to kproxy-ts and back, on both backends and both families, under a load of new
// connections and with connections that live through all of it: nothing fails, what matches is adopted, what is not ours
// is not touched, and in the end the tables are those of a node that never had another than kube-proxy.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endpointChain, servicePortHash } from '../../src/mode/iptables/names.ts';
import type { Ip } from '../../src/model/ip.ts';
import { service, slice } from '../support/manifests.ts';
import type { CommandResult } from '../support/netns/command.ts';
import { Daemon, runKproxy } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import { NODE } from '../support/netns/topology.ts';
import type { Agent, Target } from '../support/netns/traffic.ts';
import { podIp, podIp6, TestNode } from '../support/test-node.ts';
import { KubeProxyStandIn, type ServicePort } from './kube-proxy-stand-in.ts';

/** Of kubelet, a container engine and a CNI plug-in: in front of what kube-proxy puts to the top, and behind. */
const OTHERS = `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:DOCKER-USER - [0:0]
:cali-FORWARD - [0:0]
-A INPUT -i lo -j ACCEPT
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
-A cali-FORWARD -p tcp -m multiport --dports 5000:5010 -j ACCEPT
COMMIT
`;
const OTHERS6 = OTHERS.replace('172.17.0.0/16', 'fd00:17::/64');
/** What a CNI plug-in may put in front of all. */
const LATER = `*nat
-I PREROUTING 1 -m comment --comment "cali:6gwbT8clXdHdC1b1" -s 192.0.2.0/24 -j RETURN
COMMIT
`;

const ENDPOINTS = [podIp(1), podIp(2), podIp6(1), podIp6(2)];

const web: ServicePort = {
  name: 'default/web:http',
  protocol: 'TCP',
  clusterIps: ['10.96.0.1', 'fd00:10:96::1'],
  port: 80,
  nodePort: 30080,
  externalIps: ['203.0.113.7'],
  endpoints: ENDPOINTS,
  targetPort: 8080,
};
const dns: ServicePort = {
  ...web,
  name: 'default/dns:dns',
  protocol: 'UDP',
  clusterIps: ['10.96.0.2'],
  port: 53,
  nodePort: 30053,
  externalIps: [],
  endpoints: [podIp(1), podIp(2)],
  targetPort: 5353,
};
const plain = (name: string, address: string): ServicePort => ({
  name: `default/${name}:http`,
  protocol: 'TCP',
  clusterIps: [address],
  port: 80,
  endpoints: [podIp(1), podIp(2)],
  targetPort: 8080,
});
const sticky: ServicePort = { ...plain('sticky', '10.96.0.3'), affinitySeconds: 10800 };
const guarded: ServicePort = {
  ...plain('guarded', '10.96.0.4'),
  nodePort: 30084,
  loadBalancerIps: ['203.0.113.8'],
  sourceRanges: ['192.168.50.0/24'],
};
const local: ServicePort = {
  ...plain('local', '10.96.0.5'),
  nodePort: 30085,
  loadBalancerIps: ['203.0.113.9'],
  isLocal: true,
  healthCheckNodePort: 31085,
};
const empty: ServicePort = {
  ...dns,
  name: 'default/empty:dns',
  clusterIps: ['10.96.0.6'],
  nodePort: 30054,
  endpoints: [],
};
/** Enough for a dispatch of several branches. */
const MANY = Array.from({ length: 50 }, (_, i) => plain(`s-${i}`, `10.96.${1 + (i % 4)}.${i + 1}`));
const COMMON = [web, dns, sticky, guarded, local, empty, ...MANY];
const stale: ServicePort = { ...plain('stale', '10.96.9.1'), nodePort: 30091 };
const fresh: ServicePort = { ...plain('fresh', '10.96.9.2'), nodePort: 30092 };

function objectsOf(port: ServicePort): object[] {
  const { name, protocol, isLocal, healthCheckNodePort, endpoints, targetPort, ...spec } = port;
  const [, service_, portName] = /^default\/(.*):(.*)$/.exec(name) as unknown as [string, string, string];
  const slices = [4, 6].map((family) =>
    slice(service_, `${service_}-${family}`, {
      ports: [{ name: portName, protocol, port: targetPort }],
      endpoints: endpoints.filter((ip) => ip.includes(':') === (family === 6)),
      addressType: family === 4 ? 'IPv4' : 'IPv6',
    }),
  );
  return [
    service(service_, {
      ...spec,
      ports: [{ name: portName, protocol, port: port.port, nodePort: port.nodePort }],
      externalPolicy: isLocal === true ? 'Local' : undefined,
      spec: healthCheckNodePort === undefined ? undefined : { healthCheckNodePort },
    }),
    ...slices,
  ];
}

/** Those of the Services of a port, in nat. */
const chainsOf = ({ name, protocol, endpoints, targetPort }: ServicePort): string[] => [
  ...['SVC', 'SVL', 'EXT', 'FW'].map((kind) => `KUBE-${kind}-${servicePortHash(name, protocol)}`),
  ...endpoints.map((ip) => endpointChain(name, protocol, { ip: ip as Ip, port: targetPort })),
];

describe.each(['nft', 'legacy'] as const)('%s', (backend) => {
  let node: TestNode;
  let folder: string;
  let env: Record<string, string>;
  let kubeProxy: KubeProxyStandIn;
  let daemon: Daemon;

  beforeAll(async () => {
    // With a lock of its own: the one of this machine is not ours to hold.
    folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-takeover-'));
    env = { XTABLES_LOCKFILE: join(folder, 'xtables.lock') };
    node = await TestNode.create(3);
    node.manifests.put('services', ...[...COMMON, fresh].flatMap(objectsOf));
    kubeProxy = await kubeProxyIn(node.netns, [...COMMON, stale]);
  });
  afterAll(async () => {
    await node?.delete();
    rmSync(folder, { recursive: true });
  });

  /** A node on which kube-proxy serves these ports, among others' rules. */
  async function kubeProxyIn(netns: Netns, ports: readonly ServicePort[]): Promise<KubeProxyStandIn> {
    const load = (program: string, input: string): Promise<string> =>
      netns.exec([`${program}-${backend}-restore`, '--noflush'], { env, input });
    await load('iptables', OTHERS);
    await load('ip6tables', OTHERS6);
    const proxy = new KubeProxyStandIn(netns, backend, env);
    await proxy.sync(ports);
    await load('iptables', LATER);
    return proxy;
  }

  const kproxy = (...args: string[]): Promise<CommandResult> =>
    runKproxy(node.netns, args, { env, timeoutMs: 20_000 });
  const diff = (): Promise<CommandResult> => kproxy('diff', ...node.flags, '--proxy-mode=iptables');

  /** Rules by chain, `iptables nat KUBE-SERVICES`; in order. With what each has counted if asked for. */
  async function chains(netns = node.netns, ...args: string[]): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    for (const program of ['iptables', 'ip6tables']) {
      let table = '';
      for (const line of (await netns.exec([`${program}-${backend}-save`, ...args], { env })).split('\n')) {
        const [, name] = /^:(\S+)/.exec(line) ?? [];
        const [, chain] = /^(?:\[\d+:\d+\] )?-A (\S+)/.exec(line) ?? [];
        if (line.startsWith('*')) table = line.slice(1);
        if (name !== undefined) found.set(`${program} ${table} ${name}`, []);
        if (chain !== undefined) found.get(`${program} ${table} ${chain}`)!.push(line);
      }
    }
    return found;
  }

  /** Rules of others, by chain. */
  const foreign = (all: ReadonlyMap<string, readonly string[]>): [string, string[]][] =>
    [...all].flatMap(([chain, rules]): [string, string[]][] =>
      / KUBE-(?!KUBELET|IPTABLES)/.test(chain)
        ? []
        : [[chain, rules.filter((rule) => !/-j KUBE-/.test(rule))]],
    );

  /** Requests all the time, and some that never end, while `change` goes on. None of them fails. */
  async function underLoad(change: () => Promise<unknown>): Promise<void> {
    const client = node.topology.client.agent();
    const pod = node.topology.pod('pod-3').agent();
    const tcp = (host: string, port = 80): Target => ({ protocol: 'tcp', host, port, timeoutMs: 950 });
    const udp = (host: string, port: number): Target => ({ protocol: 'udp', host, port });
    const asked: [Agent, Target][] = [
      [client, tcp('10.96.0.1')],
      [client, tcp('fd00:10:96::1')],
      [client, tcp(NODE.ip, 30080)],
      [client, tcp(NODE.ip6, 30080)],
      [client, tcp('203.0.113.7')],
      [client, tcp('10.96.0.3')],
      [client, tcp('203.0.113.8')],
      [client, tcp('203.0.113.9')],
      [client, tcp('10.96.3.3')],
      [client, udp('10.96.0.2', 53)],
      [client, udp(NODE.ip, 30053)],
      [pod, tcp('10.96.0.1')],
      [pod, tcp('10.96.0.3')],
      [node.netns.agent(), tcp('10.96.0.1')],
      [node.netns.agent(), tcp('127.0.0.1', 30080)],
    ];
    const loads = await Promise.all(
      asked.map(([agent, target]) => agent.startLoad({ ...target, concurrency: 1, pauseMs: 10 })),
    );
    const held = await Promise.all(
      asked.map(([agent, target]) => agent.hold({ ...target, timeoutMs: 2000 })),
    );
    const more = async (): Promise<void> => {
      const from = await Promise.all(loads.map((load) => load.peek()));
      await expect
        .poll(
          async () => {
            const now = await Promise.all(loads.map((load) => load.peek()));
            return Math.min(...now.map(({ total }, i) => total - from[i]!.total));
          },
          { timeout: 20_000 },
        )
        .toBeGreaterThan(20);
    };
    try {
      await more();
      await change();
      await more();
    } finally {
      const tallies = await Promise.all(loads.map((load) => load.stop()));
      const reports = await Promise.all(held.map((one) => one.release()));
      for (const [i, [, { protocol, host, port }]] of asked.entries()) {
        const what = `${protocol} ${host} ${port}`;
        expect(tallies[i]!.failures, what).toEqual([]);
        const { outcome, server, peerPort, first } = reports[i]!;
        expect({ outcome, server, peerPort }, `held ${what}`).toEqual({
          outcome: 'reply',
          server: first.server,
          peerPort: first.peerPort,
        });
        // A client that is remembered stays where it was, whoever writes the rules.
        if (host === '10.96.0.3') expect(Object.keys(tallies[i]!.servers)).toEqual([first.server]);
      }
    }
  }

  test('kproxy-ts takes over: what matches is adopted, with what it has counted', async () => {
    const before = await chains();
    const counted = await chains(node.netns, '-c');
    const handles = await ruleHandles();
    const isOfService = (line: string): boolean =>
      /-[AN] KUBE-(SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}\b/.test(line);
    const planned = (await diff()).stdout.split('\n').filter(isOfService);
    const changing = [...chainsOf(stale), ...chainsOf(fresh)];
    expect(planned.length).toBeGreaterThan(0);
    expect(planned.filter((line) => !changing.some((chain) => line.includes(chain)))).toEqual([]);

    await underLoad(async () => {
      daemon = Daemon.start(node.netns, [...node.flags, '-v=2', '--proxy-mode=iptables'], env);
      await daemon.rulesInForce();
    });
    expect(daemon.log.find(({ msg }) => msg === 'iptables')).toMatchObject({ backend });
    expect(daemon.log.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
    expect((await diff()).status).toBe(0);

    const after = await chains();
    expect(foreign(after)).toEqual(foreign(before));
    const stays = [...COMMON.flatMap(chainsOf)].flatMap((name) =>
      ['iptables', 'ip6tables'].map((program) => `${program} nat ${name}`).filter((id) => before.has(id)),
    );
    expect(stays.length).toBeGreaterThan(170);
    for (const id of stays) expect(after.get(id), id).toEqual(before.get(id));
    for (const name of chainsOf(stale)) expect([...after.keys()]).not.toContain(`iptables nat ${name}`);
    if (backend === 'nft') {
      const now = await ruleHandles();
      expect(stays.map((id) => now.get(id))).toEqual(stays.map((id) => handles.get(id)));
    }
    const now = await chains(node.netns, '-c');
    const packets = (rules: readonly string[] = []): number[] =>
      rules.map((rule) => Number(/\d+/.exec(rule)![0]));
    for (const id of stays) {
      const least = packets(counted.get(id));
      packets(now.get(id)).forEach((count, i) => {
        expect(count, id).toBeGreaterThanOrEqual(least[i]!);
      });
    }
    expect((await reply('10.96.9.2')).outcome).toBe('reply');
    expect((await reply('10.96.9.1')).outcome).not.toBe('reply');
  });

  test('kube-proxy takes over again: what it has to delete it can delete, and what is left of us is in nobody’s way', async () => {
    const served = [...COMMON.slice(0, -1), fresh];
    await underLoad(async () => {
      expect(await daemon.stop()).toBe(0);
      // Meanwhile a Service was deleted.
      await kubeProxy.sync(served);
    });
    const reference = await Netns.create('reference');
    try {
      await kubeProxyIn(reference, served);
      const [wanted, now] = [await chains(reference), await chains()];
      const inNat = (all: ReadonlyMap<string, string[]>): [string, string[]][] =>
        [...all].filter(([chain]) => / nat /.test(chain)).sort();
      expect(inNat(now)).toEqual(inNat(wanted));
      expect([...now.keys()]).toEqual(expect.arrayContaining([...wanted.keys()]));
      const ours = [...now.keys()].filter((chain) => !wanted.has(chain));
      expect(ours).toContain('iptables filter KUBE-CLUSTER-IPS');

      // It goes on from there: Services come, change and go.
      const later = [...served.slice(0, -3), stale, { ...web, endpoints: [podIp(1), podIp6(2)] }].filter(
        (port) => port !== web,
      );
      await kubeProxy.sync(later);
      expect((await reply('10.96.9.1')).outcome).toBe('reply');
      const { servers } = await node.topology.client
        .agent()
        .burst({ protocol: 'tcp', host: '10.96.0.1', port: 80, count: 20 });
      expect(servers).toEqual({ 'pod-1': 20 });
      await kubeProxy.sync(served);

      await underLoad(async () => {
        const { status, stdout, stderr } = await kproxy('cleanup');
        expect({ status, stderr }).toEqual({
          status: 0,
          stderr: ['iptables', 'ip6tables']
            .map(
              (program) => `kept ${program} chains KUBE-…: kube-proxy's; --include-kube-proxy removes them\n`,
            )
            .join(''),
        });
        expect(stdout.replace(/\d+ chains/g, 'N chains')).toBe(
          ['iptables', 'ip6tables']
            .map((program) => `removed ${program} -t filter: N chains, 3 rules in chains of others\n`)
            .join(''),
        );
      });
      expect([...(await chains())].sort()).toEqual([...wanted].sort());
      expect((await kproxy('cleanup')).stdout).toBe('Nothing to remove.\n');
    } finally {
      await reference.delete();
    }
  });

  async function ruleHandles(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    if (backend === 'legacy') return found;
    for (const [family, program] of [
      ['ip', 'iptables'],
      ['ip6', 'ip6tables'],
    ] as const) {
      const text = await node.nft('-a', 'list', 'table', family, 'nat');
      for (const part of text.split(/^\tchain /m).slice(1)) {
        const name = part.split(' ', 1)[0]!;
        const all = [...part.matchAll(/# handle (\d+)$/gm)].map(([, handle]) => handle!);
        found.set(`${program} nat ${name}`, all);
      }
    }
    return found;
  }

  const reply = (host: string) =>
    node.topology.client.agent().probe({ protocol: 'tcp', host, port: 80, timeoutMs: 500 });
});
