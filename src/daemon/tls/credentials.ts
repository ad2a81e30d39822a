// What a server shows of itself, and by what it knows its clients: a certificate and its key, a CA of clients' certificates, tokens.
// Every file is checked as a whole before any of it is used.

import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { printable } from '../../config/printable.ts';
import { readAtMost } from '../../config/read-at-most.ts';
import type { MetricsTls } from '../../config/settings.ts';
import { ConfigError } from '../../errors.ts';

export interface Credentials {
  /** PEM, with what has to follow it. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** PEM; undefined when clients are not known by certificates. */
  readonly clientCa: string | undefined;
  /** SHA-256 of each token; undefined when clients are not known by tokens. */
  readonly tokenDigests: readonly Buffer[] | undefined;
  /** When the certificate ends. */
  readonly expiresAt: Date;
}

/** The flag that names each file. */
const FLAGS: Readonly<Record<keyof MetricsTls, string>> = {
  certFile: '--metrics-tls-cert-file',
  keyFile: '--metrics-tls-private-key-file',
  clientCaFile: '--metrics-client-ca-file',
  tokenFile: '--metrics-token-file',
};

/** Bytes. */
const MAX_SIZE = 1024 * 1024;

/** Every file at once. Throws ConfigError, which names the flag and the file, and nothing of what it holds. */
export async function readCredentials(files: MetricsTls): Promise<Credentials> {
  const { certFile, keyFile, clientCaFile, tokenFile } = files;
  const read = async (name: keyof MetricsTls): Promise<string> => {
    try {
      const bytes = await readAtMost(files[name]!, MAX_SIZE + 1);
      if (bytes.length <= MAX_SIZE) return bytes.toString('utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      throw wrong(name, files, `cannot be read (${code})`);
    }
    throw wrong(name, files, `is larger than ${MAX_SIZE} bytes`);
  };
  const cert = await read('certFile');
  const [leaf] = parseCertificates(cert, 'certFile', files);
  const key = await read('keyFile');
  if (!leaf.checkPrivateKey(parseKey(key, files))) {
    throw wrong('keyFile', files, `is not the key of the certificate in ${printable(certFile)}`);
  }
  const clientCa = clientCaFile === undefined ? undefined : await read('clientCaFile');
  if (clientCa !== undefined) parseCertificates(clientCa, 'clientCaFile', files);
  const tokenDigests = tokenFile === undefined ? undefined : parseTokens(await read('tokenFile'), files);
  try {
    createSecureContext({ cert, key, ca: clientCa });
  } catch (error) {
    // Such as a key that is too short for the least security of OpenSSL.
    const { code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    throw wrong('certFile', files, `cannot be served with ${printable(keyFile)} (${code})`);
  }
  return { cert, key, clientCa, tokenDigests, expiresAt: new Date(leaf.validTo) };
}

/** As `Credentials` keep it, so that comparing takes the same time for every token. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function wrong(name: keyof MetricsTls, files: MetricsTls, what: string): ConfigError {
  return new ConfigError(`${FLAGS[name]}: ${printable(files[name]!)}: ${what}`);
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function parseCertificates(
  pem: string,
  name: keyof MetricsTls,
  files: MetricsTls,
): [X509Certificate, ...X509Certificate[]] {
  const certificates = (pem.match(CERTIFICATE) ?? []).map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw wrong(name, files, `certificate ${index + 1} cannot be read`);
    }
  });
  const [first, ...rest] = certificates;
  if (first === undefined) throw wrong(name, files, 'has no certificate (PEM)');
  return [first, ...rest];
}

function parseKey(pem: string, files: MetricsTls): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw wrong('keyFile', files, 'has no private key (PEM, without a passphrase)');
  }
}

/** RFC 6750, b64token. */
const TOKEN = /^[\w.~+/-]+=*$/;

/** One a line; blank lines and those that begin with # say nothing. */
function parseTokens(text: string, files: MetricsTls): Buffer[] {
  const digests: Buffer[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const token = line.trim();
    if (token === '' || token.startsWith('#')) continue;
    if (!TOKEN.test(token))
      throw wrong('tokenFile', files, `line ${index + 1} is no bearer token (RFC 6750)`);
    digests.push(digestOf(token));
  }
  if (digests.length === 0) throw wrong('tokenFile', files, 'has no token');
  return digests;
}
