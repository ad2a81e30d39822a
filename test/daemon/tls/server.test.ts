// The metrics server with TLS, as its clients see it: who is answered, and what becomes of credentials that are replaced.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MetricsTls } from '../../../src/config/settings.ts';
import { HttpListener } from '../../../src/daemon/http-listener.ts';
import { createLog } from '../../../src/daemon/log.ts';
import type { Credentials } from '../../../src/daemon/tls/credentials.ts';
import { guarded } from '../../../src/daemon/tls/guard.ts';
import { LiveCredentials } from '../../../src/daemon/tls/live-credentials.ts';
import { CertificateAuthority, type KeyPair } from '../../support/api-server/certificates.ts';

const LOOK_MS = 20;

let folder: string;
let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let server: KeyPair;
let renewed: KeyPair;
let client: KeyPair;
let strange: KeyPair;

let live: LiveCredentials;
let listener: HttpListener;
let reloads: (Credentials | undefined)[];
let lines: Record<string, unknown>[];
/** What an answer waits for. */
let answering: () => Promise<void>;

beforeAll(() => {
  authority = new CertificateAuthority();
  stranger = new CertificateAuthority('stranger');
  server = authority.issue('first', ['IP:127.0.0.1']);
  renewed = authority.issue('second', ['IP:127.0.0.1']);
  client = authority.issue('prometheus');
  strange = stranger.issue('prometheus');
});
afterAll(() => {
  authority.remove();
  stranger.remove();
});
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-tls-'));
  reloads = [];
  lines = [];
  answering = async () => {};
});
afterEach(async () => {
  live.close();
  await listener.close();
  rmSync(folder, { recursive: true });
});

function put(name: string, text: string): string {
  const file = path.join(folder, name);
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  return file;
}

async function serve({ ca, tokens }: { ca?: string; tokens?: string }): Promise<void> {
  const files: MetricsTls = {
    certFile: put('cert', server.cert),
    keyFile: put('key', server.key),
    clientCaFile: ca === undefined ? undefined : put('ca', ca),
    tokenFile: tokens === undefined ? undefined : put('tokens', tokens),
  };
  const log = createLog({
    format: 'json',
    verbosity: 0,
    isTty: false,
    destination: { write: (text) => lines.push(JSON.parse(text)) },
  });
  const onReload = (credentials: Credentials | undefined): void => {
    reloads.push(credentials);
    if (credentials !== undefined) listener.renew(credentials);
  };
  live = await LiveCredentials.open({ files, log, onReload, lookMs: LOOK_MS });
  listener = new HttpListener({
    name: 'metrics',
    address: { host: '127.0.0.1', port: 0 },
    handler: guarded(
      () => live.current,
      (_, response) => void answering().then(() => response.end('metrics')),
    ),
    credentials: live.current,
    log,
    isHardFail: true,
  });
  await listener.start();
}

/** Status, and the name in the server's certificate unless a session goes on; or why there is no answer. */
function ask(options: RequestOptions = {}): Promise<[status: number, server: string] | string> {
  return new Promise((resolve) => {
    const sent = request(
      { host: '127.0.0.1', port: listener.port, ca: authority.cert, agent: false, ...options },
      (response) => {
        const socket = response.socket as TLSSocket;
        const name = socket.isSessionReused() ? 'as before' : String(socket.getPeerCertificate().subject.CN);
        response.resume().on('end', () => resolve([response.statusCode!, name]));
      },
    );
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    sent.end();
  });
}

const bearing = (token: string): RequestOptions => ({ headers: { authorization: `Bearer ${token}` } });

describe('who is answered', () => {
  it('everybody without credentials of clients', async () => {
    await serve({});
    expect(await ask()).toEqual([200, 'first']);
    expect(await ask({ ...strange, ...bearing('x') })).toEqual([200, 'first']);
  });

  it('those with a certificate of the CA', async () => {
    await serve({ ca: authority.cert });
    expect(await ask({ ...client })).toEqual([200, 'first']);
    for (const options of [{}, { ...strange }, bearing('x')])
      expect(await ask(options)).toEqual([401, 'first']);
  });

  it('those with a token', async () => {
    await serve({ tokens: 'sesame\nopen' });
    for (const token of ['sesame', 'open']) expect(await ask(bearing(token))).toEqual([200, 'first']);
    expect(await ask({ headers: { authorization: 'bearer  open' } })).toEqual([200, 'first']);
    for (const options of [
      {},
      { ...client },
      ...['', 'sesam', 'sesame2', 'sesame open', '# x'].map(bearing),
      { headers: { authorization: 'Basic sesame' } },
    ]) {
      expect(await ask(options)).toEqual([401, 'first']);
    }
  });

  it('those with either, where both are known', async () => {
    await serve({ ca: authority.cert, tokens: 'sesame' });
    expect(await ask({ ...client })).toEqual([200, 'first']);
    expect(await ask(bearing('sesame'))).toEqual([200, 'first']);
    expect(await ask({ ...strange, ...bearing('sesame') })).toEqual([200, 'first']);
    expect(await ask({ ...strange })).toEqual([401, 'first']);
  });

  it('nobody without TLS, or with an old one; they harm nobody else', async () => {
    await serve({});
    expect(await ask({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL@SECLEVEL=0' })).toBe(
      'EPROTO',
    );
    for (const bytes of ['GET /metrics HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff', '\0'.repeat(100_000)]) {
      const received = await new Promise<string>((resolve) => {
        let text = '';
        const socket = connect(listener.port!, '127.0.0.1', () => socket.end(bytes));
        socket.on('data', (chunk) => {
          text += chunk.toString('latin1');
        });
        socket.on('error', () => undefined).on('close', () => resolve(text));
      });
      expect(received).not.toContain('HTTP');
    }
    expect(await ask()).toEqual([200, 'first']);
  });
});

describe('credentials that are replaced', () => {
  it('a certificate and its key', async () => {
    await serve({});
    put('cert', renewed.cert);
    put('key', renewed.key);
    await expect.poll(ask).toEqual([200, 'second']);
    expect(reloads).toEqual([expect.objectContaining({ cert: renewed.cert })]);
  });

  it('one that cannot be used is told, and the one before stays; the next one is taken', async () => {
    await serve({});
    put('key', renewed.key);
    await expect.poll(() => reloads).toEqual([undefined]);
    expect(await ask()).toEqual([200, 'first']);
    expect(lines.at(-1)).toMatchObject({
      level: 'error',
      err: { code: 'CONFIG', message: expect.stringMatching(/is not the key of the certificate in /) },
    });
    put('cert', renewed.cert);
    await expect.poll(ask).toEqual([200, 'second']);
  });

  it('a client whose CA or token is no longer known is not answered, on a connection that it has either', async () => {
    await serve({ ca: authority.cert, tokens: 'sesame' });
    const agent = new Agent({ keepAlive: true, maxCachedSessions: 10 });
    const known: RequestOptions[] = [
      { agent, ...client },
      { agent, ...bearing('sesame') },
    ];
    for (const options of known) expect(await ask(options)).toEqual([200, 'first']);
    // One is being answered meanwhile.
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const isBusy = new Promise<void>((resolve) => {
      answering = () => {
        resolve();
        return released;
      };
    });
    const busy = ask(known[0]);
    await isBusy;
    answering = async () => {};
    put('ca', stranger.cert);
    put('tokens', 'other');
    await expect.poll(() => ask({ ...strange })).toEqual([200, 'first']);
    release();
    expect((await busy)[0]).toBe(200);
    for (const options of known) expect(await ask(options)).toEqual([401, 'first']);
    expect(await ask(bearing('other'))).toEqual([200, 'first']);
    agent.destroy();
  });
});
