// From one mode to another and back, under load: the new rules come before the old ones go, and no connection notices.
// What a kernel can run differs: each *.test.ts and *.guest.ts names its pairs.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ProxyMode } from '../../src/config/flags.ts';
import type { Daemon } from '../support/netns/daemon.ts';
import type { Held } from '../support/netns/traffic.ts';
import { patient } from '../support/patience.ts';
import {
  expectNoFailures,
  expectUnbroken,
  goOn,
  OUTLASTING,
  REMOVED,
  SwitchingNode,
} from './switching-node.ts';

/** An emulated processor has enough to do with fewer. */
const IS_SLOW = patient(1) > 2;
const PAUSE_MS = IS_SLOW ? 500 : 2;
const ROUNDS = IS_SLOW ? [1] : [1, 2];
const MORE = 5;

type Pairs = readonly (readonly [ProxyMode, ProxyMode])[];

/** By restarts: from the first to the second and back. */
export function testRestarts(pairs: Pairs): void {
  testEach('%s, %s and back', pairs, async (node, first, second, own) => {
    let daemon = own(await node.start(first));
    const askers = await node.askFromEverywhere(PAUSE_MS);
    const held: Held[] = [];
    for (const mode of ROUNDS.flatMap(() => [second, first])) {
      held.push(...(await node.holdFromEverywhere()));
      const before = mode === first ? second : first;
      expect(await daemon.stop()).toBe(0);
      expect(await node.present()).toContain(before);
      daemon = own(await node.start(mode));
      if (before !== OUTLASTING) await daemon.waitForLog(REMOVED);
      expect(await node.present()).toEqual(withHeld(before, mode));
      expect(await node.diff(mode)).toMatchObject({ status: 0 });
      await goOn(askers, MORE);
    }
    await expectNoFailures(askers);
    await expectUnbroken(held);
    if (second === OUTLASTING) await daemon.waitForLog(REMOVED);
    expect(await node.present()).toEqual([first]);
  });
}

/** By a configuration that changes while the daemon runs: from the first to the second and back. */
export function testLiveSwitches(pairs: Pairs): void {
  testEach('%s, %s and back while the daemon runs', pairs, async (node, first, second, own) => {
    const daemon = own(await node.startConfigured(first));
    const askers = await node.askFromEverywhere(PAUSE_MS);
    const held: Held[] = [];
    for (const mode of ROUNDS.flatMap(() => [second, first])) {
      held.push(...(await node.holdFromEverywhere()));
      await node.reload(daemon, mode);
      const before = mode === first ? second : first;
      await expect.poll(() => node.present(), { timeout: patient(5000) }).toEqual(withHeld(before, mode));
      await goOn(askers, MORE);
    }
    await expectNoFailures(askers);
    await expectUnbroken(held);
    await expect.poll(() => node.present(), { timeout: patient(15_000) }).toEqual([first]);
    expect(daemon.log.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  });
}

/** Modes that have rules after a switch, while connections through the one before are open. */
const withHeld = (before: ProxyMode, mode: ProxyMode): ProxyMode[] =>
  before === OUTLASTING ? [OUTLASTING, mode].sort() : [mode];

function testEach(
  title: string,
  pairs: Pairs,
  run: (
    node: SwitchingNode,
    first: ProxyMode,
    second: ProxyMode,
    /** Has a daemon killed at the end of the test. */
    own: (daemon: Daemon) => Daemon,
  ) => Promise<void>,
): void {
  describe('under load', () => {
    let node: SwitchingNode;
    const daemons: Daemon[] = [];
    const own = (daemon: Daemon): Daemon => {
      daemons.push(daemon);
      return daemon;
    };

    beforeAll(async () => {
      node = await SwitchingNode.create();
    });
    beforeEach(() => node.clear());
    afterEach(async () => {
      for (const daemon of daemons.splice(0)) if (!daemon.hasEnded) await daemon.stop('SIGKILL');
    });
    afterAll(() => node?.delete());

    test.each(pairs)(title, (first, second) => run(node, first, second, own), patient(90_000));
  });
}
