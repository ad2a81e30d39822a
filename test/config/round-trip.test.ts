// What `--write-config-to` writes is read as what it was written from.

import fc from 'fast-check';
import { dump } from 'js-yaml';
import { expect, it } from 'vitest';
import { readConfigFile } from '../../src/config/config-file.ts';
import type { GivenFlag } from '../../src/config/flag.ts';
import { buildSettings, CONFIG_FLAGS } from '../../src/config/settings.ts';
import { KUBE_PROXY_FIELDS, KUBE_PROXY_FLAGS } from './kube-proxy-reference.ts';

const cidr = fc.constantFrom('10.0.0.0/8', '10.1.2.3/8', '192.168.0.0/16', 'fd00::/8', '::/0');
const list = (item: fc.Arbitrary<string>) => fc.array(item, { maxLength: 3 }).map((items) => items.join(','));
const bool = fc.constantFrom('true', 'false', 'T', '0');
const duration = fc.constantFrom('1ms', '1.5s', '30s', '1h30m', '300h');
const address = fc.constantFrom('', 'none', '10.0.0.1', '10.0.0.1:80', '::1', '[::1]:0');

/** Values of flags that are more than one of a few. */
const TEXTS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  ...Object.fromEntries(Object.entries(KUBE_PROXY_FLAGS).map(([name, text]) => [name, fc.constant(text)])),
  'hostname-override': fc.constantFrom('', ' Node ', '1e3', 'true', 'null', '~', 'a: b', '#x'),
  'proxy-mode': fc.constantFrom('', 'iptables', 'nftables'),
  'iptables-masquerade-bit': fc.integer({ min: 0, max: 31 }).map(String),
  'masquerade-all': bool,
  'iptables-sync-period': duration,
  'iptables-min-sync-period': duration,
  'cluster-cidr': fc.constantFrom('', '10.1.2.3/8', '10.0.0.0/8, fd00::/8'),
  'nodeport-addresses': fc.oneof(fc.constant('primary'), list(cidr)),
  'allow-external-ips': fc.oneof(bool, cidr),
  'bind-address': fc.constantFrom('0.0.0.0', '::', '10.0.0.1', 'fd00::1'),
  'healthz-bind-address': address,
  'metrics-bind-address': address,
  'healthz-port': fc.constantFrom('0', '1', '65535'),
  'metrics-port': fc.constantFrom('0', '1', '65535'),
  'feature-gates': fc.constantFrom('AllowServiceExternalIPs=false', 'AllAlpha=true,NativeHistograms=F'),
  'logging-format': fc.constantFrom('auto', 'text', 'json'),
  'iptables-dispatch': fc.constantFrom('tree', 'flat'),
  'ipvs-exclude-cidrs': list(cidr),
  kubeconfig: fc.constantFrom('', '/a b', '/etc/x.conf'),
};

const flags: fc.Arbitrary<GivenFlag[]> = fc
  .subarray(Object.keys(TEXTS).filter((name) => name in CONFIG_FLAGS))
  .chain((names) =>
    fc.tuple(...names.map((name) => TEXTS[name]!.map((text) => ({ name, spelled: name, text })))),
  );

const file = fc.subarray(Object.keys(KUBE_PROXY_FIELDS)).map((paths) => {
  const config: Record<string, unknown> = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
  };
  for (const path of paths) {
    const names = path.split('.');
    const last = names.pop()!;
    let at = config;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = KUBE_PROXY_FIELDS[path];
  }
  return readConfigFile(dump(config), CONFIG_FLAGS);
});

it.each([
  ['YAML', (config: unknown) => dump(config)],
  ['JSON', (config: unknown) => JSON.stringify(config)],
])('as %s', (_, format) => {
  let compared = 0;
  fc.assert(
    fc.property(flags, fc.option(file), (given, read) => {
      const first = buildSettings(given, 'host', read ?? undefined);
      // Some combinations are refused, such as a least period above the period.
      if (first.settings === undefined) return;
      compared++;
      const again = buildSettings([], 'host', readConfigFile(format(first.config), CONFIG_FLAGS));
      expect({ settings: again.settings, errors: again.errors }).toEqual({
        settings: first.settings,
        errors: [],
      });
      expect(again.config).toEqual(first.config);
    }),
    { numRuns: 300 },
  );
  expect(compared).toBeGreaterThan(30);
});
