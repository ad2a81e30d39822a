// Modes that every kernel with nf_tables has.

import { testModeSwitches } from './mode-switch-suite.ts';

testModeSwitches([['nftables', 'iptables']]);
