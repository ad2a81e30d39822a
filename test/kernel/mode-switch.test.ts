// Modes that every kernel with nf_tables has.

import { testLiveSwitches, testRestarts } from './mode-switch-suite.ts';

testRestarts([['nftables', 'iptables']]);
testLiveSwitches([['nftables', 'iptables']]);
