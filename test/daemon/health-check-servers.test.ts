// healthCheckNodePort servers, asked over HTTP on loopback inside this process.

import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { HealthCheckServers } from '../../src/daemon/health-check-servers.ts';
import { createLog } from '../../src/daemon/log.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { HealthCheck } from '../../src/vip/health-checks.ts';

const lines: string[] = [];
const log = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: (text) => lines.push(text) },
});
const key = 'default/web' as ServiceKey;
const closing: HealthCheckServers[] = [];
afterEach(async () => {
  for (const servers of closing.splice(0)) await servers.close();
  lines.length = 0;
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function ask(
  port: number,
): Promise<{ status: number; headers: Record<string, unknown>; body: string } | string> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/any', agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
  });
}

/** Asks until the answer is of interest; listening begins a moment after `update`. */
async function askUntil(port: number, isIt: (answer: Awaited<ReturnType<typeof ask>>) => boolean) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const answer = await ask(port);
    if (isIt(answer)) return answer;
  }
  throw new Error(`port ${port} never gave the expected answer`);
}

function start(): HealthCheckServers {
  const servers = new HealthCheckServers(log);
  closing.push(servers);
  return servers;
}

const check = (port: number, localEndpoints: number): Map<ServiceKey, HealthCheck[]> =>
  new Map([[key, [{ service: key, family: 4, port, localEndpoints }]]]);

describe('health check servers', () => {
  test('answer as kube-proxy does', async () => {
    const servers = start();
    const port = await freePort();
    servers.setHealthy(true);
    servers.update(check(port, 2));
    const answer = await askUntil(port, (one) => typeof one !== 'string');
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'application/json',
        'x-content-type-options': 'nosniff',
        'x-load-balancing-endpoint-weight': '2',
      },
      body: '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
    });
  });

  test('say 503 without local endpoints, and while the kernel is not as it should be', async () => {
    const servers = start();
    const port = await freePort();
    servers.setHealthy(true);
    servers.update(check(port, 0));
    expect(await askUntil(port, (one) => typeof one !== 'string')).toMatchObject({ status: 503 });
    servers.update(check(port, 1));
    expect(await ask(port)).toMatchObject({ status: 200 });
    servers.setHealthy(false);
    expect(await ask(port)).toMatchObject({
      status: 503,
      body: expect.stringContaining('"serviceProxyHealthy": false'),
    });
  });

  test('follow a changed port, and end with the Service', async () => {
    const servers = start();
    const [first, second] = [await freePort(), await freePort()];
    servers.update(check(first, 1));
    await askUntil(first, (one) => typeof one !== 'string');
    servers.update(check(second, 1));
    await askUntil(second, (one) => typeof one !== 'string');
    expect(await askUntil(first, (one) => typeof one === 'string')).toBe('ECONNREFUSED');
    servers.update(new Map([[key, []]]));
    expect(await askUntil(second, (one) => typeof one === 'string')).toBe('ECONNREFUSED');
  });

  test('a port that is taken is told once, and had as soon as it is free', async () => {
    const other = createServer((_, response) => response.end('other'));
    await new Promise<void>((resolve) => other.listen(0, '0.0.0.0', () => resolve()));
    const { port } = other.address() as AddressInfo;
    const servers = start();
    servers.setHealthy(true);
    servers.update(check(port, 1));
    for (let turn = 0; turn < 1000 && lines.length === 0; turn++)
      await new Promise((resolve) => setImmediate(resolve));
    expect(lines.join('')).toContain('EADDRINUSE');
    for (let attempt = 0; attempt < 3; attempt++) {
      servers.update(check(port, 1));
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(lines).toHaveLength(1);
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
    servers.update(check(port, 1));
    expect(await askUntil(port, (one) => typeof one !== 'string')).toMatchObject({ status: 200 });
  });
});
