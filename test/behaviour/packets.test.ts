// The behaviour table on this machine's kernel. Rows over SCTP are for kernels that surely have it
// (test/vm/packets.guest.ts).

import { testPackets } from './packet-suite.ts';

testPackets(
  (['nftables', 'iptables', 'userspace'] as const).map((mode) => ({
    mode,
    protocols: ['TCP', 'UDP'],
    randomClusters: 12,
  })),
);
