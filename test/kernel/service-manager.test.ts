// The daemon as a unit starts it: with one capability, a socket to be heard on, and somebody who watches.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { ManifestDir, NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { Netns } from '../support/netns/netns.ts';
import { NotifySocket } from '../support/notify-socket.ts';

/** What CapabilityBoundingSet=, AmbientCapabilities= and NoNewPrivileges= of the unit come to. */
const AS_UNIT = [
  ...['setpriv', '--bounding-set=-all,+net_admin', '--inh-caps=-all,+net_admin'],
  ...['--ambient-caps=-all,+net_admin', '--no-new-privs'],
];
const PORTS = [{ name: 'http', port: 80 }];

let netns: Netns;
let manifests: ManifestDir;
let socket: NotifySocket;
let daemon: Daemon | undefined;

beforeAll(async () => {
  netns = await Netns.create('unit');
  return () => netns.delete();
});
beforeEach(async () => {
  manifests = new ManifestDir();
  manifests.put('node', nodeObject('192.168.50.10'));
  // An abstract name is one of its network namespace.
  socket = await NotifySocket.open('@kpt-notify', ['ip', 'netns', 'exec', netns.name]);
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  socket.close();
  manifests.delete();
});

function start(...flags: string[]): Daemon {
  const asUnit = {
    spawn: (argv: readonly string[], env: Record<string, string>) => netns.spawn([...AS_UNIT, ...argv], env),
  };
  const env = { NOTIFY_SOCKET: '@kpt-notify', WATCHDOG_USEC: '400000' };
  daemon = Daemon.start(asUnit as unknown as Netns, [`--hostname-override=${NODE_NAME}`, ...flags], env);
  return daemon;
}

const lifeSigns = (): number => socket.texts.filter((text) => text === 'WATCHDOG=1').length;

test('ready when the rules are in force, alive while it runs, and silent when it does not', async () => {
  manifests.put('web', service('web', { clusterIps: ['10.96.0.1'], ports: PORTS }));
  manifests.put('slice', slice('web', 'web', { ports: PORTS, endpoints: ['10.1.0.11'] }));
  const { pid } = start(`--source=${manifests.path}`);
  await socket.waitFor('WATCHDOG=1');
  await socket.waitFor('STATUS=1 Service in force, nftables mode');
  const said = socket.texts.filter((one) => !/^EXTEND_TIMEOUT_USEC=|^WATCHDOG=1$/.test(one));
  expect(said[0]).toMatch(/^STATUS=Waiting for manifests /);
  // A status that follows another at once waits for a second.
  expect(said.slice(1).sort()).toEqual(['READY=1', 'STATUS=1 Service in force, nftables mode']);
  expect(socket.texts.indexOf('WATCHDOG=1')).toBeGreaterThan(socket.texts.indexOf('READY=1'));
  expect(await netns.exec(['nft', 'list', 'tables'])).toContain('kproxy-ts');
  expect(new Set(socket.received.map((one) => one.pid))).toEqual(new Set([pid]));

  process.kill(pid, 'SIGSTOP');
  await sleep(300);
  const before = lifeSigns();
  await sleep(1000);
  expect(lifeSigns()).toBe(before);
  process.kill(pid, 'SIGCONT');
  await expect.poll(lifeSigns).toBeGreaterThan(before + 1);

  process.kill(pid, 'SIGHUP');
  const { text } = await socket.waitFor('RELOADING=1');
  expect(text).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
  await expect.poll(() => socket.texts.filter((one) => one === 'READY=1')).toHaveLength(2);

  expect(await daemon!.stop()).toBe(0);
  await socket.waitFor('STOPPING=1');
});

test('while its API server is away it is not ready, says what it waits for, and asks for more time', async () => {
  start('--master=http://127.0.0.1:1');
  await expect
    .poll(() => socket.texts.filter((text) => text.startsWith('EXTEND_TIMEOUT_USEC=')), { timeout: 10_000 })
    .toHaveLength(5);
  expect(socket.texts).toContain('STATUS=Waiting for API server http://127.0.0.1:1');
  expect(socket.texts).not.toContain('READY=1');
  expect(lifeSigns()).toBe(0);
  expect(await daemon!.stop()).toBe(0);
});
