// Service + slices → Frontends: which addresses, which backends, who is masqueraded.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/model/ip.ts';
import type { EndpointSlice, Service, ServiceKey } from '../../src/model/types.ts';
import { buildFrontends, type FrontendSettings } from '../../src/vip/build-frontends.ts';
import { frontendKey } from '../../src/vip/frontend.ts';

const ip = (text: string) => parseIp(text)!;
const key = 'default/web' as ServiceKey;
const settings: FrontendSettings = { nodeName: 'node-1', clusterCidrFamilies: [4], masqueradeAll: false };

const service = (over: Partial<Service> = {}): Service => ({
  key,
  namespace: 'default',
  name: 'web',
  uid: '',
  createdAtMs: 0,
  type: 'ClusterIP',
  isProxied: true,
  clusterIps: [ip('10.96.0.1')],
  ipFamilies: [4],
  externalIps: [],
  loadBalancerIps: [],
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
  ...over,
});

const slice = (addresses: string[], over: Partial<EndpointSlice> = {}): EndpointSlice => ({
  key: 'default/web-1',
  serviceKey: key,
  family: 4,
  ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  endpoints: addresses.map((address) => ({ ip: ip(address), isReady: true, nodeName: 'node-2' })),
  ...over,
});

const summary = (frontends: ReturnType<typeof buildFrontends>) =>
  frontends.map(
    (one) =>
      `${one.kind} ${frontendKey(one)} ${one.masquerade} ${one.backends.map((b) => `${b.ip}:${b.port}`)}`,
  );

describe('addresses', () => {
  test('one frontend per address, port and family', () => {
    const frontends = buildFrontends(
      service({
        clusterIps: [ip('10.96.0.1'), ip('fd00::1')],
        ipFamilies: [4, 6],
        externalIps: [ip('192.0.2.1'), ip('2001:db8::1')],
        loadBalancerIps: [ip('203.0.113.1')],
        ports: [
          { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
          { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
        ],
      }),
      [],
      settings,
    );
    expect(summary(frontends)).toEqual([
      'ClusterIP 10.96.0.1:80/TCP off-cluster ',
      'ExternalIP 192.0.2.1:80/TCP always ',
      'LoadBalancer 203.0.113.1:80/TCP always ',
      'NodePort *v4:30080/TCP always ',
      'ClusterIP [fd00::1]:80/TCP never ',
      'ExternalIP [2001:db8::1]:80/TCP always ',
      'NodePort *v6:30080/TCP always ',
      'ClusterIP 10.96.0.1:53/UDP off-cluster ',
      'ExternalIP 192.0.2.1:53/UDP always ',
      'LoadBalancer 203.0.113.1:53/UDP always ',
      'ClusterIP [fd00::1]:53/UDP never ',
      'ExternalIP [2001:db8::1]:53/UDP always ',
    ]);
  });

  test('a Service that is left alone has none', () => {
    expect(buildFrontends(service({ isProxied: false }), [slice(['10.1.0.1'])], settings)).toEqual([]);
  });

  test('an address named twice counts once, as what it is named first', () => {
    const both = service({ externalIps: [ip('192.0.2.1')], loadBalancerIps: [ip('192.0.2.1')] });
    expect(buildFrontends(both, [], settings).map(({ kind }) => kind)).toEqual(['ClusterIP', 'ExternalIP']);
  });

  test('--masquerade-all masquerades cluster IPs whoever asks', () => {
    const [frontend] = buildFrontends(service(), [], { ...settings, masqueradeAll: true });
    expect(frontend!.masquerade).toBe('always');
  });
});

describe('backends', () => {
  const backends = (slices: EndpointSlice[], over: Partial<Service> = {}) =>
    buildFrontends(service(over), slices, settings)[0]!.backends;

  test('only ready endpoints', () => {
    const mixed = slice(['10.1.0.1']);
    const unready = { ip: ip('10.1.0.2'), isReady: false, nodeName: undefined };
    expect(backends([{ ...mixed, endpoints: [...mixed.endpoints, unready] }]).map((b) => b.ip)).toEqual([
      '10.1.0.1',
    ]);
  });

  test('ports match by name and protocol, and one name may mean several numbers', () => {
    const other = slice(['10.1.0.2'], { key: 'b', ports: [{ name: 'http', protocol: 'TCP', port: 9090 }] });
    const wrongName = slice(['10.1.0.3'], { key: 'c', ports: [{ name: 'admin', protocol: 'TCP', port: 1 }] });
    const wrongProtocol = slice(['10.1.0.4'], {
      key: 'd',
      ports: [{ name: 'http', protocol: 'UDP', port: 1 }],
    });
    expect(
      backends([slice(['10.1.0.1']), other, wrongName, wrongProtocol]).map((b) => `${b.ip}:${b.port}`),
    ).toEqual(['10.1.0.1:8080', '10.1.0.2:9090']);
  });

  test('slices of the other family are not used', () => {
    expect(backends([slice(['fd00::1'], { family: 6 })])).toEqual([]);
  });

  test('a backend on this node or on an unnamed node may dial itself', () => {
    const endpoints = ['node-1', undefined, 'node-2'].map((nodeName, i) => ({
      ip: ip(`10.1.0.${i + 1}`),
      isReady: true,
      nodeName,
    }));
    expect(backends([slice([], { endpoints })]).map((b) => b.isMaybeLocal)).toEqual([true, true, false]);
  });

  test('do not depend on the order of slices or endpoints, and hold no duplicate', () => {
    const address = fc.integer({ min: 1, max: 6 }).map((n) => `10.1.0.${n}`);
    fc.assert(
      fc.property(fc.array(fc.array(address, { maxLength: 5 }), { maxLength: 4 }), (lists) => {
        const slices = lists.map((list, i) => slice(list, { key: `s${i}` }));
        const forward = backends(slices);
        expect(
          backends(slices.map((s) => ({ ...s, endpoints: [...s.endpoints].reverse() })).reverse()),
        ).toEqual(forward);
        expect(forward.map((b) => b.ip)).toEqual([...new Set(lists.flat())].sort());
      }),
    );
  });
});
