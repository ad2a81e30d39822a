// Connections through the `proxy-url` of a kubeconfig. client-node's KubeConfig knows HTTP, HTTPS and SOCKS5 proxies,
// but loading it costs 255 ms and 69 MB of RSS (client-node 1.4.0, Node 20: its config module imports the generated
// API), so only those who need a proxy pay for it.

import type http from 'node:http';
import type https from 'node:https';
import type { ClusterAccess } from './access.ts';

/** An agent that tunnels to the cluster's server; TLS options come with each request. */
export async function createProxyAgent({ server, proxyUrl }: ClusterAccess): Promise<http.Agent> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const config = new KubeConfig();
  const cluster = { name: 'cluster', server: server.href, proxyUrl: proxyUrl!, skipTLSVerify: true };
  config.loadFromClusterAndUser(cluster, { name: 'user' });
  const options: https.RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  return options.agent as http.Agent;
}
