// The behaviour table on Debian's kernel, in the mode that few other kernels can run.

import { testPackets } from '../behaviour/packet-suite.ts';

testPackets([{ mode: 'ipvs', protocols: ['TCP', 'UDP'], randomClusters: 0 }]);
