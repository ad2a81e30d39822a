// Flags about the host rather than its rules: connection tracking, and the OOM score. Each has kube-proxy's field of the
// configuration file.

import type { Flags } from './flag.ts';
import { boolean, integer, nonNegativeDuration } from './flag-types.ts';

const int32 = integer('N', 0, 2 ** 31 - 1);

/** In the order of the help. */
export const HOST_FLAGS = {
  'conntrack-max-per-core': {
    type: int32,
    default: '32768',
    field: 'conntrack.maxPerCore',
    group: 'Host:',
    help: 'connections that the kernel may track for each core of this host, 1048576 altogether; 0 leaves the limit as it is',
    kubeProxy: 'same; does not start where it cannot be set',
  },
  'conntrack-min': {
    type: int32,
    default: '131072',
    field: 'conntrack.min',
    group: 'Host:',
    help: 'connections that it may track in any case, unless --conntrack-max-per-core is 0',
    kubeProxy: 'forgotten where the share of the cores is above 1048576',
  },
  'conntrack-tcp-timeout-established': {
    type: nonNegativeDuration,
    default: '24h',
    field: 'conntrack.tcpEstablishedTimeout',
    group: 'Host:',
    help: 'how long an idle TCP connection is tracked; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'conntrack-tcp-timeout-close-wait': {
    type: nonNegativeDuration,
    default: '1h',
    field: 'conntrack.tcpCloseWaitTimeout',
    group: 'Host:',
    help: 'how long a TCP connection in state CLOSE_WAIT is tracked; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'conntrack-tcp-be-liberal': {
    type: boolean,
    default: 'false',
    field: 'conntrack.tcpBeLiberal',
    group: 'Host:',
    help: 'let packets pass that do not fit the window of their TCP connection; false leaves it as it is',
    kubeProxy: 'same',
  },
  'conntrack-udp-timeout': {
    type: nonNegativeDuration,
    default: '0s',
    field: 'conntrack.udpTimeout',
    group: 'Host:',
    help: 'how long a UDP flow without an answer is tracked; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'conntrack-udp-timeout-stream': {
    type: nonNegativeDuration,
    default: '0s',
    field: 'conntrack.udpStreamTimeout',
    group: 'Host:',
    help: 'how long a UDP flow with answers is tracked; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'oom-score-adj': {
    type: integer('N', -1000, 1000),
    default: '-999',
    field: 'oomScoreAdj',
    group: 'Host:',
    help: 'oom_score_adj of this process, -1000 to 1000; less than it started with needs CAP_SYS_RESOURCE',
    kubeProxy: 'same',
  },
} satisfies Flags;
