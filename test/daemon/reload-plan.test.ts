import { expect, it } from 'vitest';
import { buildSettings, type Settings } from '../../src/config/settings.ts';
import { planReload } from '../../src/daemon/reload-plan.ts';

const settingsOf = (flags: Readonly<Record<string, string>>): Settings => {
  const given = Object.entries(flags).map(([name, text]) => ({ name, spelled: `--${name}`, text }));
  return buildSettings(given, 'host').settings!;
};

it.each<[to: Record<string, string>, parts: string[], changed: string[], obstacles: string[]]>([
  [{}, [], [], []],
  [{ v: '2' }, ['log'], ['verbosity'], []],
  [{ 'healthz-bind-address': 'none' }, ['servers'], ['healthAddress'], []],
  [{ 'metrics-tls-cert-file': '/c', 'metrics-tls-private-key-file': '/k' }, ['servers'], ['metricsTls'], []],
  [{ 'probe-vip': '10.96.0.1:443' }, ['probe'], ['probeAddress'], []],
  [{ 'cluster-cidr': '10.0.0.0/8' }, ['rules'], ['detectLocal'], []],
  [{ 'proxy-mode': 'iptables' }, ['rules'], ['proxyMode', 'nodePortAddresses'], []],
  [{ 'iptables-dispatch': 'flat', v: '1' }, ['rules', 'log'], ['iptables', 'verbosity'], []],
  [{ 'hostname-override': 'x' }, ['restart'], ['nodeName'], ['hostnameOverride']],
  [{ 'state-dir': '/x' }, ['restart'], ['stateFolder'], ['--state-dir']],
  [{ source: 'x' }, ['restart'], ['source'], [expect.stringContaining('kproxyTs.source')]],
  [{ 'iptables-backend': 'nft' }, ['rules'], ['iptables'], ['kproxyTs.iptablesBackend']],
])('%j', (flags, parts, changed, obstacles) => {
  const plan = planReload(settingsOf({}), settingsOf(flags));
  expect({ ...plan, parts: [...plan.parts] }).toEqual({ parts, changed, obstacles });
});

it('proxies go on with the mark and the ports that they were made with', () => {
  const from = settingsOf({ 'proxy-mode': 'userspace' });
  const both = { 'proxy-mode': 'userspace', 'iptables-masquerade-bit': '9', 'localhost-nodeports': 'true' };
  expect(planReload(from, settingsOf(both)).obstacles).toEqual([
    'kproxyTs.localhostNodePorts',
    'iptables.masqueradeBit',
  ]);
  expect(planReload(from, settingsOf({ ...both, 'proxy-mode': 'nftables' })).obstacles).toEqual([]);
  expect(planReload(settingsOf({}), settingsOf(both)).obstacles).toEqual([]);
});
