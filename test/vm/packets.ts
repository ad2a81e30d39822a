// What of the behaviour table runs in the guest, in each of two worlds at once: half of it in ipvs mode, over every protocol; and over
// SCTP, for which few kernels that tests run on have sockets, scenarios of another mode, and with them the older netfilter of this
// kernel. Of these every eighth, and none that takes a daemon of its own flags, for the time it takes where the processor is emulated: the
// tracer has them all, and KPROXY_GUEST_ALL=1 runs them all here.

import { type PacketSuite, testPackets } from '../behaviour/packet-suite.ts';
import { SCENARIOS } from '../behaviour/rows.ts';

const STEP = 8;
const IS_ALL = process.env['KPROXY_GUEST_ALL'] === '1';

/** Defines the tests of one world. */
export function testHalf(half: 'first' | 'second', other: { mode: PacketSuite['mode']; from: number }): void {
  testPackets([
    { mode: 'ipvs', protocols: ['TCP', 'UDP', 'SCTP'], half, balancing: 'in turn', randomClusters: 2 },
    {
      mode: other.mode,
      protocols: ['SCTP'],
      isChosen: (scenario) =>
        IS_ALL || (scenario.flags === undefined && SCENARIOS.indexOf(scenario) % STEP === other.from % STEP),
      randomClusters: 0,
    },
  ]);
}
