// A node that starts while its API server is away, with the real daemon, a real API server and real packets.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../support/api-server/api-server.ts';
import { ApiServerInNetns } from '../support/api-server/in-netns.ts';
import type { ApiObject } from '../support/api-server/object-store.ts';
import { NODE_NAME, node as nodeObject, service, slice } from '../support/manifests.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { NODE } from '../support/netns/topology.ts';
import type { Target } from '../support/netns/traffic.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const STAYS: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
const MOVES: Target = { protocol: 'tcp', host: '10.96.0.2', port: 80 };
const GOES: Target = { protocol: 'tcp', host: '10.96.0.3', port: 80 };
const GET = `
  const answer = await fetch(process.argv[1]);
  console.log(JSON.stringify([answer.status, await answer.text()]));
`;

let node: TestNode;
let server: ApiServer;
let way: ApiServerInNetns;
let folder: string;
let daemon: Daemon | undefined;

beforeAll(async () => {
  node = await TestNode.create(3);
});
beforeEach(async () => {
  server = await startApiServer();
  way = await ApiServerInNetns.open(node.netns, server);
  folder = mkdtempSync(join(tmpdir(), 'kproxy-state-'));
  put(nodeObject(NODE.ip, NODE.ip6));
  putService('stays', STAYS, [1]);
  putService('moves', MOVES, [1]);
  putService('goes', GOES, [3]);
  await node.nft('flush', 'ruleset');
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  await way.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(() => node?.delete());

const put = (object: object) => server.put(object as ApiObject);
const ports = [{ name: 'http', port: 8080 }];

function putService(name: string, { host }: Target, pods: readonly number[]): void {
  put(service(name, { clusterIps: [host], ports: [{ name: 'http', port: 80 }] }));
  put(slice(name, `${name}-abcde`, { ports, endpoints: pods.map(podIp) }));
}

function start(...flags: string[]): Daemon {
  daemon = Daemon.start(node.netns, [
    `--master=${way.url}`,
    `--hostname-override=${NODE_NAME}`,
    `--state-dir=${folder}`,
    '-v=2',
    ...flags,
  ]);
  return daemon;
}

/** As a power cut, and the kernel after it: nothing is left but the disk. */
async function powerCut(): Promise<void> {
  await daemon?.stop('SIGKILL');
  await node.nft('flush', 'ruleset');
}

async function written(): Promise<void> {
  await start().rulesInForce();
  await daemon!.waitForLog('checkpoint written');
}

/** What answers at a VIP: the name of a pod, or what else comes of it. */
async function who(target: Target): Promise<string> {
  const { outcome, server: name } = await node.topology.client.agent().probe({ ...target, timeoutMs: 500 });
  return name ?? outcome;
}

async function get(url: string): Promise<[number, string]> {
  return JSON.parse(await node.netns.exec([process.execPath, '--input-type=module', '-e', GET, url]));
}

async function healthz(): Promise<{ code: number; staleSince: string | undefined; nodeEligible: boolean }> {
  const [code, body] = await get('http://127.0.0.1:10256/healthz');
  return { code, ...JSON.parse(body) };
}

async function metric(name: string): Promise<number> {
  const [, text] = await get('http://127.0.0.1:10249/metrics');
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1],
  );
}

test('it serves what was known, says that it is old, and goes on from there without breaking what stays', async () => {
  await written();
  await powerCut();
  expect(await who(STAYS)).toBe('timeout');
  way.freeze();
  await start().rulesInForce();
  expect(daemon!.log.find(({ msg }) => msg.startsWith('no answer yet'))).toMatchObject({
    level: 'warn',
    source: `API server ${way.url}`,
    objectCount: 7,
  });
  expect([await who(STAYS), await who(MOVES), await who(GOES)]).toEqual(['pod-1', 'pod-1', 'pod-3']);
  const health = await healthz();
  expect(health).toMatchObject({ code: 200, nodeEligible: true });
  expect(Date.now() - Date.parse(health.staleSince!)).toBeLessThan(60_000);
  expect(await metric('kproxy_ts_state_stale')).toBe(1);

  // Meanwhile in the cluster:
  putService('moves', MOVES, [2]);
  server.delete('Service', 'default', 'goes');
  server.delete('EndpointSlice', 'default', 'goes-abcde');
  const load = await node.topology.client.agent().startLoad({ ...STAYS, pauseMs: 1 });
  const from = daemon!.log.length;
  way.thaw();
  await daemon!.waitForLog('nothing of the checkpoint is left', { from, timeoutMs: 20_000 });
  await expect.poll(() => who(MOVES), { timeout: 5000 }).toBe('pod-2');
  await expect.poll(() => who(GOES), { timeout: 5000 }).not.toBe('pod-3');
  expect(await who(STAYS)).toBe('pod-1');
  const tally = await load.stop();
  expect(tally.failures).toEqual([]);
  expect(tally.total).toBeGreaterThan(50);
  // Nothing about what stayed was written: one slot of one Service, and all of another, with their hairpin pairs.
  const writes = daemon!.log.slice(from).filter(({ msg }) => msg === 'synced');
  expect(writes.reduce((sum, line) => sum + Number(line['writes']), 0)).toBeLessThan(12);
  expect((await healthz()).staleSince).toBeUndefined();
  expect(await metric('kproxy_ts_state_stale')).toBe(0);
  // And that is what the next start would know.
  await daemon!.waitForLog('checkpoint written', { from, timeoutMs: 15_000 });
  expect(readFileSync(join(folder, 'checkpoint'), 'utf8')).not.toContain('default/goes');
}, 60_000);

test('a server that refuses connections is away, too', async () => {
  await written();
  await powerCut();
  await server.pause();
  await start().rulesInForce();
  expect(await who(STAYS)).toBe('pod-1');
  await server.resume();
  await daemon!.waitForLog('nothing of the checkpoint is left', { timeoutMs: 20_000 });
}, 60_000);

test('one that answers is believed at once, whatever the disk says', async () => {
  await written();
  await daemon!.stop('SIGKILL');
  putService('moves', MOVES, [2]);
  await start().rulesInForce(4000);
  expect(await who(MOVES)).toBe('pod-2');
  expect(daemon!.log.map(({ msg }) => msg).filter((msg) => msg.includes('checkpoint'))).toEqual([]);
});

test('what changed last is on disk when it is stopped', async () => {
  await written();
  const from = daemon!.log.length;
  putService('moves', MOVES, [2]);
  await daemon!.waitForLog('synced', { from });
  expect(await daemon!.stop()).toBe(0);
  expect(readFileSync(join(folder, 'checkpoint'), 'utf8')).toContain(podIp(2));
});

test('a damaged one is told and left alone; the rules of the kernel stay, and the server cures it', async () => {
  await written();
  await daemon!.stop();
  const generation = await node.generation();
  writeFileSync(join(folder, 'checkpoint'), readFileSync(join(folder, 'checkpoint')).subarray(0, -10));
  way.freeze();
  const line = await start().waitForLog('the checkpoint cannot be used');
  expect(line).toMatchObject({ level: 'error', code: 'DAMAGED' });
  expect(await metric('kproxy_ts_checkpoint_failures_total')).toBe(1);
  expect(await who(STAYS)).toBe('pod-1');
  expect(await node.generation()).toBe(generation);
  way.thaw();
  await daemon!.rulesInForce(20_000);
  await daemon!.waitForLog('checkpoint written');
}, 60_000);

test('a disk that is full costs the checkpoint and nothing else', async () => {
  const steps = `mount -t tmpfs -o size=4k tmpfs '${folder}' && exec "$@"`;
  daemon = Daemon.start(
    { spawn: (argv: readonly string[]) => node.netns.spawn(['sh', '-ec', steps, 'sh', ...argv]) } as never,
    [`--master=${way.url}`, `--hostname-override=${NODE_NAME}`, `--state-dir=${folder}`, '-v=2'],
  );
  await daemon.rulesInForce();
  for (let i = 0; i < 20; i++) putService(`more-${i}`, { ...STAYS, host: `10.96.1.${i}` }, [1]);
  const line = await daemon.waitForLog('no checkpoint could be written', { timeoutMs: 15_000 });
  expect(line).toMatchObject({ level: 'error', err: { code: 'ENOSPC' } });
  expect(await who(STAYS)).toBe('pod-1');
  expect((await healthz()).code).toBe(200);
  expect(await metric('kproxy_ts_checkpoint_failures_total')).toBeGreaterThan(0);
  expect(await daemon.stop()).toBe(0);
});
