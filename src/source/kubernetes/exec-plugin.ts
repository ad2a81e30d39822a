// Exec credential plugins (client.authentication.k8s.io v1 and v1beta1; client-go plugin/pkg/client/auth/exec):
// runs the command, keeps what it printed until it expires or the server refuses it.

import { execFile } from 'node:child_process';
import { KubeError } from '../../errors.ts';
import type { ExecSpec } from './access.ts';
import { isRecord } from './json.ts';

export interface ExecCredential {
  readonly token: string | undefined;
  /** PEM. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Milliseconds since the epoch; Infinity when the plugin set no end. */
  readonly expiresAtMs: number;
}

/** A plugin that hangs must not hold up the daemon for ever. */
const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

export class ExecPlugin {
  readonly #spec: ExecSpec;
  readonly #clusterInfo: () => Promise<Record<string, unknown>>;
  readonly #signal: AbortSignal;
  /** Shared by the requests that need it at the same moment. */
  #pending: Promise<ExecCredential> | undefined;
  #cached: ExecCredential | undefined;

  /** `clusterInfo` gives spec.cluster of the request, for plugins that ask for it; `signal` ends a running plugin. */
  constructor(spec: ExecSpec, clusterInfo: () => Promise<Record<string, unknown>>, signal: AbortSignal) {
    this.#spec = spec;
    this.#signal = signal;
    this.#clusterInfo = clusterInfo;
  }

  /** @throws KubeError when the plugin fails or prints something else than a credential. */
  async credential(): Promise<ExecCredential> {
    if (this.#cached !== undefined && this.#cached.expiresAtMs > Date.now()) return this.#cached;
    this.#pending ??= this.#run().finally(() => {
      this.#pending = undefined;
    });
    this.#cached = await this.#pending;
    return this.#cached;
  }

  /** The next call runs the plugin again. */
  forget(): void {
    this.#cached = undefined;
  }

  async #run(): Promise<ExecCredential> {
    const { apiVersion, command, args, env, installHint, isClusterInfoProvided } = this.#spec;
    const spec = { interactive: false, ...(isClusterInfoProvided && { cluster: await this.#clusterInfo() }) };
    const request = JSON.stringify({ kind: 'ExecCredential', apiVersion, spec });
    const output = await new Promise<string>((resolve, reject) => {
      const child = execFile(
        command,
        args,
        {
          env: { ...process.env, ...env, KUBERNETES_EXEC_INFO: request },
          timeout: TIMEOUT_MS,
          maxBuffer: MAX_OUTPUT_BYTES,
          signal: this.#signal,
        },
        (error, stdout, stderr) => {
          if (error === null) return resolve(stdout);
          const hint = error.code === 'ENOENT' && installHint !== undefined ? ` (${installHint})` : '';
          const words = stderr.trim().slice(-500) || error.message;
          reject(new KubeError(`exec plugin ${command}: ${words}${hint}`, undefined, { cause: error }));
        },
      );
      child.stdin?.end();
    });
    return decodeExecCredential(output, apiVersion, command);
  }
}

function decodeExecCredential(output: string, apiVersion: string, command: string): ExecCredential {
  const fail = (reason: string): never => {
    throw new KubeError(`exec plugin ${command}: ${reason}`);
  };
  let credential: unknown;
  try {
    credential = JSON.parse(output);
  } catch {
    fail('output is not JSON');
  }
  if (!isRecord(credential) || credential['kind'] !== 'ExecCredential')
    return fail('output is no ExecCredential');
  if (credential['apiVersion'] !== apiVersion) fail(`apiVersion of the output is not ${apiVersion}`);
  const status = credential['status'];
  if (!isRecord(status)) return fail('status is missing');
  const read = (name: string): string | undefined => {
    const value = status[name] ?? '';
    if (typeof value !== 'string') return fail(`status.${name} is not a string`);
    return value === '' ? undefined : value;
  };
  const [token, cert, key] = [read('token'), read('clientCertificateData'), read('clientKeyData')];
  if (token === undefined && cert === undefined) fail('status has neither a token nor a client certificate');
  if ((cert === undefined) !== (key === undefined)) fail('status has only one of client certificate and key');
  const expiry = read('expirationTimestamp');
  const expiresAtMs = expiry === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiry);
  if (Number.isNaN(expiresAtMs)) fail(`status.expirationTimestamp is not a time: ${expiry}`);
  return { token, cert, key, expiresAtMs };
}
