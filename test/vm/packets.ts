// What of the behaviour table runs in the guest, in each of two worlds at once: half of it in ipvs mode, over TCP, UDP and SCTP; and
// over SCTP, for which few kernels that tests run on have sockets, scenarios of another mode, and with them the older netfilter of this
// kernel. Where the processor is emulated all of that takes more than a quarter of an hour, so of another mode every sixteenth scenario is
// run, none that takes flags of its own. KPROXY_GUEST_ALL=1 runs them all, and random clusters; the tracer has them all in any case.

import { type PacketSuite, testPackets } from '../behaviour/packet-suite.ts';
import type { Scenario } from '../behaviour/row.ts';
import { SCENARIOS } from '../behaviour/rows.ts';

const IS_ALL = process.env['KPROXY_GUEST_ALL'] === '1';
/** Of scenarios of another mode one in so many is run. */
const EVERY = 16;
const isChosen = (scenario: Scenario, from: number): boolean =>
  IS_ALL || (SCENARIOS.indexOf(scenario) % EVERY === from && scenario.flags === undefined);

/** Defines the tests of one world. */
export function testHalf(half: 'first' | 'second', other: { mode: PacketSuite['mode']; from: number }): void {
  testPackets([
    {
      mode: 'ipvs',
      protocols: ['TCP', 'UDP', 'SCTP'],
      half,
      balancing: 'in turn',
      randomClusters: IS_ALL ? 2 : 0,
    },
    {
      mode: other.mode,
      protocols: ['SCTP'],
      isChosen: (scenario) => isChosen(scenario, other.from),
      balancing: 'by chance, not measured',
      randomClusters: 0,
    },
  ]);
}
