// /metrics/connections: how many connections each Service, and where the mode counts them each endpoint, has got, and what else proxies
// count. Read when asked for, so that nobody pays who does not ask; a page of its own, because it has a line per Service and more.

import type { ConnectionCount } from '../../vip/connection-counts.ts';
import type { ProxyCounts } from '../userspace/proxies.ts';
import type { EndpointTraffic, PortTraffic } from '../userspace/traffic.ts';

/** As of now; undefined where the mode counts nothing. */
export type ReadConnections = () => Promise<readonly ConnectionCount[] | undefined>;

/** As of now; undefined in modes without proxies. */
export type ReadProxies = () => ProxyCounts | undefined;

const SERVICES = 'kproxy_ts_service_connections_total';
const ENDPOINTS = 'kproxy_ts_endpoint_connections_total';

/** Lines between which others get their turn. */
const LINES_PER_TURN = 2000;

/** The page in the text exposition format. Who asks while it is being read gets the same. */
export function connectionsPage(
  read: ReadConnections,
  readProxies: ReadProxies = () => undefined,
): () => Promise<string> {
  let running: Promise<string> | undefined;
  return () => {
    running ??= format(read, readProxies).finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function format(read: ReadConnections, readProxies: ReadProxies): Promise<string> {
  const proxies = readProxies();
  const counts = [...((await read()) ?? []), ...proxyConnections(proxies?.ports ?? [])];
  const connections = (count: ConnectionCount) => [labelsOf(count), count.connections] as const;
  const lines = await linesOf(
    SERVICES,
    'counter',
    'Connections made to a port of a Service, over all of its addresses',
    counts.filter(({ endpoint }) => endpoint === undefined).map(connections),
  );
  const endpoints = counts.filter(({ endpoint }) => endpoint !== undefined);
  if (endpoints.length > 0) {
    const help = 'Connections that an endpoint of a Service got';
    lines.push(...(await linesOf(ENDPOINTS, 'counter', help, endpoints.map(connections))));
  }
  for (const { name, type, help, samples } of proxies === undefined ? [] : proxyMetrics(proxies)) {
    lines.push(...(await linesOf(name, type, help, samples)));
  }
  return `${lines.join('\n')}\n`;
}

/** A sample's labels and value. */
type Sample = readonly [labels: string, value: bigint | number];

async function linesOf(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: readonly Sample[],
): Promise<string[]> {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
  for (const [i, [labels, value]] of samples.entries()) {
    if (i % LINES_PER_TURN === LINES_PER_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
    const text = value === Number.POSITIVE_INFINITY ? '+Inf' : value;
    lines.push(labels === '' ? `${name} ${text}` : `${name}{${labels}} ${text}`);
  }
  return lines;
}

function proxyConnections(ports: readonly PortTraffic[]): ConnectionCount[] {
  return ports.flatMap(({ service, protocol, endpoints }) =>
    endpoints.map(({ endpoint, connections }) => {
      return { service, protocol, endpoint, connections: BigInt(connections) };
    }),
  );
}

/** Of UDP a connection is a client that has an endpoint. */
function* proxyMetrics({ ports, descriptors, refusedForDescriptors, strangers }: ProxyCounts) {
  const ofEndpoints = (value: (traffic: EndpointTraffic) => number, more: Labels = {}): Sample[] =>
    ports.flatMap(({ service, protocol, endpoints }) =>
      endpoints.map((one) => {
        const labels = labelsOf({ service, protocol, endpoint: one.endpoint }, more);
        return [labels, value(one)] as const;
      }),
    );
  yield {
    name: 'kproxy_ts_endpoint_open_connections',
    type: 'gauge',
    help: 'Connections through a proxy that an endpoint has now',
    samples: ofEndpoints(({ open }) => open),
  } as const;
  yield {
    name: 'kproxy_ts_endpoint_connect_failures_total',
    type: 'counter',
    help: 'Attempts of a proxy to reach an endpoint that it refused, or did not answer in time',
    samples: ofEndpoints(({ failures }) => failures),
  } as const;
  yield {
    name: 'kproxy_ts_endpoint_bytes_total',
    type: 'counter',
    help: 'Payload that a proxy has moved to an endpoint, or from it to clients',
    samples: [
      ...ofEndpoints(({ bytesToEndpoint }) => bytesToEndpoint, { direction: 'to_endpoint' }),
      ...ofEndpoints(({ bytesToClient }) => bytesToClient, { direction: 'to_client' }),
    ],
  } as const;
  yield {
    name: 'kproxy_ts_service_refused_connections_total',
    type: 'counter',
    help: 'Clients of a port of a Service that a proxy found no endpoint for, or that were too many',
    samples: ports.map(({ refused, ...port }): Sample => [labelsOf(port), refused]),
  } as const;
  const single = (name: string, type: 'counter' | 'gauge', help: string, value: number) => {
    return { name: `kproxy_ts_proxy_${name}`, type, help, samples: [['', value]] as const };
  };
  yield single('descriptors', 'gauge', 'Descriptors that proxies use', descriptors.used);
  yield single('descriptors_limit', 'gauge', 'Descriptors that the process may have', descriptors.limit);
  const refused = 'Clients that were refused because the process may have no more descriptors';
  yield single('refused_for_descriptors_total', 'counter', refused, refusedForDescriptors);
  const reset = 'Connections that were reset because they came past the portals';
  yield single('strangers_total', 'counter', reset, strangers);
}

type Labels = Readonly<Record<string, string>>;

function labelsOf(
  {
    service,
    protocol,
    endpoint,
  }: Omit<ConnectionCount, 'connections' | 'endpoint'> & { endpoint?: string | undefined },
  more: Labels = {},
): string {
  const [, namespace = '', name = '', port = ''] = /^([^/]*)\/([^:]*):?(.*)$/s.exec(service) ?? [];
  const own = { namespace, service: name, port, protocol, ...(endpoint !== undefined && { endpoint }) };
  const labels = { ...own, ...more };
  return Object.entries(labels)
    .map(([label, value]) => `${label}="${escapeLabel(value)}"`)
    .join(',');
}

/** As the format demands; comments in a kernel may hold anything. */
function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
