// The second of two worlds (packets.ts).

import { testHalf } from './packets.ts';

testHalf('second', { mode: 'iptables', from: 4 });
