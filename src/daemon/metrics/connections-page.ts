// /metrics/connections: how many connections each Service, and where the mode counts them each endpoint, has got. Read from the
// kernel when asked for, so that nobody pays who does not ask; a page of its own, because it has a line per Service and more.

import type { ConnectionCount } from '../../vip/connection-counts.ts';

/** As of now; undefined where the mode counts nothing. */
export type ReadConnections = () => Promise<readonly ConnectionCount[] | undefined>;

const SERVICES = 'kproxy_ts_service_connections_total';
const ENDPOINTS = 'kproxy_ts_endpoint_connections_total';

/** Lines between which others get their turn. */
const LINES_PER_TURN = 2000;

/** The page in the text exposition format. Who asks while it is being read gets the same. */
export function connectionsPage(read: ReadConnections): () => Promise<string> {
  let running: Promise<string> | undefined;
  return () => {
    running ??= format(read).finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function format(read: ReadConnections): Promise<string> {
  const counts = (await read()) ?? [];
  const lines = await linesOf(
    SERVICES,
    'Connections made to a port of a Service, over all of its addresses',
    counts.filter(({ endpoint }) => endpoint === undefined),
  );
  const endpoints = counts.filter(({ endpoint }) => endpoint !== undefined);
  if (endpoints.length > 0) {
    lines.push(...(await linesOf(ENDPOINTS, 'Connections that an endpoint of a Service got', endpoints)));
  }
  return `${lines.join('\n')}\n`;
}

async function linesOf(name: string, help: string, counts: readonly ConnectionCount[]): Promise<string[]> {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} counter`];
  for (const [i, count] of counts.entries()) {
    if (i % LINES_PER_TURN === LINES_PER_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
    lines.push(`${name}{${labelsOf(count)}} ${count.connections}`);
  }
  return lines;
}

function labelsOf({ service, protocol, endpoint }: ConnectionCount): string {
  const [, namespace = '', name = '', port = ''] = /^([^/]*)\/([^:]*):?(.*)$/s.exec(service) ?? [];
  const labels = { namespace, service: name, port, protocol, ...(endpoint !== undefined && { endpoint }) };
  return Object.entries(labels)
    .map(([label, value]) => `${label}="${escapeLabel(value)}"`)
    .join(',');
}

/** As the format demands; comments in a kernel may hold anything. */
function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
