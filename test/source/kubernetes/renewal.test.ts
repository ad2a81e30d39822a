// Credentials that run out, and certificates that are renewed, under a source that runs on.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../../support/api-server/api-server.ts';
import { KIND_COUNT, SourceUnderTest, service, until } from './harness.ts';

let folder: string;
let server: ApiServer;
let source: SourceUnderTest;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-renewal-'));
});

afterEach(async () => {
  await source.stop();
  await server.close();
  rmSync(folder, { recursive: true });
});

const write = (name: string, text: string) => writeFileSync(path.join(folder, name), text);

async function start(user: Record<string, unknown>, cluster: Record<string, unknown> = {}): Promise<void> {
  server.put(service('web'));
  write('config', server.kubeconfig(user, cluster));
  source = await new SourceUnderTest({ kubeconfig: path.join(folder, 'config') }).start();
  await until('watching', () => server.watchCount === KIND_COUNT);
}

async function expectInStep(): Promise<void> {
  server.put(service('probe'));
  await until('in step', () => source.state.Service.has('default/probe'));
}

const messages = () => source.lines('warn', 'error', 'info').map(({ message }) => message);

test('a token that has run out costs no state; with the next one everything goes on from where it was', async () => {
  server = await startApiServer({ tls: true, tokens: ['first'] });
  write('token', 'first');
  await start({ tokenFile: 'token' });
  const { length } = source.events;
  server.tokens = new Set(['second']);
  // A server does not cut a watch for that; the next request is refused.
  server.put(service('meanwhile'));
  await until('still watching', () => source.state.Service.has('default/meanwhile'));
  server.endWatches();
  await until('refused many times', () => source.sleptMs.length > 20);
  server.put(service('api'));
  expect(source.names('Service')).toEqual(['default/meanwhile', 'default/web']);
  expect(source.events.length).toBe(length + 1);
  write('token', 'second');
  await until('back', () => messages().at(-1) === 'API server is back');
  await expectInStep();
  expect(source.state.Service.has('default/api')).toBe(true);
  expect(messages().filter((message) => message !== 'listed')).toEqual([
    'API server answers with HTTP 401; the last known state stays in force',
    'API server is back',
  ]);
  expect(server.requests.filter(({ verb }) => verb === 'list')).toHaveLength(KIND_COUNT);
});

test("a server's certificate that is renewed by the same CA is nothing to tell", async () => {
  server = await startApiServer({ tls: true });
  await start({});
  server.renewCertificate();
  server.dropWatches();
  await until('watching', () => server.watchCount === KIND_COUNT);
  await expectInStep();
  expect(source.lines('warn', 'error')).toEqual([]);
});

test('a client certificate that is renewed on disk is used with the next connection', async () => {
  server = await startApiServer({ tls: true, isClientCertRequired: true });
  const issue = () => {
    const { cert, key } = server.ca.issue('system:kube-proxy');
    write('client.crt', cert);
    write('client.key', key);
  };
  write('ca.crt', server.ca.cert);
  issue();
  const trust = { 'certificate-authority': 'ca.crt', 'certificate-authority-data': undefined };
  await start({ 'client-certificate': 'client.crt', 'client-key': 'client.key' }, trust);
  // The whole authority is another: neither side's old certificate is any good.
  write('ca.crt', server.renewAuthority());
  server.dropWatches();
  await until('refused', () => source.lines('warn').some(({ message }) => message.includes('401')));
  issue();
  await until('back', () => messages().at(-1) === 'API server is back');
  await expectInStep();
});
