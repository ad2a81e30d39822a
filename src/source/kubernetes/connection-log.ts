// One line when the API server is lost, one when it is back. The three reflectors of a source fail together and retry
// for as long as it takes; their single attempts are for the debug level.

import type { KubeError } from '../../errors.ts';
import type { ObjectKind } from '../source.ts';
import { StatusError } from './api-errors.ts';
import type { Clock } from './clock.ts';
import type { Resource } from './resources.ts';
import type { SourceLog } from './source-log.ts';

export class ConnectionLog {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #log: SourceLog;
  readonly #failing = new Set<ObjectKind>();
  /** What has been said about the present outage. */
  readonly #said = new Set<string>();
  #lostAtMs = 0;

  constructor(server: string, clock: Clock, log: SourceLog) {
    this.#server = server;
    this.#clock = clock;
    this.#log = log;
  }

  failed(verb: 'list' | 'watch', resource: Resource, error: KubeError, retryInMs: number): void {
    if (this.#failing.size === 0) this.#lostAtMs = this.#clock.now();
    this.#failing.add(resource.kind);
    const status = error instanceof StatusError ? error.status : undefined;
    const subject =
      status === undefined ? 'connection' : status === 403 ? `403 ${verb} ${resource.plural}` : `${status}`;
    const isNew = !this.#said.has(subject);
    this.#said.add(subject);
    const fields = { server: this.#server, err: error.message, retryInMs: Math.round(retryInMs) };
    if (status === 403) {
      this.#log(isNew ? 'error' : 'debug', fields, forbidden(verb, resource));
    } else {
      const message =
        status === undefined ? 'API server cannot be reached' : `API server answers with HTTP ${status}`;
      this.#log(isNew ? 'warn' : 'debug', fields, `${message}; the last known state stays in force`);
    }
  }

  succeeded(resource: Resource): void {
    if (!this.#failing.delete(resource.kind) || this.#failing.size > 0) return;
    this.#said.clear();
    const outageMs = Math.round(this.#clock.now() - this.#lostAtMs);
    this.#log('info', { server: this.#server, outageMs }, 'API server is back');
  }
}

function forbidden(verb: string, { plural, group }: Resource): string {
  const where = group === '' ? 'the core API group ("")' : `API group ${group}`;
  return (
    `not allowed to ${verb} ${plural}: a ClusterRole bound to this user must allow the verbs list and watch ` +
    `on ${plural} in ${where}`
  );
}
