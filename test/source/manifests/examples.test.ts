// The manifests that the demo and the README use are read without a word, and mean what their comments say.

import { expect, it, vi } from 'vitest';
import { buildEndpointSlice } from '../../../src/model/build-endpoint-slice.ts';
import { buildNode } from '../../../src/model/build-node.ts';
import { buildService } from '../../../src/model/build-service.ts';
import { buildServiceCidr } from '../../../src/model/build-service-cidr.ts';
import type { Built } from '../../../src/model/built.ts';
import { OBJECT_KINDS } from '../../../src/model/source-event.ts';
import type { EndpointSlice, Node, Service, ServiceCidr } from '../../../src/model/types.ts';
import { createManifestSource } from '../../../src/source/manifests/manifest-source.ts';
import { Recorder } from './recorder.ts';

const BUILDERS = {
  Service: buildService,
  EndpointSlice: buildEndpointSlice,
  Node: buildNode,
  ServiceCIDR: buildServiceCidr,
};

it('examples/ holds the cluster of the demo', async () => {
  const recorder = new Recorder();
  const source = createManifestSource({ path: 'examples' });
  await source.start(recorder.sink);
  await vi.waitFor(() => expect(recorder.synced.size).toBe(OBJECT_KINDS.length), {
    timeout: 10_000,
    interval: 5,
  });
  await source.stop();
  expect(recorder.problems).toEqual(new Map());

  const services: Record<string, string> = {};
  const endpoints: Record<string, string> = {};
  for (const event of recorder.events) {
    if (event.type !== 'upsert') continue;
    const built: Built<Service | EndpointSlice | Node | ServiceCidr> = BUILDERS[event.kind](event.object);
    if (built.kind === 'ignored') continue;
    expect(built).toMatchObject({ kind: 'built', warnings: [] });
    if (built.kind !== 'built') continue;
    if ('clusterIps' in built.value) services[built.value.key] = describeService(built.value);
    else if ('endpoints' in built.value) endpoints[built.value.key] = describeSlice(built.value);
    else expect(built.value).toMatchObject({ name: 'node-1', addresses: ['192.168.50.10'] });
  }
  expect(services).toEqual({
    'default/hostname-svc': '10.107.48.55 web-port:8080/TCP:31906',
    'default/numbers-web': '10.105.8.38 203.0.113.80 :8080/TCP:30880',
    'kube-system/kube-dns': '10.96.0.10 dns:53/UDP dns-tcp:53/TCP',
    'default/external-db': '10.103.132.104 mysql:3306/TCP',
    'default/nobody-home': '10.104.17.20 http:80/TCP',
    'default/dual-stack-web': '10.96.0.55 fd00:10:96::55 http:8080/TCP',
    'default/db-headless': 'not proxied',
    'default/external-service': 'not proxied',
  });
  expect(endpoints).toEqual({
    'default/hostname-svc-1': 'default/hostname-svc web-port:80/TCP 10.1.0.11 10.1.0.12 10.1.0.13',
    'default/numbers-web-1': 'default/numbers-web :80/TCP 10.1.0.21 10.1.0.22',
    'kube-system/kube-dns-1': 'kube-system/kube-dns dns:53/UDP dns-tcp:53/TCP 10.1.0.31',
    'default/external-db-1': 'default/external-db mysql:3306/TCP 10.1.0.41',
    'default/dual-stack-web-ipv4': 'default/dual-stack-web http:80/TCP 10.1.0.11 10.1.0.12',
    'default/dual-stack-web-ipv6': 'default/dual-stack-web http:80/TCP fd00:10:1::11 fd00:10:1::12',
  });
});

function describeService({ isProxied, clusterIps, externalIps, loadBalancerIps, ports }: Service): string {
  if (!isProxied) return 'not proxied';
  const words = ports.map(({ name, port, protocol, nodePort }) => {
    return `${name}:${port}/${protocol}${nodePort === 0 ? '' : `:${nodePort}`}`;
  });
  return [...clusterIps, ...externalIps, ...loadBalancerIps, ...words].join(' ');
}

function describeSlice({ serviceKey, ports, endpoints }: EndpointSlice): string {
  const words = ports.map(({ name, port, protocol }) => `${name}:${port}/${protocol}`);
  return [serviceKey, ...words, ...endpoints.map(({ ip }) => ip)].join(' ');
}
