// Services that tests dial while something happens to the daemon: one of TCP in both families and with a node port, two of UDP.

import { type ManifestDir, service, slice } from './manifests.ts';
import { GATEWAY } from './netns/topology.ts';
import type { Target } from './netns/traffic.ts';
import { podIp, podIp6 } from './test-node.ts';

export const WEB: Target = { protocol: 'tcp', host: '10.96.0.1', port: 80 };
export const WEB6: Target = { ...WEB, host: 'fd00:10:96::1' };
export const DNS: Target = { protocol: 'udp', host: '10.96.0.10', port: 53 };
/** Where an answer takes `SLOW_MS`. */
export const SLOW_DNS: Target = { ...DNS, host: '10.96.0.11' };
export const SLOW_MS = 150;
export const SLOW_PORT = 5454;
/** At an address of the node that is only one of node ports with `--nodeport-addresses=0.0.0.0/0`. */
export const WEB_NODE_PORT: Target = { protocol: 'tcp', host: GATEWAY.ip, port: 30080 };

/** The first and the second pod serve the web, the third one names; at `SLOW_PORT` that is the test's own to see to. */
export function putWebAndDns(manifests: ManifestDir): void {
  const http = { name: 'http', port: WEB.port };
  const httpAtPod = [{ ...http, port: 8080 }];
  const dns = { name: 'dns', port: DNS.port, protocol: 'UDP' as const };
  manifests.put(
    'web-and-dns',
    service('web', {
      clusterIps: [WEB.host, WEB6.host],
      ports: [{ ...http, nodePort: WEB_NODE_PORT.port }],
      type: 'NodePort',
    }),
    slice('web', 'web-4', { ports: httpAtPod, endpoints: [podIp(1), podIp(2)] }),
    slice('web', 'web-6', { ports: httpAtPod, endpoints: [podIp6(1), podIp6(2)] }),
    service('dns', { clusterIps: [DNS.host], ports: [dns] }),
    slice('dns', 'dns', { ports: [{ ...dns, port: 5353 }], endpoints: [podIp(3)] }),
    service('slow-dns', { clusterIps: [SLOW_DNS.host], ports: [dns] }),
    slice('slow-dns', 'slow-dns', { ports: [{ ...dns, port: SLOW_PORT }], endpoints: [podIp(3)] }),
  );
}
