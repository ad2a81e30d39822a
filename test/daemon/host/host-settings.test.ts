// What a proxy wants of its host, from its settings.

import { describe, expect, test } from 'vitest';
import type { ConntrackSettings } from '../../../src/config/settings.ts';
import { conntrackMax, conntrackSysctls, neededBuckets } from '../../../src/daemon/host/host-settings.ts';

const HOUR_MS = 3_600_000;
const DEFAULTS: ConntrackSettings = {
  maxPerCore: 32_768,
  min: 131_072,
  tcpEstablishedTimeoutMs: 24 * HOUR_MS,
  tcpCloseWaitTimeoutMs: HOUR_MS,
  isTcpLiberal: false,
  udpTimeoutMs: 0,
  udpStreamTimeoutMs: 0,
};

describe('the limit of connections', () => {
  test.each([
    ['the share of the cores', {}, 8, 262_144],
    ['at least the minimum', {}, 2, 131_072],
    ['at most a million', {}, 64, 1_048_576],
    ['more than that only when it is asked for', { min: 2_000_000 }, 64, 2_000_000],
    ['whatever it is', { maxPerCore: 0, min: 2_000_000 }, 64, undefined],
  ])('%s', (_, settings, cores, max) => {
    expect(conntrackMax({ ...DEFAULTS, ...settings }, cores)).toBe(max);
  });
});

test.each([
  [262_144, 65_536, undefined],
  [262_144, 65_535, 65_536],
  [262_144, 1_000_000, undefined],
  [7, 0, 1],
])('%i connections in %i buckets', (max, buckets, needed) => {
  expect(neededBuckets(max, buckets)).toBe(needed);
});

test.each([
  ['by default', {}, ['max=262144', 'tcp_timeout_established=86400', 'tcp_timeout_close_wait=3600']],
  ['nothing', { maxPerCore: 0, tcpEstablishedTimeoutMs: 0, tcpCloseWaitTimeoutMs: 0 }, []],
  [
    'everything, whole seconds',
    { isTcpLiberal: true, udpTimeoutMs: 1, udpStreamTimeoutMs: 1500, tcpCloseWaitTimeoutMs: 2000 },
    [
      'max=262144',
      'tcp_timeout_established=86400',
      'tcp_timeout_close_wait=2',
      'udp_timeout=1',
      'udp_timeout_stream=2',
      'tcp_be_liberal=1',
    ],
  ],
])('sysctls: %s', (_, settings, expected) => {
  const sysctls = conntrackSysctls({ ...DEFAULTS, ...settings }, 8);
  expect(sysctls.map(({ name, value }) => `${name}=${value}`)).toEqual(
    expected.map((one) => `net/netfilter/nf_conntrack_${one}`),
  );
});
