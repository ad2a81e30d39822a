// Half of the behaviour table in ipvs mode.

import { testPackets } from '../behaviour/packet-suite.ts';

testPackets([{ mode: 'ipvs', protocols: ['TCP', 'UDP'], half: 'first', round: 6, randomClusters: 0 }]);
