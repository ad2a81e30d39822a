import { describe, expect, it } from 'vitest';
import { SETTINGS_FLAGS } from '../../src/config/flags.ts';
import { buildSettings, type Settings } from '../../src/config/settings.ts';
import { formatCidr } from '../../src/model/ip.ts';

/** `['v', '2']` is `--v 2`; a name alone has no value. */
function build(...flags: [name: string, text?: string][]) {
  const given = flags.map(([name, text]) => ({ name, spelled: `--${name}`, text }));
  return buildSettings(given, ' Host.Example ');
}

function settingsOf(...flags: [name: string, text?: string][]): Settings {
  const { settings, errors } = build(...flags);
  expect(errors).toEqual([]);
  return settings!;
}

it('has these defaults', () => {
  expect(settingsOf()).toEqual({
    source: { kind: 'kubernetes', kubeconfig: undefined, master: undefined },
    nodeName: 'host.example',
    proxyMode: 'nftables',
    fallbackMode: undefined,
    detectLocal: { kind: 'ClusterCIDR', cidrs: [] },
    nodePortAddresses: { kind: 'primary' },
    allowedExternalIps: undefined,
    iptables: { backend: 'auto', dispatch: 'tree', servesLocalhostNodePorts: true },
    ipvs: {
      scheduler: 'rr',
      isStrictArp: false,
      excludedCidrs: [],
      timeouts: { tcp: 0, tcpFin: 0, udp: 0 },
      drainTimeoutMs: 900_000,
    },
    userspace: { bindAddress: undefined, drainTimeoutMs: 5000 },
    localhostNodePorts: false,
    ownsNftablesTable: true,
    masqueradeBit: 14,
    masqueradeAll: false,
    healthAddress: { host: '0.0.0.0', port: 10256 },
    metricsAddress: { host: '127.0.0.1', port: 10249 },
    metricsTls: undefined,
    probeAddress: undefined,
    isBindHardFail: false,
    hasProfiling: false,
    minSyncPeriodMs: 0,
    syncPeriodMs: 30_000,
    conntrack: {
      maxPerCore: 32_768,
      min: 131_072,
      tcpEstablishedTimeoutMs: 86_400_000,
      tcpCloseWaitTimeoutMs: 3_600_000,
      isTcpLiberal: false,
      udpTimeoutMs: 0,
      udpStreamTimeoutMs: 0,
    },
    oomScoreAdj: -999,
    takeoverWaitMs: 10_000,
    takesOver: false,
    usesFdStore: false,
    logFormat: 'auto',
    verbosity: 0,
  });
});

it('keeps state where it is told to, but not of manifests, which are never away', () => {
  expect(settingsOf(['state-dir', '/var/lib/x'])).toMatchObject({ stateFolder: '/var/lib/x' });
  const { settings, warnings } = build(['state-dir', '/var/lib/x'], ['source', 'm']);
  expect(settings).toMatchObject({ stateFolder: undefined });
  expect(warnings).toEqual(['--state-dir has no effect with --source']);
});

it('takes what kube-proxy takes for its host, and names what it does not', () => {
  expect(settingsOf(['oom-score-adj', '1000'], ['conntrack-min', '0'])).toMatchObject({
    oomScoreAdj: 1000,
    conntrack: { min: 0 },
  });
  const bad = build(
    ['oom-score-adj', '1001'],
    ['conntrack-max-per-core', '-1'],
    ['conntrack-min', '2147483648'],
    ['conntrack-udp-timeout', '-1s'],
  );
  expect([...bad.errors].sort()).toEqual([
    '--conntrack-max-per-core: must be an integer from 0 to 2147483647, got "-1"',
    '--conntrack-min: must be an integer from 0 to 2147483647, got "2147483648"',
    '--conntrack-udp-timeout: must not be negative, got "-1s"',
    '--oom-score-adj: must be an integer from -1000 to 1000, got "1001"',
  ]);
});

it('waits for a predecessor no longer than a timer can', () => {
  expect(settingsOf(['takeover-wait', '0s']).takeoverWaitMs).toBe(0);
  expect(settingsOf(['takeover-wait', '10000h']).takeoverWaitMs).toBe(2 ** 31 - 1);
});

it('is frozen to the bottom', () => {
  const settings = settingsOf(['cluster-cidr', '10.0.0.0/8']);
  expect(Object.isFrozen(settings)).toBe(true);
  expect(Object.isFrozen(settings.source)).toBe(true);
  expect(Object.isFrozen(settings.detectLocal)).toBe(true);
});

it('every local address serves node ports in iptables mode, unless addresses are given', () => {
  const cidrsOf = (...given: [string, string][]) => {
    const { nodePortAddresses } = settingsOf(['proxy-mode', 'iptables'], ...given);
    return nodePortAddresses.kind === 'cidrs' ? nodePortAddresses.cidrs.map(formatCidr) : 'primary';
  };
  expect(cidrsOf()).toEqual(['0.0.0.0/0', '::/0']);
  expect(cidrsOf(['nodeport-addresses', ''])).toEqual(['0.0.0.0/0', '::/0']);
  expect(cidrsOf(['nodeport-addresses', 'primary'])).toEqual('primary');
  expect(cidrsOf(['nodeport-addresses', '10.0.0.0/8'])).toEqual(['10.0.0.0/8']);
});

describe('each flag reaches its setting', () => {
  it.each<[name: string, text: string, expected: Partial<Settings>]>([
    ['source', './m', { source: { kind: 'manifests', path: './m' } }],
    ['kubeconfig', '/k', { source: { kind: 'kubernetes', kubeconfig: '/k', master: undefined } }],
    ['master', 'https://a', { source: { kind: 'kubernetes', kubeconfig: undefined, master: 'https://a' } }],
    ['hostname-override', ' N1 ', { nodeName: 'n1' }],
    ['hostname-override', '', { nodeName: 'host.example' }],
    ['proxy-mode', '', { proxyMode: 'nftables' }],
    ['iptables-masquerade-bit', '31', { masqueradeBit: 31 }],
    [
      'iptables-backend',
      'legacy',
      { iptables: { backend: 'legacy', dispatch: 'tree', servesLocalhostNodePorts: true } },
    ],
    [
      'iptables-dispatch',
      'flat',
      { iptables: { backend: 'auto', dispatch: 'flat', servesLocalhostNodePorts: true } },
    ],
    [
      'iptables-localhost-nodeports',
      'false',
      { iptables: { backend: 'auto', dispatch: 'tree', servesLocalhostNodePorts: false } },
    ],
    ['masquerade-all', 'true', { masqueradeAll: true }],
    ['healthz-bind-address', '[::]:1', { healthAddress: { host: '::', port: 1 } }],
    ['healthz-bind-address', '10.0.0.1', { healthAddress: { host: '10.0.0.1', port: 10256 } }],
    ['healthz-bind-address', '', { healthAddress: undefined }],
    ['metrics-bind-address', '0.0.0.0:0', { metricsAddress: { host: '0.0.0.0', port: 0 } }],
    ['bind-address-hard-fail', 'true', { isBindHardFail: true }],
    ['probe-vip', '10.96.0.1:443', { probeAddress: { host: '10.96.0.1', port: 443 } }],
    ['profiling', 'true', { hasProfiling: true }],
    ['iptables-sync-period', '1m', { syncPeriodMs: 60_000 }],
    ['iptables-min-sync-period', '10s', { minSyncPeriodMs: 10_000 }],
    ['logging-format', 'json', { logFormat: 'json' }],
    ['v', '4', { verbosity: 4 }],
    ['allow-external-ips', 'true', { allowedExternalIps: undefined }],
    ['allow-external-ips', 'F', { allowedExternalIps: [] }],
    ['detect-local-mode', '', { detectLocal: { kind: 'ClusterCIDR', cidrs: [] } }],
    ['detect-local-mode', 'ClusterCIDR', { detectLocal: { kind: 'ClusterCIDR', cidrs: [] } }],
    ['detect-local-mode', 'NodeCIDR', { detectLocal: { kind: 'NodeCIDR' } }],
  ])('--%s=%s', (name, text, expected) => {
    expect(settingsOf([name, text])).toMatchObject(expected);
  });

  it('CIDR flags', () => {
    const { detectLocal } = settingsOf(['cluster-cidr', '10.244.1.1/16, fd00::/48']);
    expect(detectLocal.kind === 'ClusterCIDR' && detectLocal.cidrs.map(formatCidr)).toEqual([
      '10.244.0.0/16',
      'fd00::/48',
    ]);
    const { nodePortAddresses } = settingsOf(
      ['nodeport-addresses', '10.0.0.0/8,::/0'],
      ['nodeport-addresses', '192.168.0.0/16'],
    );
    expect(nodePortAddresses.kind === 'cidrs' && nodePortAddresses.cidrs.map(formatCidr)).toEqual([
      '10.0.0.0/8',
      '::/0',
      '192.168.0.0/16',
    ]);
  });
});

it('external IPs may be allowed within CIDRs', () => {
  const { allowedExternalIps } = settingsOf(
    ['allow-external-ips', '192.0.2.0/24, 2001:db8::/32'],
    ['allow-external-ips', '198.51.100.7/32'],
  );
  expect(allowedExternalIps?.map(formatCidr)).toEqual(['192.0.2.0/24', '2001:db8::/32', '198.51.100.7/32']);
});

describe('local traffic is detected by interface', () => {
  const bridge = ['detect-local-mode', 'BridgeInterface'] as [string, string];
  const prefix = ['detect-local-mode', 'InterfaceNamePrefix'] as [string, string];

  it.each<[flags: [string, string?][], detectLocal: Settings['detectLocal']]>([
    [[bridge, ['pod-bridge-interface', 'cni0']], { kind: 'BridgeInterface', name: 'cni0' }],
    [[bridge, ['pod-bridge-interface', 'x'.repeat(15)]], { kind: 'BridgeInterface', name: 'x'.repeat(15) }],
    [[prefix, ['pod-interface-name-prefix', 'veth']], { kind: 'InterfaceNamePrefix', prefix: 'veth' }],
  ])('%j', (flags, detectLocal) => {
    const { settings, warnings } = build(...flags);
    expect({ detectLocal: settings?.detectLocal, warnings }).toEqual({ detectLocal, warnings: [] });
  });

  it.each<[flags: [string, string?][], error: string]>([
    [[bridge], '--pod-bridge-interface: must be given with --detect-local-mode=BridgeInterface'],
    [
      [bridge, ['pod-bridge-interface', '']],
      '--pod-bridge-interface: must be given with --detect-local-mode=BridgeInterface',
    ],
    [
      [bridge, ['pod-interface-name-prefix', 'veth']],
      '--pod-bridge-interface: must be given with --detect-local-mode=BridgeInterface',
    ],
    [[prefix], '--pod-interface-name-prefix: must be given with --detect-local-mode=InterfaceNamePrefix'],
    ...['x'.repeat(16), 'é'.repeat(8), 'a b', 'a/b', 'a:b', '.', '..', ' '].map(
      (name): [[string, string?][], string] => [
        [bridge, ['pod-bridge-interface', name]],
        `--pod-bridge-interface: must be the name of an interface: at most 15 bytes, no space, "/" or ":", got "${name}"`,
      ],
    ),
    [
      [['detect-local-mode', 'nodecidr']],
      '--detect-local-mode: must be ClusterCIDR or NodeCIDR or BridgeInterface or InterfaceNamePrefix, got "nodecidr"',
    ],
  ])('%j is refused', (flags, error) => {
    expect(build(...flags).errors).toEqual([error]);
  });

  it.each<[flags: [string, string?][], warning: string]>([
    [
      [['pod-bridge-interface', 'cni0']],
      '--pod-bridge-interface has no effect with --detect-local-mode=ClusterCIDR',
    ],
    [
      [['pod-interface-name-prefix', 'veth']],
      '--pod-interface-name-prefix has no effect with --detect-local-mode=ClusterCIDR',
    ],
    [
      [
        ['detect-local-mode', 'NodeCIDR'],
        ['cluster-cidr', '10.0.0.0/8'],
      ],
      '--cluster-cidr has no effect with --detect-local-mode=NodeCIDR',
    ],
  ])('%j has no effect, which is warned of', (flags, warning) => {
    expect(build(...flags)).toMatchObject({ errors: [], warnings: [warning] });
  });
});

it('the last occurrence counts, but every one must be valid', () => {
  expect(settingsOf(['v', '1'], ['v', '5']).verbosity).toBe(5);
  expect(build(['v', 'x'], ['v', '5']).errors).toEqual(['--v: must be an integer of at least 0, got "x"']);
});

it('periods beyond what a timer can wait become the longest wait, not none', () => {
  expect(settingsOf(['iptables-sync-period', '10000h']).syncPeriodMs).toBe(2 ** 31 - 1);
});

it.each<[flags: [string, string?][], error: string]>([
  [[['iptables-masquerade-bit', 'x']], '--iptables-masquerade-bit: must be an integer from 0 to 31, got "x"'],
  [[['masquerade-all', 'maybe']], '--masquerade-all: must be true or false, got "maybe"'],
  [
    [['proxy-mode', 'kernelspace']],
    '--proxy-mode: must be nftables, iptables, ipvs or userspace, or ipvs,nftables, got "kernelspace"',
  ],
  [[['logging-format', 'xml']], '--logging-format: must be auto or text or json, got "xml"'],
  [[['hostname-override', '  ']], '--hostname-override: must not be blank, got "  "'],
  [[['iptables-sync-period', '0']], '--iptables-sync-period: must be greater than 0, got "0"'],
  [[['config-sync-period', '-1s']], '--config-sync-period: must be greater than 0, got "-1s"'],
  [[['iptables-min-sync-period', '-1s']], '--iptables-min-sync-period: must not be negative, got "-1s"'],
  [
    [['iptables-min-sync-period', '31s']],
    '--iptables-min-sync-period: must not exceed --iptables-sync-period (30000 ms), got 31000 ms',
  ],
  [
    [['cluster-cidr', '10.0.0.0/8,10.1.0.0/16']],
    '--cluster-cidr: must be one CIDR, or one IPv4 and one IPv6 CIDR, got "10.0.0.0/8,10.1.0.0/16"',
  ],
  [
    [['cluster-cidr', '10.0.0.0/8,fd00::/16,fd01::/16']],
    '--cluster-cidr: must be one CIDR, or one IPv4 and one IPv6 CIDR, got "10.0.0.0/8,fd00::/16,fd01::/16"',
  ],
  [[['cluster-cidr', '10.0.0.0']], '--cluster-cidr: must be CIDRs such as 10.0.0.0/8, got "10.0.0.0"'],
  [
    [
      ['nodeport-addresses', 'primary'],
      ['nodeport-addresses', '10.0.0.0/8'],
    ],
    '--nodeport-addresses: primary must stand alone, got "primary,10.0.0.0/8"',
  ],
  [[['allow-external-ips', 'no']], '--allow-external-ips: must be true or false, got "no"'],
  [[['allow-external-ips', '']], '--allow-external-ips: must be true, false or CIDRs, got ""'],
  [
    [['allow-external-ips', 'true,10.0.0.0/8']],
    '--allow-external-ips: must be CIDRs such as 10.0.0.0/8, got "true"',
  ],
  [
    [['allow-external-ips', '10.0.0.1']],
    '--allow-external-ips: must be CIDRs such as 10.0.0.0/8, got "10.0.0.1"',
  ],
  [[['nodeport-addresses', 'all']], '--nodeport-addresses: must be CIDRs such as 10.0.0.0/8, got "all"'],
  [
    [
      ['source', 'a'],
      ['master', 'b'],
    ],
    '--source: cannot be combined with --master',
  ],
  [[['v']], '--v: needs a value (N)'],
])('%j is refused', (flags, error) => {
  expect(build(...flags)).toEqual({ settings: undefined, errors: [error], warnings: [] });
});

it('reports every error at once', () => {
  expect(build(['v', 'x'], ['proxy-mode', 'x'], ['source', 's'], ['kubeconfig', 'k']).errors).toHaveLength(3);
});

it('a host without a name needs the flag', () => {
  expect(buildSettings([], ' ').errors).toEqual([
    '--hostname-override: must be given, because this host has no name',
  ]);
});

it('warns of a flag without effect', () => {
  expect(build(['config-sync-period', '1m']).warnings).toHaveLength(1);
  expect(build().warnings).toEqual([]);
});

it('every declared default can be parsed, and no name is used twice', () => {
  const names = Object.entries(SETTINGS_FLAGS).flatMap(([name, flag]) => [
    name,
    ...('aliases' in flag ? flag.aliases : []),
  ]);
  expect(new Set(names).size).toBe(names.length);
  for (const flag of Object.values(SETTINGS_FLAGS))
    expect(() => flag.type.parse([flag.default])).not.toThrow();
});

describe('TLS of the metrics server', () => {
  const build = (flags: Readonly<Record<string, string>>) =>
    buildSettings(
      Object.entries(flags).map(([name, text]) => ({ name, spelled: `--${name}`, text })),
      'host',
    );
  const pair = { 'metrics-tls-cert-file': '/c', 'metrics-tls-private-key-file': '/k' };

  it.each([
    [pair, { certFile: '/c', keyFile: '/k', clientCaFile: undefined, tokenFile: undefined }],
    [
      { ...pair, 'metrics-client-ca-file': '/a', 'metrics-token-file': '/t' },
      { certFile: '/c', keyFile: '/k', clientCaFile: '/a', tokenFile: '/t' },
    ],
  ])('%j', (flags, expected) => {
    expect(build(flags).settings?.metricsTls).toEqual(expected);
  });

  it.each([
    ['metrics-tls-cert-file', 'metrics-tls-private-key-file'],
    ['metrics-tls-private-key-file', 'metrics-tls-cert-file'],
    ['metrics-client-ca-file', 'metrics-tls-cert-file'],
    ['metrics-token-file', 'metrics-tls-cert-file'],
  ])('--%s needs --%s', (name, needed) => {
    expect(build({ [name]: '/x' }).errors).toEqual([`--${name}: needs --${needed}`]);
  });
});

it.each([
  ['nftables', []],
  ['userspace', []],
  ['iptables', ['--localhost-nodeports has no effect with --proxy-mode=iptables']],
])('node ports on loopback addresses in %s mode', (mode, warnings) => {
  const { settings, ...rest } = build(['proxy-mode', mode], ['localhost-nodeports', 'true']);
  expect(settings?.localhostNodePorts).toBe(true);
  expect(rest.warnings).toEqual(warnings);
});
