// Sysctls, connection tracking and the OOM score, of the real program in a network namespace, with the rights of its unit.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ManifestDir, NODE_NAME, node as nodeObject, service } from '../support/manifests.ts';
import { Daemon, KPROXY, type LogLine } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';

/** CAP_NET_ADMIN and nothing else. */
const AS_UNIT = [
  ...['setpriv', '--bounding-set=-all,+net_admin', '--inh-caps=-all,+net_admin'],
  ...['--ambient-caps=-all,+net_admin', '--no-new-privs'],
];
/** The same of somebody else than root. */
const AS_USER = [...AS_UNIT, '--reuid=65534', '--regid=65534', '--clear-groups'];
const READ_ONLY = [
  'sh',
  '-ec',
  'mount -t proc proc /proc && mount -o remount,bind,ro /proc && exec "$@"',
  'sh',
];
const STAND_INS = `
  mount --make-rprivate /
  mount --bind "$1" /proc/sys/net/netfilter/nf_conntrack_max
  mount --bind "$2" /sys/module/nf_conntrack/parameters/hashsize
  shift 2
  exec "$@"
`;
/** With a limit that no host has. */
const FLAGS = [
  ...['--conntrack-max-per-core=1', '--conntrack-min=131077', '--conntrack-udp-timeout=7s'],
  ...['--conntrack-tcp-be-liberal', '--oom-score-adj=300'],
];
const SYSCTLS = {
  tcp_timeout_established: '86400',
  tcp_timeout_close_wait: '3600',
  udp_timeout: '7',
  tcp_be_liberal: '1',
};

let netns: Netns;
let manifests: ManifestDir;
let daemon: Daemon | undefined;

beforeAll(() => {
  manifests = new ManifestDir();
  chmodSync(manifests.path, 0o755);
  manifests.put('node', nodeObject('192.168.50.10'));
  manifests.put('web', service('web', { clusterIps: ['10.96.0.1'], ports: [{ name: 'http', port: 80 }] }));
});
beforeEach(async () => {
  netns = await Netns.create('host');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
  await netns.delete();
});
afterAll(() => manifests.delete());

const flags = () => [
  `--source=${manifests.path}`,
  `--hostname-override=${NODE_NAME}`,
  '--logging-format=json',
];

async function sysctls(): Promise<Record<string, string>> {
  const names = Object.keys(SYSCTLS);
  const files = names.map((name) => `/proc/sys/net/netfilter/nf_conntrack_${name}`);
  const values = (await netns.exec(['cat', ...files])).trim().split('\n');
  return Object.fromEntries(names.map((name, i) => [name, values[i]!]));
}

function start(wrapper: readonly string[], ...more: string[]): Daemon {
  const inside = { spawn: (argv: readonly string[]) => netns.spawn([...wrapper, ...argv]) };
  daemon = Daemon.start(inside as unknown as Netns, [...flags(), ...more]);
  return daemon;
}

const init = (wrapper: readonly string[], ...more: string[]) =>
  netns.tryExec([...wrapper, process.execPath, KPROXY, '--init-only', ...flags(), ...more], {
    timeoutMs: 20_000,
  });

const isWarning = ({ level }: LogLine): boolean => level === 'warn' || level === 'error';

describe('the daemon', () => {
  test('sets what may be set with CAP_NET_ADMIN alone, and tells what is not its own', async () => {
    const before = readFileSync('/sys/module/nf_conntrack/parameters/hashsize', 'utf8');
    const { pid } = start(AS_UNIT, ...FLAGS);
    await daemon!.rulesInForce();
    expect(await sysctls()).toEqual(SYSCTLS);
    expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8')).toBe('300\n');
    expect(daemon!.log.filter(isWarning)).toEqual([]);
    const foreign = daemon!.log.filter(({ msg }) => msg.includes('belongs to the first network namespace'));
    expect(foreign.map(({ what }) => what)).toEqual(['net.netfilter.nf_conntrack_max=131077']);
    expect(readFileSync('/sys/module/nf_conntrack/parameters/hashsize', 'utf8')).toBe(before);
  });

  test('leaves alone what it is told to leave, and what is right', async () => {
    await netns.sysctl({ 'net.netfilter.nf_conntrack_tcp_timeout_established': 777 });
    const left = ['max-per-core=0', 'tcp-timeout-established=0', 'tcp-timeout-close-wait=0'];
    start([], ...left.map((flag) => `--conntrack-${flag}`));
    await daemon!.rulesInForce();
    expect(await sysctls()).toMatchObject({ tcp_timeout_established: '777', tcp_be_liberal: '0' });
    expect(daemon!.log.filter(({ what }) => String(what).includes('conntrack'))).toEqual([]);
  });

  test('serves where nothing can be set, and says so', async () => {
    start(READ_ONLY, ...FLAGS);
    await daemon!.rulesInForce();
    const warned = daemon!.log.filter(isWarning);
    expect(warned.map(({ what }) => what)).toEqual(
      Object.entries(SYSCTLS).map(([name, value]) => `net.netfilter.nf_conntrack_${name}=${value}`),
    );
    expect(warned.map(({ err }) => (err as { code: string }).code)).toEqual(Array(4).fill('EROFS'));
  });

  test('without the right to a lower OOM score it says who may give it one, and serves', async () => {
    start(AS_UNIT, '--oom-score-adj=-999');
    await daemon!.rulesInForce();
    const line = daemon!.log.find(({ what }) => what === 'oom_score_adj=-999');
    expect(line).toMatchObject({ level: 'info', err: { code: 'EACCES' } });
  });
});

describe('--init-only', () => {
  test.each([
    ['too few buckets', '4096', '32769'],
    ['enough of them', '32769', '32769'],
  ])('the limit of connections, with %s', async (_, before, after) => {
    // Files stand in for what all network namespaces of the host share.
    const folder = mkdtempSync(path.join(tmpdir(), 'kpt-host-'));
    const [max, buckets] = ['max', 'buckets'].map((name) => path.join(folder, name));
    try {
      writeFileSync(max!, '65536\n');
      writeFileSync(buckets!, `${before}\n`);
      const { status } = await init(['sh', '-ec', STAND_INS, 'sh', max!, buckets!], ...FLAGS);
      expect(status).toBe(0);
      expect(readFileSync(max!, 'utf8').trim()).toBe('131077');
      expect(readFileSync(buckets!, 'utf8').trim()).toBe(after);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.each([
    ['root', []],
    ['CAP_NET_ADMIN alone', AS_UNIT],
  ])('%s: sets up the node, writes no rule and exits 0', async (_, wrapper) => {
    const { status, stderr } = await init(
      wrapper,
      ...FLAGS,
      '--proxy-mode=iptables',
      '--iptables-backend=nft',
    );
    expect(stderr).toContain('this node is set up');
    expect(status).toBe(0);
    expect(await sysctls()).toEqual(SYSCTLS);
    expect(await netns.exec(['cat', '/proc/sys/net/ipv4/conf/all/route_localnet'])).toBe('1\n');
    expect(await netns.exec(['nft', 'list', 'ruleset'])).toBe('');
  });

  test.each([
    ['nftables mode', []],
    [
      'iptables mode that serves no node ports there',
      ['--proxy-mode=iptables', '--iptables-localhost-nodeports=false'],
    ],
    ['iptables mode, other addresses', ['--proxy-mode=iptables', '--nodeport-addresses=192.168.0.0/16']],
  ])('%s leaves 127.0.0.1 unrouted', async (_, more) => {
    expect((await init([], '--iptables-backend=nft', ...more)).status).toBe(0);
    expect(await netns.exec(['cat', '/proc/sys/net/ipv4/conf/all/route_localnet'])).toBe('0\n');
  });

  test('what cannot be set is named, and makes it exit 1', async () => {
    const { status, stderr } = await init(READ_ONLY, ...FLAGS);
    expect(status).toBe(1);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.filter(isWarning).map(({ what, err }) => `${what} ${err.code}`)).toEqual(
      Object.entries(SYSCTLS).map(([name, value]) => `net.netfilter.nf_conntrack_${name}=${value} EROFS`),
    );
  });

  test('a mode that cannot work here is an error', async () => {
    const { status, stderr } = await init(['setpriv', '--bounding-set=-net_admin']);
    expect(stderr).toMatch(/^kproxy-ts: .*EPERM.*\n$/);
    expect(status).toBe(1);
  });
});

test('another user with CAP_NET_ADMIN can do the same', async () => {
  start(AS_USER, ...FLAGS);
  await daemon!.rulesInForce();
  expect(await sysctls()).toEqual(SYSCTLS);
});
