// The first of two worlds (packets.ts).

import { testHalf } from './packets.ts';

testHalf('first', { mode: 'nftables', from: 0 });
