// From one mode to another and back, under load: the new rules come before the old ones go, and no connection notices.
// What a kernel can run differs: each *.test.ts and *.guest.ts names its pairs.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
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

/** From the first to the second and back. */
export function testModeSwitches(pairs: readonly (readonly [ProxyMode, ProxyMode])[]): void {
  let node: SwitchingNode;
  let daemon: Daemon | undefined;

  beforeAll(async () => {
    node = await SwitchingNode.create();
  });
  beforeEach(() => node.clear());
  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    daemon = undefined;
  });
  afterAll(() => node?.delete());

  test.each(pairs)(
    '%s, %s and back',
    async (first, second) => {
      daemon = await node.start(first);
      const askers = await node.askFromEverywhere(PAUSE_MS);
      const held: Held[] = [];
      for (const mode of ROUNDS.flatMap(() => [second, first])) {
        held.push(...(await node.holdFromEverywhere()));
        const before = mode === first ? second : first;
        expect(await daemon.stop()).toBe(0);
        expect(await node.present()).toContain(before);
        daemon = await node.start(mode);
        if (before !== OUTLASTING) await daemon.waitForLog(REMOVED);
        expect(await node.present()).toEqual(before === OUTLASTING ? [OUTLASTING, mode].sort() : [mode]);
        expect(await node.diff(mode)).toMatchObject({ status: 0 });
        await goOn(askers, MORE);
      }
      await expectNoFailures(askers);
      await expectUnbroken(held);
      if (second === OUTLASTING) await daemon.waitForLog(REMOVED);
      expect(await node.present()).toEqual([first]);
    },
    patient(90_000),
  );
}
