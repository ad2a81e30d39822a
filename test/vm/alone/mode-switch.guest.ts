// To ipvs mode and back. Where the processor is emulated all of that takes minutes, so KPROXY_GUEST_ALL=1 runs it, and else the
// first two of it are run.

import { testLiveSwitches, testRestarts } from '../../kernel/mode-switch-suite.ts';

const IS_ALL = process.env['KPROXY_GUEST_ALL'] === '1';

testLiveSwitches([
  ['userspace', 'ipvs'],
  ['nftables', 'ipvs'],
  ...(IS_ALL ? ([['iptables', 'ipvs']] as const) : []),
]);
if (IS_ALL) testRestarts([['nftables', 'ipvs']]);
