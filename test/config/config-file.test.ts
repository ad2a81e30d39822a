import { describe, expect, it } from 'vitest';
import { COMMAND_FLAGS } from '../../src/cli/command-flags.ts';
import { readConfigFile } from '../../src/config/config-file.ts';
import { fieldPaths } from '../../src/config/fields.ts';
import type { Flags } from '../../src/config/flag.ts';
import { buildSettings, CONFIG_FLAGS, type Settings } from '../../src/config/settings.ts';
import { parseCidr } from '../../src/model/ip.ts';
import { KUBE_PROXY_FIELDS, KUBE_PROXY_FLAGS, KUBEADM_CONFIG } from './kube-proxy-reference.ts';

const HEAD = { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' };

/** `{ 'a.b': 1 }` as a file. */
function fileOf(fields: Readonly<Record<string, unknown>>): string {
  const config: Record<string, unknown> = { ...HEAD };
  for (const [path, value] of Object.entries(fields)) {
    const names = path.split('.');
    const last = names.pop()!;
    let at = config;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = value;
  }
  return JSON.stringify(config);
}

const read = (text: string) => readConfigFile(text, CONFIG_FLAGS);

/** What `--name=text …` and a file come to. */
function build(text: string, flags: Readonly<Record<string, string>> = {}) {
  const given = Object.entries(flags).map(([name, value]) => ({ name, spelled: `--${name}`, text: value }));
  return buildSettings(given, 'host', read(text));
}

function settingsOf(fields: Readonly<Record<string, unknown>>, flags: Readonly<Record<string, string>> = {}) {
  const { settings, errors } = build(fileOf(fields), flags);
  expect(errors).toEqual([]);
  return settings!;
}

describe("kube-proxy's own", () => {
  const flags: Flags = COMMAND_FLAGS.run;

  it.each(Object.entries(KUBE_PROXY_FLAGS))('flag --%s=%s is taken', (name, text) => {
    const flag = flags[name] ?? Object.values(flags).find(({ aliases = [] }) => aliases.includes(name));
    expect(flag?.isFieldOnly ?? false).toBe(false);
    expect(() => flag!.type.parse([text])).not.toThrow();
  });

  it.each(Object.entries(KUBE_PROXY_FIELDS))('field %s: %j is taken', (path, value) => {
    const { fields, errors } = read(fileOf({ [path]: value }));
    expect(errors).toEqual([]);
    expect([...fields.keys()]).toEqual([path]);
  });

  it('fields are all there are, but for ours', () => {
    const ours = Object.values(CONFIG_FLAGS)
      .flatMap(({ field }) => fieldPaths(field))
      .filter((path) => !path.startsWith('kproxyTs.'));
    expect(ours.sort()).toEqual(Object.keys(KUBE_PROXY_FIELDS).sort());
  });

  it('a file as kubeadm writes it is as if it said only what it says', () => {
    const { settings, errors, warnings } = build(KUBEADM_CONFIG);
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
    const said = { kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf', 'cluster-cidr': '10.244.0.0/16' };
    expect(settings).toEqual(settingsOf({}, said));
  });
});

describe('each field reaches its setting', () => {
  it.each<[fields: Record<string, unknown>, expected: Partial<Settings>]>([
    [{ mode: 'iptables', 'iptables.masqueradeBit': 3, 'nftables.masqueradeBit': 4 }, { masqueradeBit: 3 }],
    [{ 'iptables.masqueradeBit': 3, 'nftables.masqueradeBit': 4 }, { masqueradeBit: 4 }],
    [{ 'iptables.masqueradeAll': true }, { masqueradeAll: false }],
    [{ 'nftables.masqueradeAll': true }, { masqueradeAll: true }],
    [
      { 'nftables.syncPeriod': '1m', 'nftables.minSyncPeriod': '2s' },
      { syncPeriodMs: 60_000, minSyncPeriodMs: 2000 },
    ],
    [{ mode: 'iptables', 'iptables.syncPeriod': '1m' }, { syncPeriodMs: 60_000 }],
    [{ 'nftables.syncPeriod': '0s', configSyncPeriod: '0' }, { syncPeriodMs: 30_000 }],
    [
      { mode: 'ipvs', 'ipvs.syncPeriod': '1m', 'ipvs.minSyncPeriod': '2s', 'iptables.masqueradeBit': 3 },
      { proxyMode: 'ipvs', syncPeriodMs: 60_000, minSyncPeriodMs: 2000, masqueradeBit: 3 },
    ],
    [
      {
        'ipvs.scheduler': 'wlc',
        'ipvs.strictARP': true,
        'ipvs.excludeCIDRs': ['10.9.0.0/16', 'fd00:9::/64'],
        'ipvs.tcpTimeout': '15m',
        'ipvs.tcpFinTimeout': '1500ms',
        'ipvs.udpTimeout': '5m',
        'kproxyTs.ipvsDrainTimeout': '90s',
      },
      {
        ipvs: {
          scheduler: 'wlc',
          isStrictArp: true,
          excludedCidrs: [parseCidr('10.9.0.0/16')!, parseCidr('fd00:9::/64')!],
          timeouts: { tcp: 900, tcpFin: 2, udp: 300 },
          drainTimeoutMs: 90_000,
        },
      },
    ],
    [{ mode: 'ipvs,nftables' }, { proxyMode: 'ipvs', fallbackMode: 'nftables' }],
    [{ hostnameOverride: ' N1 ' }, { nodeName: 'n1' }],
    [
      { healthzBindAddress: 'none', metricsBindAddress: '0.0.0.0' },
      { healthAddress: undefined, metricsAddress: { host: '0.0.0.0', port: 10249 } },
    ],
    [
      { bindAddress: 'fd00::1' },
      {
        nodePortAddresses: { kind: 'primary', bindAddress: 'fd00::1' as never },
        healthAddress: { host: '::', port: 10256 },
        metricsAddress: { host: '::1', port: 10249 },
      },
    ],
    [{ featureGates: { AllowServiceExternalIPs: false } }, { allowedExternalIps: [] }],
    [{ 'kproxyTs.allowExternalIPs': false }, { allowedExternalIps: [] }],
    [
      { oomScoreAdj: -5, 'conntrack.min': 9, 'conntrack.udpTimeout': '7s', 'kproxyTs.takeoverWait': '1m' },
      {
        oomScoreAdj: -5,
        conntrack: { ...settingsOf({}).conntrack, min: 9, udpTimeoutMs: 7000 },
        takeoverWaitMs: 60_000,
      },
    ],
    [{ 'kproxyTs.source': './m' }, { source: { kind: 'manifests', path: './m' } }],
    [
      { 'logging.format': 'json', 'logging.verbosity': 3 },
      { logFormat: 'json', verbosity: 3 },
    ],
    [
      { detectLocalMode: 'BridgeInterface', 'detectLocal.bridgeInterface': 'cni0' },
      { detectLocal: { kind: 'BridgeInterface', name: 'cni0' } },
    ],
  ])('%j', (fields, expected) => {
    expect(settingsOf(fields)).toMatchObject(expected);
  });
});

describe('a flag that is given wins over the file', () => {
  it.each<[flags: Record<string, string>, fields: Record<string, unknown>, expected: Partial<Settings>]>([
    [{ 'hostname-override': 'flag' }, { hostnameOverride: 'file' }, { nodeName: 'flag' }],
    [
      { 'cluster-cidr': '' },
      { clusterCIDR: '10.0.0.0/8' },
      { detectLocal: { kind: 'ClusterCIDR', cidrs: [] } },
    ],
    [
      { 'proxy-mode': 'iptables' },
      { mode: 'nftables', 'iptables.masqueradeBit': 3 },
      { proxyMode: 'iptables', masqueradeBit: 3 },
    ],
    [{ 'iptables-masquerade-bit': '5' }, { 'nftables.masqueradeBit': 3 }, { masqueradeBit: 5 }],
    [{ 'masquerade-all': 'false' }, { 'nftables.masqueradeAll': true }, { masqueradeAll: false }],
    [{ 'healthz-port': '0' }, { healthzBindAddress: '0.0.0.0:1' }, { healthAddress: undefined }],
    [
      { 'healthz-port': '9' },
      { healthzBindAddress: '10.0.0.1' },
      { healthAddress: { host: '10.0.0.1', port: 9 } },
    ],
    [
      { 'healthz-port': '9' },
      { healthzBindAddress: '10.0.0.1:8' },
      { healthAddress: { host: '10.0.0.1', port: 8 } },
    ],
    [
      { 'metrics-port': '9', 'metrics-bind-address': '::1' },
      {},
      { metricsAddress: { host: '::1', port: 9 } },
    ],
    // Those of the file go on.
    [
      { 'feature-gates': 'NativeHistograms=true' },
      { featureGates: { AllowServiceExternalIPs: false } },
      { allowedExternalIps: [] },
    ],
  ])('%j over %j', (flags, fields, expected) => {
    expect(settingsOf(fields, flags)).toMatchObject(expected);
  });
});

describe('what is odd is told with its path', () => {
  it.each<[text: string, ...errors: string[]]>([
    ['', 'the file: must be a mapping, and is missing'],
    ['[1]', 'the file: must be a mapping, got a list'],
    ['a: [', 'line 1: unexpected end of the stream within a flow collection'],
    [
      '{}',
      'apiVersion: must be kubeproxy.config.k8s.io/v1alpha1, and is missing',
      'kind: must be KubeProxyConfiguration, and is missing',
    ],
    [
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 3',
      'apiVersion: must be kubeproxy.config.k8s.io/v1alpha1, got "kubelet.config.k8s.io/v1beta1"',
      'kind: must be KubeProxyConfiguration, got "KubeletConfiguration"',
    ],
    [fileOf({ clusterCidr: '10.0.0.0/8' }), 'clusterCidr: unknown field; did you mean clusterCIDR?'],
    [
      fileOf({ 'iptables.masqueradebit': 3 }),
      'iptables.masqueradebit: unknown field; did you mean masqueradeBit?',
    ],
    [fileOf({ 'a\u001b': 3 }), 'a\\u001b: unknown field'],
    [fileOf({ iptables: 3 }), 'iptables: must be a mapping, got 3'],
    [fileOf({ 'iptables.masqueradeBit': '3' }), 'iptables.masqueradeBit: must be an integer, got "3"'],
    [fileOf({ 'iptables.masqueradeBit': 1.5 }), 'iptables.masqueradeBit: must be an integer, got 1.5'],
    [
      fileOf({ 'nftables.masqueradeBit': 32 }),
      'nftables.masqueradeBit: must be an integer from 0 to 31, got "32"',
    ],
    [fileOf({ enableProfiling: 'true' }), 'enableProfiling: must be true or false, got "true"'],
    [
      fileOf({ 'iptables.syncPeriod': 30 }),
      'iptables.syncPeriod: must be a duration such as 30s, as a string, got 30',
    ],
    [fileOf({ 'iptables.syncPeriod': '-1s' }), 'iptables.syncPeriod: must be greater than 0, got "-1s"'],
    [fileOf({ nodePortAddresses: 'primary' }), 'nodePortAddresses: must be a list of strings, got "primary"'],
    [
      fileOf({ nodePortAddresses: ['primary', '10.0.0.0/8'] }),
      'nodePortAddresses: primary must stand alone, got "primary,10.0.0.0/8"',
    ],
    [fileOf({ clusterCIDR: ['10.0.0.0/8'] }), 'clusterCIDR: must be a string, got a list'],
    [
      fileOf({ mode: 'kernelspace' }),
      'mode: must be nftables, iptables, ipvs or userspace, or ipvs,nftables, got "kernelspace"',
    ],
    [
      fileOf({ featureGates: { Foo: 'x' } }),
      'featureGates: must be a mapping of names to true or false, got a mapping',
    ],
    [
      fileOf({ featureGates: { AllowServiceExternalIP: true } }),
      'featureGates: unknown feature gate "AllowServiceExternalIP"; did you mean AllowServiceExternalIPs?',
    ],
    [
      fileOf({ featureGates: { NFTablesProxyMode: false } }),
      'featureGates: feature gate NFTablesProxyMode is locked to true',
    ],
    [
      fileOf({ 'logging.vmodule': [{ filePattern: 'a' }] }),
      'logging.vmodule: must be a list of filePattern and verbosity, got a list',
    ],
    [
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ""\niptables: {syncPeriod: 1s, "syncPeriod": 2s}\nmode: nftables\nzzzzzz: 1\n',
      'iptables.syncPeriod: stands twice (line 4)',
      'mode: stands twice (line 5)',
      'zzzzzz: unknown field',
    ],
    [
      '{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","mode":"","mode":""}',
      'mode: stands twice (line 1)',
    ],
    [
      fileOf({ mode: 1, 'ipvs.tcpTimeout': 'x', oomScoreAdj: 2000, 'conntrack.min': -1 }),
      'mode: must be a string, got 1',
      'ipvs.tcpTimeout: must be a duration such as 30s or 1h30m, got "x"',
      'oomScoreAdj: must be an integer from -1000 to 1000, got "2000"',
      'conntrack.min: must be an integer from 0 to 2147483647, got "-1"',
    ],
  ])('%s', (text, ...errors) => {
    expect(read(text).errors).toEqual(errors);
  });

  it('between fields, and beside errors of flags', () => {
    const fields = { detectLocalMode: 'BridgeInterface', 'nftables.minSyncPeriod': '2m', zzzzzz: 1 };
    expect(build(fileOf(fields), { v: 'x' })).toEqual({
      settings: undefined,
      config: undefined,
      warnings: [],
      errors: [
        'zzzzzz: unknown field',
        '--v: must be an integer of at least 0, got "x"',
        'nftables.minSyncPeriod: must not exceed --iptables-sync-period (30000 ms), got 120000 ms',
        '--pod-bridge-interface: must be given with detectLocalMode=BridgeInterface',
      ],
    });
  });
});

it('what has no effect is named in one warning, unless it is the default', () => {
  const fields = {
    'logging.flushFrequency': '9s',
    'clientConnection.qps': 5,
    configSyncPeriod: '900s',
    portRange: '1-2',
  };
  expect(build(fileOf(fields), { 'kube-api-qps': '5' }).warnings).toEqual([
    expect.stringMatching(/^without effect here: --kube-api-qps, portRange, logging\.flushFrequency \(/),
  ]);
});
