// Without the right to write rules the daemon says so and ends; in a user namespace of its own, where buffers are
// small, it does all it does elsewhere.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ManifestDir, NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import { Daemon, KPROXY } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import { written } from '../support/test-node.ts';

const HTTP = [{ name: 'http', port: 80 }];

let netns: Netns;
let manifests: ManifestDir;

beforeAll(async () => {
  netns = await Netns.create('rights');
});

beforeEach(() => {
  manifests = new ManifestDir();
  manifests.put('node', nodeObject('192.168.50.10'));
});

afterEach(() => manifests.delete());

afterAll(() => netns?.delete());

const flags = () => [`--source=${manifests.path}`, `--hostname-override=${NODE_NAME}`];

describe('without CAP_NET_ADMIN', () => {
  const WITHOUT = {
    'no capabilities': ['setpriv', '--bounding-set=-all', '--inh-caps=-all'],
    'another user': ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
    'all capabilities but that one': ['setpriv', '--bounding-set=-net_admin'],
    'root of another user namespace': ['unshare', '--user', '--map-root-user'],
  };
  const COMMANDS = { daemon: [], table: ['table'], cleanup: ['cleanup'] };

  for (const [who, wrapper] of Object.entries(WITHOUT)) {
    test.each(Object.entries(COMMANDS))(
      `${who}: %s says so in one line and exits 1`,
      async (name, command) => {
        const argv = [process.execPath, KPROXY, ...command, ...(name === 'daemon' ? flags() : [])];
        const { status, stdout, stderr } = await netns.tryExec([...wrapper, ...argv]);
        expect(stderr).toMatch(/^kproxy-ts: .*EPERM.*; run as root or with CAP_NET_ADMIN\n$/);
        expect(stdout).toBe('');
        expect(status).toBe(1);
      },
    );
  }

  test('diff says so in one line and exits 2', async () => {
    const wrapper = WITHOUT['no capabilities'];
    const { status, stderr } = await netns.tryExec([
      ...wrapper,
      process.execPath,
      KPROXY,
      'diff',
      ...flags(),
    ]);
    expect(stderr).toMatch(/^kproxy-ts: .*EPERM.*\n$/);
    expect(status).toBe(2);
  });
});

describe('in a user namespace of its own', () => {
  test('it loads 5,000 Services and one of 20,000 endpoints, keeps them and changes them', async () => {
    const services = Array.from({ length: 5000 }, (_, i) => {
      const [ip, pod] = [`10.97.${i >> 8}.${i & 255}`, `10.2.${i >> 8}.${i & 255}`];
      return [
        service(`s-${i}`, { clusterIps: [ip], ports: HTTP }),
        slice(`s-${i}`, `s-${i}`, { ports: HTTP, endpoints: [pod] }),
      ];
    });
    manifests.put('services', ...services.flat());
    manifests.put('large', service('large', { clusterIps: ['10.96.0.1'], ports: HTTP }));
    putLarge(20_000);
    // Another network namespace than `netns`: one that the new user namespace owns.
    const unshare = ['unshare', '--user', '--map-root-user', '--net'];
    const outer = { spawn: (argv: readonly string[]) => netns.spawn([...unshare, ...argv]) };
    const daemon = Daemon.start(outer as unknown as Netns, [...flags(), '-v=2']);
    const line = await daemon.rulesInForce(40_000);
    expect(line).toMatchObject({ services: 5001 });
    expect(daemon.log.filter(({ level }) => level !== 'info' && level !== 'debug')).toEqual([]);

    const inside = ['nsenter', `--target=${daemon.pid}`, '--net'];
    const nft = (...args: string[]) => netns.exec([...inside, 'nft', ...args], { timeoutMs: 30_000 });
    const count = async (map: string): Promise<number> =>
      (await nft('list', 'map', 'ip', 'kproxy-ts', map)).split(' . tcp . ').length - 1;
    expect(await count('services')).toBe(5001);
    expect(await count('endpoints')).toBe(25_000);

    await written(daemon, () => putLarge(10));
    await expect.poll(() => count('endpoints'), { timeout: 10_000 }).toBe(5010);
    expect(await nft('list', 'map', 'ip', 'kproxy-ts', 'services')).toMatch(/10\.96\.0\.1 .* : 0:a\b/);
    expect(daemon.log.filter(({ level }) => level !== 'info' && level !== 'debug')).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  }, 90_000);

  /** The endpoints of the large Service, a thousand in a slice. */
  function putLarge(count: number): void {
    const slices = Array.from({ length: Math.ceil(count / 1000) }, (_, n) => {
      const endpoints = Array.from({ length: Math.min(count, 1000) }, (__, i) => ({
        ip: `10.${100 + n}.${i >> 8}.${i & 255}`,
        nodeName: 'node-2',
      }));
      return slice('large', `large-${n}`, { ports: HTTP, endpoints });
    });
    manifests.put('large-slices', ...slices);
  }
});
