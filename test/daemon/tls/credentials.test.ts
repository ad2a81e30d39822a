import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { digestOf, readCredentials } from '../../../src/daemon/tls/credentials.ts';
import { ConfigError } from '../../../src/errors.ts';
import { CertificateAuthority, type KeyPair } from '../../support/api-server/certificates.ts';

let folder: string;
let authority: CertificateAuthority;
let server: KeyPair;
let other: KeyPair;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-credentials-'));
  authority = new CertificateAuthority();
  server = authority.issue('server', ['IP:127.0.0.1']);
  other = authority.issue('other');
});
afterAll(() => {
  authority.remove();
  rmSync(folder, { recursive: true });
});

/** Files of these texts; one that is undefined is not there. */
function files(texts: { cert?: string; key?: string; ca?: string; tokens?: string }) {
  const at = (name: string, text: string | undefined) => {
    const file = path.join(folder, name);
    rmSync(file, { force: true });
    if (text !== undefined) writeFileSync(file, text);
    return file;
  };
  return {
    certFile: at('cert', texts.cert),
    keyFile: at('key', texts.key),
    clientCaFile: 'ca' in texts ? at('ca', texts.ca) : undefined,
    tokenFile: 'tokens' in texts ? at('tokens', texts.tokens) : undefined,
  };
}

it('a certificate with its chain, CAs, and tokens between comments', async () => {
  const tokens = '# those of Prometheus\n\n  abc.DEF-1~+/==  \r\nsecond\n';
  const cert = server.cert + authority.cert;
  const read = await readCredentials(
    files({ cert, key: server.key, ca: authority.cert + authority.cert, tokens }),
  );
  expect(read).toMatchObject({ cert, key: server.key, clientCa: authority.cert + authority.cert });
  expect(read.tokenDigests).toEqual(['abc.DEF-1~+/==', 'second'].map(digestOf));
  expect(read.expiresAt.getTime()).toBeGreaterThan(Date.now() + 24 * 3600 * 1000);
});

it.each<[what: string, texts: () => Parameters<typeof files>[0], message: string]>([
  [
    'no certificate file',
    () => ({ key: server.key }),
    '--metrics-tls-cert-file: CERT: cannot be read (ENOENT)',
  ],
  [
    'no key file',
    () => ({ cert: server.cert }),
    '--metrics-tls-private-key-file: KEY: cannot be read (ENOENT)',
  ],
  [
    'an empty certificate',
    () => ({ cert: '', key: server.key }),
    '--metrics-tls-cert-file: CERT: has no certificate (PEM)',
  ],
  [
    'a broken second certificate',
    () => ({ cert: server.cert + server.cert.replace(/\n[^-]/, '\n!'), key: server.key }),
    '--metrics-tls-cert-file: CERT: certificate 2 cannot be read',
  ],
  [
    'a key that is none',
    () => ({ cert: server.cert, key: 'sesame' }),
    '--metrics-tls-private-key-file: KEY: has no private key (PEM, without a passphrase)',
  ],
  [
    'the key of another',
    () => ({ cert: server.cert, key: other.key }),
    '--metrics-tls-private-key-file: KEY: is not the key of the certificate in CERT',
  ],
  [
    'a CA that is none',
    () => ({ ...server, ca: 'sesame' }),
    '--metrics-client-ca-file: CA: has no certificate (PEM)',
  ],
  ['no token', () => ({ ...server, tokens: '\n# none\n' }), '--metrics-token-file: TOKENS: has no token'],
  [
    'a token with a space',
    () => ({ ...server, tokens: 'good\nse same\n' }),
    '--metrics-token-file: TOKENS: line 2 is no bearer token (RFC 6750)',
  ],
  [
    'too much',
    () => ({ ...server, tokens: 'x\n'.repeat(600_000) }),
    '--metrics-token-file: TOKENS: is larger than 1048576 bytes',
  ],
])('%s is an error that names flag and file, and no secret', async (_, texts, message) => {
  const given = files(texts());
  const error: unknown = await readCredentials(given).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConfigError);
  const expected = message.replace(/[A-Z]{2,}(?=:|$)/g, (name) => path.join(folder, name.toLowerCase()));
  expect((error as Error).message).toBe(expected);
});
