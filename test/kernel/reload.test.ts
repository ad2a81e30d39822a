// A configuration that changes while the daemon runs and clients call: applied without a failed request, or refused as a whole.

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CertificateAuthority } from '../support/api-server/certificates.ts';
import { NODE_NAME, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { NODE, POD_CIDR, POD_CIDR6 } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const ASK = `
  const answer = await fetch(process.argv[1], process.argv[2] ? { method: 'PUT', body: process.argv[2] } : {});
  console.log(JSON.stringify([answer.status, await answer.text()]));
`;

let node: TestNode;
let folder: string;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(3);
  node.manifests.put(
    'web',
    service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
    slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: [1, 2, 3].map(podIp) }),
  );
});
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-reload-'));
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop();
  rmSync(folder, { recursive: true });
});
afterAll(() => node?.delete());

const configPath = (): string => path.join(folder, 'config.yaml');

/** Replaces the file as an editor does. */
function put(fields: Readonly<Record<string, unknown>>): void {
  const text = JSON.stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clusterCIDR: `${POD_CIDR},${POD_CIDR6}`,
    kproxyTs: { source: node.manifests.path },
    ...fields,
  });
  writeFileSync(`${configPath()}.new`, text);
  renameSync(`${configPath()}.new`, configPath());
}

const flags = (): string[] => [`--config=${configPath()}`, `--hostname-override=${NODE_NAME}`];

async function start(fields: Readonly<Record<string, unknown>> = {}): Promise<Daemon> {
  put(fields);
  daemon = Daemon.start(node.netns, [...flags(), '-v=2']);
  await daemon.rulesInForce();
  return daemon;
}

/** Changes the file and waits for what becomes of it. */
async function reload(running: Daemon, fields: Readonly<Record<string, unknown>>) {
  const from = running.log.length;
  put(fields);
  process.kill(running.pid, 'SIGHUP');
  return running.waitForLog(({ msg }) => /^configuration (?:applied|refused)/.test(msg), { from });
}

/** [status, body], asked on the node; undefined when nobody listens. */
async function ask(url: string, body = ''): Promise<[number, string] | undefined> {
  const argv = [process.execPath, '--input-type=module', '-e', ASK, url, body];
  const { status, stdout } = await node.netns.tryExec(argv, { timeoutMs: 10_000 });
  return status === 0 ? JSON.parse(stdout) : undefined;
}

async function metric(name: string, at = '127.0.0.1:10249'): Promise<number> {
  const [, text] = (await ask(`http://${at}/metrics`)) ?? [];
  const line = text?.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(line.lastIndexOf(' ') + 1));
}

const load = () => node.topology.client.agent().startLoad({ ...WEB, pauseMs: 1 });

test('each setting of rules, under load, without a failed request', async () => {
  const running = await start();
  const calls = await load();
  for (const fields of [
    { nftables: { masqueradeAll: true } },
    { nftables: { masqueradeBit: 15 } },
    { detectLocalMode: 'InterfaceNamePrefix', detectLocal: { interfaceNamePrefix: 'pod' } },
    { clusterCIDR: '' },
    { nodePortAddresses: ['0.0.0.0/0'] },
    { nftables: { syncPeriod: '5s', minSyncPeriod: '10ms' } },
    {},
  ]) {
    const from = running.log.length;
    expect(await reload(running, fields)).toMatchObject({ level: 'info' });
    await running.waitForLog('rules in force', { from });
    const { total } = await calls.peek();
    await expect.poll(async () => (await calls.peek()).total).toBeGreaterThan(total + 20);
  }
  const tally = await calls.stop();
  expect(tally.failures).toEqual([]);
  expect((await node.kproxy('diff', ...flags())).stdout).toBe('');
});

test('a setting reaches the rules', async () => {
  const running = await start({ nodePortAddresses: ['10.1.0.0/24'] });
  const target: Target = { protocol: 'tcp', host: NODE.ip, port: 30080 };
  const client = node.topology.client.agent();
  expect((await client.probe(target)).outcome).toBe('refused');
  const from = running.log.length;
  await reload(running, { nodePortAddresses: ['192.168.50.0/24'] });
  await running.waitForLog('rules in force', { from });
  expect((await client.probe(target)).outcome).toBe('reply');
});

test('what changed in the cluster while settings changed is not lost', async () => {
  const running = await start();
  const endpoints = async () => {
    const rows = await node.table();
    return rows.find(({ address }) => address === WEB.host)?.backends.length;
  };
  for (const pods of [[1], [1, 2], [2], [1, 2, 3]]) {
    node.manifests.put(
      'web',
      service('web', { clusterIps: [WEB.host], ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
      slice('web', 'web', { ports: [{ name: 'http', port: 8080 }], endpoints: pods.map(podIp) }),
    );
    await reload(running, { nftables: { masqueradeAll: pods.length === 1 } });
    await expect.poll(endpoints, { timeout: 5000 }).toBe(pods.length);
  }
});

test.each([[['nftables', 'iptables', 'nftables']]])(
  'modes %j take over under load, make before break, connections go on',
  async (modes) => {
    const running = await start({ mode: modes[0] });
    const calls = await load();
    const held = await node.topology.client.agent().hold(WEB);
    for (const mode of modes.slice(1)) {
      const from = running.log.length;
      expect(await reload(running, { mode })).toMatchObject({
        level: 'info',
        changed: expect.arrayContaining(['proxyMode']),
      });
      await running.waitForLog('removed the rules of another mode', { from });
      expect(await ask('http://127.0.0.1:10249/proxyMode')).toEqual([200, mode]);
      const { total } = await calls.peek();
      await expect.poll(async () => (await calls.peek()).total).toBeGreaterThan(total + 20);
      const tables = await node.nft('list', 'tables');
      expect(tables.includes('kproxy-ts')).toBe(mode === 'nftables');
      expect((await node.nft('list', 'ruleset')).includes('KUBE-SERVICES')).toBe(mode === 'iptables');
    }
    expect((await calls.stop()).failures).toEqual([]);
    expect(await held.release()).toMatchObject({ outcome: 'reply', server: held.first.server });
  },
);

test('one that cannot be used is refused as a whole, told, and the one before stays', async () => {
  const running = await start();
  expect(await metric('kproxy_ts_config_last_reload_successful')).toBe(1);
  const ruleset = await node.nft('-s', 'list', 'ruleset');
  for (const [fields, error] of [
    [{ nftables: { masqueradeAll: true }, zzzzzz: 1 }, /config\.yaml: zzzzzz: unknown field/],
    [
      { nftables: { masqueradeAll: true }, kproxyTs: { source: '/elsewhere' } },
      /takes a restart.*kproxyTs\.source/,
    ],
    [
      { nftables: { masqueradeAll: true }, metricsBindAddress: '192.0.2.1:1', bindAddressHardFail: true },
      /metrics server: listen on 192\.0\.2\.1:1: EADDRNOTAVAIL/,
    ],
  ] as const) {
    const line = await reload(running, fields);
    expect(line).toMatchObject({ level: 'error', errors: [expect.stringMatching(error)] });
    expect(await node.nft('-s', 'list', 'ruleset')).toBe(ruleset);
    expect(await metric('kproxy_ts_config_last_reload_successful')).toBe(0);
  }
  expect(await metric('kproxy_ts_config_reloads_total{result="refused"}')).toBe(3);
  await reload(running, {});
  expect(await metric('kproxy_ts_config_last_reload_successful')).toBe(1);
  expect(await metric('kproxy_ts_config_reloads_total{result="applied"}')).toBe(1);
});

test('servers move, /configz shows what is in effect, profiles are there when asked for', async () => {
  const running = await start();
  expect((await ask('http://127.0.0.1:10249/debug/table'))?.[0]).toBe(404);
  await reload(running, {
    metricsBindAddress: '127.0.0.1:10250',
    healthzBindAddress: 'none',
    enableProfiling: true,
  });
  expect(await ask('http://127.0.0.1:10249/metrics')).toBeUndefined();
  expect(await ask('http://127.0.0.1:10256/healthz')).toBeUndefined();
  const [, configz] = (await ask('http://127.0.0.1:10250/configz'))!;
  expect(JSON.parse(configz)).toMatchObject({
    'kubeproxy.config.k8s.io': {
      kind: 'KubeProxyConfiguration',
      hostnameOverride: NODE_NAME,
      enableProfiling: true,
      mode: 'nftables',
    },
  });
  const [status, table] = (await ask('http://127.0.0.1:10250/debug/table'))!;
  expect(status).toBe(200);
  expect(JSON.parse(table)).toEqual(expect.arrayContaining([expect.objectContaining({ address: WEB.host })]));
  const [, profile] = (await ask('http://127.0.0.1:10250/debug/pprof/profile?seconds=1'))!;
  expect(JSON.parse(profile)).toMatchObject({ nodes: expect.any(Array), samples: expect.any(Array) });
  const from = running.log.length;
  expect((await ask('http://127.0.0.1:10250/debug/flags/v', '0'))?.[0]).toBe(200);
  node.manifests.put('late', service('late', { clusterIps: ['10.96.0.2'], ports: [{ port: 80 }] }));
  await expect.poll(async () => (await node.table()).length, { timeout: 5000 }).toBe(3);
  expect(running.log.slice(from).filter(({ level }) => level === 'debug')).toEqual([]);
  // The port is kept where only the host differs, and is let go for it.
  await reload(running, { metricsBindAddress: '0.0.0.0:10250' });
  expect(await ask('http://127.0.0.1:10250/proxyMode')).toEqual([200, 'nftables']);
});

test('a file that is watched: replaced, written in place, or a ConfigMap whose links are swapped', async () => {
  for (const n of [1, 2]) mkdirSync(path.join(folder, `..${n}`));
  const text = (verbosity: number) =>
    JSON.stringify({
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      clusterCIDR: POD_CIDR,
      logging: { verbosity },
      kproxyTs: { source: node.manifests.path },
    });
  writeFileSync(path.join(folder, '..1/config.yaml'), text(2));
  writeFileSync(path.join(folder, '..2/config.yaml'), text(3));
  symlinkSync('..1', path.join(folder, '..data'));
  symlinkSync('..data/config.yaml', configPath());
  const running = Daemon.start(node.netns, flags());
  daemon = running;
  await running.rulesInForce();
  const applied = async (change: () => void) => {
    const from = running.log.length;
    change();
    expect(await running.waitForLog('configuration applied', { from })).toMatchObject({
      changed: ['verbosity'],
    });
  };
  await applied(() => {
    symlinkSync('..2', path.join(folder, '..data_tmp'));
    renameSync(path.join(folder, '..data_tmp'), path.join(folder, '..data'));
  });
  await applied(() => writeFileSync(path.join(folder, '..2/config.yaml'), text(4)));
  await applied(() => {
    writeFileSync(path.join(folder, 'new'), text(5));
    renameSync(path.join(folder, 'new'), configPath());
  });
}, 60_000);

test('TLS and tokens on the metrics address, replaced while it runs; what cannot be used is refused', async () => {
  const authority = new CertificateAuthority();
  const { cert, key } = authority.issue('metrics', ['IP:127.0.0.1']);
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const kproxyTs = {
    source: node.manifests.path,
    metricsTLSCertFile: file('tls.crt', cert),
    metricsTLSPrivateKeyFile: path.join(folder, 'tls.key'),
    metricsTokenFile: file('tokens', 'sesame'),
  };
  const url = 'https://127.0.0.1:10249';
  const get = async (token: string, at: string) => {
    const argv = ['curl', '-s', '-w', '%{http_code}', '--cacert', file('ca.crt', authority.cert)];
    const { stdout } = await node.netns.tryExec([...argv, '-H', `Authorization: Bearer ${token}`, url + at]);
    return stdout;
  };
  try {
    const running = await start();
    expect(await reload(running, { kproxyTs })).toMatchObject({
      level: 'error',
      errors: [
        expect.stringMatching(/^--metrics-tls-private-key-file: .*tls\.key: cannot be read \(ENOENT\)$/),
      ],
    });
    expect(await ask('http://127.0.0.1:10249/proxyMode')).toEqual([200, 'nftables']);

    file('tls.key', key);
    expect(await reload(running, { kproxyTs, enableProfiling: true })).toMatchObject({ level: 'info' });
    expect(await get('sesame', '/proxyMode')).toBe('nftables200');
    expect(await get('other', '/proxyMode')).toBe('unauthorized\n401');
    expect(await get('other', '/debug/table')).toBe('unauthorized\n401');
    expect(await get('sesame', '/debug/table')).toContain(WEB.host);
    expect(await get('sesame', '/configz')).not.toContain('sesame"');
    expect(await get('sesame', '/metrics')).toMatch(
      /^kproxy_ts_metrics_tls_certificate_expiry_timestamp_seconds [1-9]/m,
    );

    const from = running.log.length;
    file('tokens', 'other');
    await running.waitForLog('credentials of the metrics server replaced', { from });
    expect(await get('other', '/proxyMode')).toBe('nftables200');
    expect(await get('sesame', '/proxyMode')).toBe('unauthorized\n401');

    await reload(running, {});
    expect(await ask('http://127.0.0.1:10249/proxyMode')).toEqual([200, 'nftables']);
    await running.stop();

    rmSync(path.join(folder, 'tls.key'));
    put({ kproxyTs });
    const { status, stderr } = await node.kproxy(...flags());
    expect([status, stderr]).toEqual([2, expect.stringContaining('tls.key: cannot be read (ENOENT)')]);
    expect(stderr).not.toMatch(/^ +at /m);
  } finally {
    authority.remove();
  }
}, 60_000);
