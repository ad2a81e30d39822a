// Turns Access into the TLS options and headers of one request. Files are read for every request: requests are
// rare (a watch lasts minutes), so a rotated token, certificate or CA is in force at the next connection, and nothing
// has to watch files or count minutes.

import { readFile } from 'node:fs/promises';
import type { OutgoingHttpHeaders } from 'node:http';
import { createSecureContext } from 'node:tls';
import { ConfigError, KubeError } from '../../errors.ts';
import type { Access, PemSource } from './access.ts';
import { ExecPlugin } from './exec-plugin.ts';

/** Options of node:https for one request. */
export interface TlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

export interface RequestAuth {
  readonly tls: TlsOptions;
  readonly headers: OutgoingHttpHeaders;
}

export class Credentials {
  readonly #access: Access;
  readonly #exec: ExecPlugin | undefined;
  #oidc: (() => Promise<string | undefined>) | undefined;

  /** `signal` ends whatever is running on behalf of a request. */
  constructor(access: Access, signal: AbortSignal) {
    this.#access = access;
    const { exec } = access.user;
    this.#exec = exec === undefined ? undefined : new ExecPlugin(exec, () => this.#clusterInfo(), signal);
  }

  /**
   * What to send now.
   * @throws KubeError when a file cannot be read or a plugin fails; both may pass.
   */
  async current(): Promise<RequestAuth> {
    const tls = await this.#tls();
    const fromPlugin = await this.#exec?.credential();
    if (fromPlugin?.cert !== undefined && fromPlugin.key !== undefined) {
      Object.assign(tls, { cert: fromPlugin.cert, key: fromPlugin.key });
    }
    const authorization = await this.#authorization(fromPlugin?.token);
    return { tls, headers: { ...this.#access.user.impersonation, ...(authorization && { authorization }) } };
  }

  /** Forgets what was cached, after a 401; false when nothing was, so that asking again is pointless. */
  renew(): boolean {
    this.#exec?.forget();
    return this.#exec !== undefined;
  }

  /**
   * Finds out early what can never work.
   * @throws ConfigError naming the file and the field.
   */
  async check(): Promise<void> {
    const { cluster, user, origin } = this.#access;
    for (const source of [cluster.ca, user.cert, user.key]) {
      if (source === undefined) continue;
      const pem = await readPem(source).catch(asConfigError);
      if (!pem.includes('-----BEGIN')) throw new ConfigError(`${source.field}: holds no PEM`);
    }
    if (user.tokenFile !== undefined) await readToken(user.tokenFile, origin).catch(asConfigError);
    try {
      createSecureContext(await this.#tls());
    } catch (cause) {
      const fields = [cluster.ca, user.cert, user.key].flatMap((source) => source?.field ?? []);
      throw new ConfigError(`${fields.join(', ')}: ${(cause as Error).message}`, { cause });
    }
  }

  async #tls(): Promise<TlsOptions> {
    const { cluster, user } = this.#access;
    const tls: TlsOptions = {};
    if (cluster.ca !== undefined) tls.ca = await readPem(cluster.ca);
    if (user.cert !== undefined) tls.cert = await readPem(user.cert);
    if (user.key !== undefined) tls.key = await readPem(user.key);
    if (cluster.tlsServerName !== undefined) tls.servername = cluster.tlsServerName;
    if (!cluster.isVerified) tls.rejectUnauthorized = false;
    return tls;
  }

  /** The Authorization header; of several forms the one client-go would use. */
  async #authorization(pluginToken: string | undefined): Promise<string | undefined> {
    const { user, origin } = this.#access;
    const token =
      user.tokenFile !== undefined
        ? await readToken(user.tokenFile, origin)
        : (user.token ?? pluginToken ?? (await this.#oidcToken()));
    if (token !== undefined) return `Bearer ${token}`;
    if (user.basic === undefined) return undefined;
    return `Basic ${Buffer.from(`${user.basic.username}:${user.basic.password}`).toString('base64')}`;
  }

  /** client-node refreshes OIDC tokens; it is loaded only for those who use them. */
  async #oidcToken(): Promise<string | undefined> {
    const { oidc } = this.#access.user;
    if (oidc === undefined) return undefined;
    if (this.#oidc === undefined) {
      const { OpenIDConnectAuth } = await import('@kubernetes/client-node/dist/oidc_auth.js');
      const authenticator = new OpenIDConnectAuth();
      const user = { name: 'oidc', authProvider: { name: 'oidc', config: { ...oidc } } };
      this.#oidc = async () => {
        const options = { headers: {} as Record<string, string> };
        await authenticator.applyAuthentication(user, options);
        return options.headers['Authorization']?.replace('Bearer ', '');
      };
    }
    return this.#oidc().catch((cause: Error) => {
      throw new KubeError(`OIDC token refresh: ${cause.message}`, undefined, { cause });
    });
  }

  /** The `cluster` of an ExecCredential request. */
  async #clusterInfo(): Promise<Record<string, unknown>> {
    const { cluster } = this.#access;
    return {
      server: cluster.server.href,
      ...(cluster.tlsServerName !== undefined && { 'tls-server-name': cluster.tlsServerName }),
      ...(!cluster.isVerified && { 'insecure-skip-tls-verify': true }),
      ...(cluster.ca !== undefined && {
        'certificate-authority-data': Buffer.from(await readPem(cluster.ca)).toString('base64'),
      }),
      ...(cluster.proxyUrl !== undefined && { 'proxy-url': cluster.proxyUrl }),
    };
  }
}

async function readPem(source: PemSource): Promise<string> {
  return 'pem' in source ? source.pem : await readText(source.file, source.field);
}

async function readToken(file: string, origin: string): Promise<string> {
  const token = (await readText(file, `${origin}: token file`)).trim();
  if (token === '') throw new KubeError(`${origin}: token file ${file} is empty`);
  return token;
}

async function readText(file: string, field: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new KubeError(`${field}: cannot read ${file}: ${code ?? message}`, undefined, { cause });
  }
}

function asConfigError(cause: Error): never {
  throw new ConfigError(cause.message, { cause });
}
