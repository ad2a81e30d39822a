// Every way to authenticate, against a server that asks for it; and what happens when credentials change.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/errors.ts';
import {
  type ApiServer,
  type ApiServerOptions,
  startApiServer,
} from '../../support/api-server/api-server.ts';
import { KIND_COUNT, SourceUnderTest, service, until } from './harness.ts';

const closers: (() => unknown)[] = [];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-access-'));
  closers.push(() => rmSync(folder, { recursive: true }));
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Options = ConstructorParameters<typeof SourceUnderTest>[0];
type Fields = Record<string, unknown>;

async function serve(options: ApiServerOptions): Promise<ApiServer> {
  const server = await startApiServer(options);
  server.put(service('web'));
  closers.push(() => server.close());
  return server;
}

function write(name: string, text: string): string {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return file;
}

async function startSource(options: Options): Promise<SourceUnderTest> {
  const source = await new SourceUnderTest(options).start();
  closers.push(() => source.stop());
  return source;
}

/** A source that uses a kubeconfig with these fields of user and cluster. */
async function startWith(server: ApiServer, user: Fields = {}, cluster: Fields = {}, options: Options = {}) {
  return await startSource({ kubeconfig: write('config', server.kubeconfig(user, cluster)), ...options });
}

async function expectSynced(source: SourceUnderTest): Promise<void> {
  await source.whenSynced();
  expect(source.names('Service')).toEqual(['default/web']);
  expect(source.lines('warn', 'error')).toEqual([]);
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

function execPlugin(script: string): Fields {
  const command = write('plugin', `#!/bin/sh\n${script}\n`);
  chmodSync(command, 0o755);
  return { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin' } };
}

const credential = (status: unknown) =>
  JSON.stringify({ kind: 'ExecCredential', apiVersion: 'client.authentication.k8s.io/v1', status });

describe('who we are', () => {
  test('token', async () => {
    const server = await serve({ tls: true, tokens: ['secret'] });
    await expectSynced(await startWith(server, { token: 'secret' }));
  });

  test('user name and password', async () => {
    const server = await serve({ tls: true, basic: 'jane:päss:word' });
    await expectSynced(await startWith(server, { username: 'jane', password: 'päss:word' }));
  });

  test('client certificate as data', async () => {
    const server = await serve({ tls: true, isClientCertRequired: true });
    const { cert, key } = server.ca.issue('system:kube-proxy');
    const user = { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
    await expectSynced(await startWith(server, user));
  });

  test('client certificate in files, relative to the kubeconfig', async () => {
    const server = await serve({ tls: true, isClientCertRequired: true });
    const { cert, key } = server.ca.issue('system:kube-proxy');
    write('client.crt', cert);
    write('client.key', key);
    await expectSynced(
      await startWith(server, { 'client-certificate': 'client.crt', 'client-key': 'client.key' }),
    );
  });

  test('token file that rotates', async () => {
    const server = await serve({ tls: true, tokens: ['first'] });
    write('token', 'first\n');
    const source = await startWith(server, { tokenFile: 'token', token: 'ignored' });
    await expectSynced(source);
    await until('watching', () => server.watchCount === KIND_COUNT);
    server.tokens = new Set(['second']);
    server.dropWatches();
    await until('refused', () => source.lines('warn').length > 0);
    expect(source.lines('warn')[0]!.fields['err']).toContain('HTTP 401');
    write('token', 'second\n');
    await until('back', () => source.lines('info').at(-1)!.message === 'API server is back');
  });

  test('exec plugin, run again when the server refuses what it gave', async () => {
    const server = await serve({ tls: true, tokens: ['first'] });
    write('credential', credential({ token: 'first' }));
    const source = await startWith(server, execPlugin(`cat ${folder}/credential`));
    await expectSynced(source);
    await until('watching', () => server.watchCount === KIND_COUNT);
    server.tokens = new Set(['second']);
    write('credential', credential({ token: 'second' }));
    server.dropWatches();
    await until('watching again', () => server.requests.filter(({ verb }) => verb === 'watch').length >= 6);
    await until('watching', () => server.watchCount === KIND_COUNT);
    expect(source.lines('warn', 'error')).toEqual([]);
  });

  test('exec plugin that gives a client certificate', async () => {
    const server = await serve({ tls: true, isClientCertRequired: true });
    const { cert, key } = server.ca.issue('system:kube-proxy');
    write('credential', credential({ clientCertificateData: cert, clientKeyData: key }));
    await expectSynced(await startWith(server, execPlugin(`cat ${folder}/credential`)));
  });

  test('exec plugin that fails is retried', async () => {
    const server = await serve({ tls: true, tokens: ['secret'] });
    write('credential', credential({ token: 'secret' }));
    const fails = `if [ ! -e ${folder}/tried ]; then touch ${folder}/tried; echo "no login" >&2; exit 1; fi`;
    const source = await startWith(server, execPlugin(`${fails}; cat ${folder}/credential`));
    await source.whenSynced();
    expect(source.lines('warn')[0]!.fields['err']).toContain('no login');
  });

  test('a client certificate that is garbage is reported and tried again', async () => {
    const server = await serve({ tls: true, isClientCertRequired: true });
    const { cert, key } = server.ca.issue('system:kube-proxy');
    write('client.crt', cert);
    write('client.key', key);
    const source = await startWith(server, {
      'client-certificate': 'client.crt',
      'client-key': 'client.key',
    });
    await until('watching', () => server.watchCount === KIND_COUNT);
    write('client.crt', 'half written');
    server.dropWatches();
    await until('reported', () => source.lines('warn').length > 0);
    write('client.crt', cert);
    await until('back', () => source.lines('info').at(-1)!.message === 'API server is back');
  });

  test('OIDC token', async () => {
    const claims = base64(JSON.stringify({ exp: 4_000_000_000 }));
    const token = `${base64('{}')}.${claims}.c2ln`;
    const server = await serve({ tls: true, tokens: [token] });
    const user = { 'auth-provider': { name: 'oidc', config: { 'id-token': token, 'client-id': 'x' } } };
    await expectSynced(await startWith(server, user));
  });

  test('somebody else', async () => {
    const server = await serve({});
    await expectSynced(await startWith(server, { as: 'jane', 'as-groups': ['dev', 'ops'] }));
    expect(server.requests[0]!.headers).toMatchObject({
      'impersonate-user': 'jane',
      'impersonate-group': 'dev, ops',
    });
  });

  test('the service account of the pod', async () => {
    const server = await serve({ tls: true, tokens: ['first'] });
    write('token', 'first');
    write('ca.crt', server.ca.cert);
    const { hostname, port } = new URL(server.url);
    const pod = { env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port }, folder };
    const source = await startSource({ pod });
    await expectSynced(source);
    await until('watching', () => server.watchCount === KIND_COUNT);
    write('token', 'second');
    server.tokens = new Set(['second']);
    server.dropWatches();
    await until(
      'watching again',
      () => server.requests.filter(({ verb }) => verb === 'watch').length === 2 * KIND_COUNT,
    );
    expect(source.lines('warn', 'error')).toEqual([]);
  });

  test('nobody: 401 is retried and said once', async () => {
    const server = await serve({ tokens: ['secret'] });
    const source = await startWith(server);
    await until('retried', () => server.requests.length > 8);
    expect(source.lines('warn', 'error')).toHaveLength(1);
    expect(source.lines('warn')[0]!.message).toContain('HTTP 401');
  });
});

describe('whom we trust', () => {
  test('a CA file that changes on disk, when the connection is made again', async () => {
    const server = await serve({ tls: true });
    const caFile = write('ca.crt', server.ca.cert);
    const trust = { 'certificate-authority': caFile, 'certificate-authority-data': undefined };
    const source = await startWith(server, {}, trust);
    await expectSynced(source);
    await until('watching', () => server.watchCount === KIND_COUNT);
    const renewed = server.renewAuthority();
    server.dropWatches();
    await until('refused', () => source.lines('warn').length > 0);
    expect(source.lines('warn')[0]!.fields['err']).toMatch(/certificate/);
    expect(server.watchCount).toBe(0);
    write('ca.crt', renewed);
    await until('watching', () => server.watchCount === KIND_COUNT);
  });

  test('nobody, when told so', async () => {
    const server = await serve({ tls: true });
    const cluster = { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true };
    await expectSynced(await startWith(server, {}, cluster));
  });

  test('not a stranger', async () => {
    const server = await serve({ tls: true });
    const source = await startWith(server, {}, { 'certificate-authority-data': undefined });
    await until('refused', () => source.lines('warn').length > 0);
    expect(source.lines('warn')[0]!.fields['err']).toMatch(/certificate/);
    expect(server.requests).toEqual([]);
  });

  test('a certificate for another name, only with tls-server-name', async () => {
    const server = await serve({ tls: true, alternativeNames: ['DNS:kubernetes.default'] });
    const source = await startWith(server);
    await until('refused', () => source.lines('warn').length > 0);
    await source.stop();
    await expectSynced(await startWith(server, {}, { 'tls-server-name': 'kubernetes.default' }));
  });
});

describe('where we go', () => {
  test('--master alone, plain HTTP', async () => {
    const server = await serve({});
    await expectSynced(await startSource({ master: new URL(server.url).host }));
  });

  test('--master instead of the server of the kubeconfig', async () => {
    const server = await serve({ tls: true, tokens: ['secret'] });
    await expectSynced(
      await startWith(server, { token: 'secret' }, { server: 'https://192.0.2.1' }, { master: server.url }),
    );
  });

  test.each([false, true])('through a proxy (TLS to the server: %s)', async (tls) => {
    const server = await serve({ tls, tokens: ['secret'] });
    const tunnelled: string[] = [];
    const proxy = http.createServer().on('connect', (request, client, head) => {
      tunnelled.push(request.url ?? '');
      const [host, port] = (request.url ?? '').split(':');
      const upstream = net.connect(Number(port), host, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.write(head);
        upstream.pipe(client).pipe(upstream);
      });
      upstream.on('error', () => client.destroy());
      client.on('error', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    closers.push(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    await expectSynced(
      await startWith(server, { token: 'secret' }, { 'proxy-url': `http://127.0.0.1:${port}` }),
    );
    expect(new Set(tunnelled)).toEqual(new Set([new URL(server.url).host]));
  });

  test('without compression, when told so', async () => {
    const server = await serve({});
    await expectSynced(await startWith(server, {}, { 'disable-compression': true }));
    expect(server.requests[0]!.headers['accept-encoding']).toBeUndefined();
  });
});

describe('what can never work', () => {
  async function startError(user: Fields, cluster: Fields = {}): Promise<Error> {
    const server = await serve({ tls: true });
    const kubeconfig = write('config', server.kubeconfig(user, cluster));
    return await new SourceUnderTest({ kubeconfig }).start().then(
      () => Promise.reject(new Error('it started')),
      (error: Error) => error,
    );
  }

  test.each<[string, Fields, Fields, string]>([
    ['a missing token file', { tokenFile: 'nowhere' }, {}, 'token file: cannot read'],
    [
      'a missing CA file',
      {},
      { 'certificate-authority-data': '', 'certificate-authority': 'nowhere' },
      'clusters[0].cluster.certificate-authority: cannot read',
    ],
    [
      'a certificate file that is no PEM',
      { 'client-certificate': 'config', 'client-key': 'config' },
      {},
      'users[0].user.client-certificate: holds no PEM',
    ],
    [
      'a key that is broken',
      {
        'client-certificate-data': base64('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
        'client-key-data': base64('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
      },
      {},
      'users[0].user.client-certificate-data',
    ],
  ])('%s is a ConfigError at the start that names file and field', async (_, user, cluster, message) => {
    const error = await startError(user, cluster);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain(message);
    expect(error.message).toContain(`${folder}/config`);
  });

  test('neither a kubeconfig, nor --master, nor a pod', async () => {
    const source = new SourceUnderTest({ pod: { env: {}, folder } });
    await expect(source.start()).rejects.toThrow(ConfigError);
    await source.stop();
  });

  test('a --master that is no URL', async () => {
    await expect(new SourceUnderTest({ master: 'http://[' }).start()).rejects.toThrow('--master: must be');
  });
});
