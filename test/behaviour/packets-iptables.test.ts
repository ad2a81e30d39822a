// The behaviour table on this machine's kernel, in iptables mode. Rows over SCTP are for kernels that surely have it (test/vm).

import { testPackets } from './packet-suite.ts';

testPackets([{ mode: 'iptables', protocols: ['TCP', 'UDP'], randomClusters: 12 }]);
