// The behaviour table on Debian's kernel, in the mode that few other kernels can run. Every other scenario, for the time it takes
// where the processor is emulated: the tracer has them all, and KPROXY_GUEST_ALL=1 runs them here, too.

import { testPackets } from '../behaviour/packet-suite.ts';
import { SCENARIOS } from '../behaviour/rows.ts';

const isAll = process.env['KPROXY_GUEST_ALL'] === '1';

testPackets([
  {
    mode: 'ipvs',
    protocols: ['TCP', 'UDP'],
    isChosen: (scenario) => isAll || SCENARIOS.indexOf(scenario) % 2 === 0,
    randomClusters: 0,
  },
]);
