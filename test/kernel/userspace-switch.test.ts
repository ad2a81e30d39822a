// Between userspace mode, which serves by this process, and others: by a changed configuration, and by restarts.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import { testLiveSwitches } from './mode-switch-suite.ts';
import { expectNoFailures, expectUnbroken, goOn, REMOVED, SwitchingNode } from './switching-node.ts';

const PAUSE_MS = 2;
const MORE = 20;

let node: SwitchingNode;
let daemon: Daemon | undefined;

testLiveSwitches([
  ['userspace', 'nftables'],
  ['userspace', 'iptables'],
]);

beforeAll(async () => {
  node = await SwitchingNode.create();
});
beforeEach(() => node.clear());
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  daemon = undefined;
});
afterAll(() => node?.delete());

test('other settings of userspace mode go over the same portals: no request fails', async () => {
  daemon = await node.startConfigured('userspace');
  const held = await node.holdFromEverywhere();
  const askers = await node.askFromEverywhere(PAUSE_MS);
  for (const minSyncPeriod of ['1ms', '2ms']) {
    await node.reload(daemon, 'userspace', { iptables: { minSyncPeriod } });
    await goOn(askers, MORE);
  }
  await expectNoFailures(askers);
  await expectUnbroken(held);
});

test.each<ProxyMode>(['nftables', 'iptables'])(
  'userspace mode takes over from %s mode by a restart without a failed request; back, requests fail until the next rules are in force',
  async (other) => {
    daemon = await node.start(other);
    const askers = await node.askFromEverywhere(PAUSE_MS);
    const held = await node.holdFromEverywhere();
    await daemon.stop();
    daemon = await node.start('userspace');
    await daemon.waitForLog(REMOVED);
    expect(await node.present()).toEqual(['userspace']);
    await goOn(askers, MORE);
    await expectNoFailures(askers);
    // Who was translated to an endpoint still is.
    await expectUnbroken(held);

    await daemon.stop();
    expect(await node.present()).toEqual([]);
    daemon = await node.start(other);
    const fresh = await node.askFromEverywhere(PAUSE_MS);
    await goOn(fresh, MORE);
    await expectNoFailures(fresh);
  },
  60_000,
);
