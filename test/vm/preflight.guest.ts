// What a start says and does where a module is missing, or not loaded yet. Schedulers that no other test uses stand for all
// modules: the kernel has one for everybody.

import { existsSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Daemon } from '../support/netns/daemon.ts';
import { TestNode } from '../support/test-node.ts';

const MODULES = join('/lib/modules', release());
const MISSING = 'fo';
const NOT_LOADED = 'ovf';

let node: TestNode;
let hidden = '';

beforeAll(async () => {
  node = await TestNode.create(1);
  const folder = join(MODULES, 'kernel/net/netfilter/ipvs');
  const file = readdirSync(folder).find((name) => name.startsWith(`ip_vs_${MISSING}.ko`));
  if (file === undefined) throw new Error(`${folder} has no scheduler ${MISSING} to hide`);
  hidden = join(folder, file);
  // In the guest's own overlay.
  renameSync(hidden, `${hidden}.hidden`);
});

afterAll(async () => {
  if (hidden !== '') renameSync(`${hidden}.hidden`, hidden);
  await node?.delete();
});

const isLoaded = (module: string): boolean =>
  readFileSync('/proc/modules', 'utf8')
    .split('\n')
    .some((line) => line.startsWith(`${module} `));

test('a module that is missing is named, with what loads it', async () => {
  const daemon = Daemon.start(node.netns, [
    ...node.flags,
    '--proxy-mode=ipvs',
    `--ipvs-scheduler=${MISSING}`,
  ]);
  expect(await daemon.ended).toBe(1);
  const told = daemon.log.filter(({ msg }) => msg.includes('ipvs mode cannot run'));
  expect(told).toHaveLength(1);
  expect(told[0]!.msg).toContain(`the kernel lacks the IPVS scheduler ${MISSING} (`);
  expect(told[0]!.msg).toContain(`On this host, as root: modprobe -a ip_vs_${MISSING}`);
});

test('ipvs,nftables is nftables then, and says why', async () => {
  const daemon = await node.start('--proxy-mode=ipvs,nftables', `--ipvs-scheduler=${MISSING}`);
  expect(JSON.stringify(daemon.log)).toContain(`the IPVS scheduler ${MISSING}`);
  expect((await node.table()).length).toBe(0);
  expect(await node.nft('list', 'tables')).toBe('table ip kproxy-ts\ntable ip6 kproxy-ts\n');
  expect(await node.nft('list', 'table', 'ip', 'kproxy-ts')).not.toContain('bound-ips');
  await daemon.stop();
  await node.kproxy('cleanup');
});

test('one that is there is loaded when it is asked for', async () => {
  expect(existsSync(hidden)).toBe(false);
  expect(isLoaded(`ip_vs_${NOT_LOADED}`)).toBe(false);
  const daemon = await node.start('--proxy-mode=ipvs', `--ipvs-scheduler=${NOT_LOADED}`);
  expect(isLoaded(`ip_vs_${NOT_LOADED}`)).toBe(true);
  await daemon.stop();
});
