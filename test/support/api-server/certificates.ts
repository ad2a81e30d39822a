// A throw-away certificate authority for one test, made with the openssl command.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface KeyPair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export class CertificateAuthority {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'kproxy-ca-'));
  /** PEM. */
  readonly cert: string;

  constructor(name = 'test CA') {
    this.#openssl([
      'req',
      '-x509',
      ...newKey('ca.key'),
      '-out',
      'ca.crt',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ]);
    this.cert = this.#read('ca.crt');
  }

  /** A certificate for the given subject alternative names, such as `IP:127.0.0.1` or `DNS:localhost`. */
  issue(commonName: string, alternativeNames: readonly string[] = []): KeyPair {
    const extensions = alternativeNames.length > 0 ? `subjectAltName=${alternativeNames.join(',')}\n` : '';
    writeFileSync(path.join(this.#folder, 'ext'), extensions);
    this.#openssl(['req', ...newKey('leaf.key'), '-out', 'leaf.csr', '-subj', `/CN=${commonName}`]);
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'ext'];
    this.#openssl(['x509', '-req', '-in', 'leaf.csr', '-out', 'leaf.crt', ...signing]);
    return { cert: this.#read('leaf.crt'), key: this.#read('leaf.key') };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #openssl(args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: ['ignore', 'ignore', 'pipe'] });
  }

  #read(file: string): string {
    return readFileSync(path.join(this.#folder, file), 'utf8');
  }
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file];
}
