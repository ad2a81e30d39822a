// To ipvs mode and back.

import { testLiveSwitches, testRestarts } from '../../kernel/mode-switch-suite.ts';

testLiveSwitches([
  ['nftables', 'ipvs'],
  ['iptables', 'ipvs'],
]);
testRestarts([['nftables', 'ipvs']]);
