// One line when the API server is lost, one when it is back. The reflectors of a source fail together and retry
// for as long as it takes; their single attempts are for the debug level.

import type { KubeError } from '../../errors.ts';
import type { ObjectKind } from '../source.ts';
import { StatusError } from './api-errors.ts';
import type { Clock } from './clock.ts';
import type { Resource } from './resources.ts';
import type { SourceLog } from './source-log.ts';

type Verb = 'list' | 'watch';

export class ConnectionLog {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #log: SourceLog;
  readonly #failing = new Set<ObjectKind>();
  /** What has been said about the present outage. */
  readonly #said = new Set<string>();
  /** What we are not allowed to do. Not an outage: the server is there, and a human has to act. */
  readonly #forbidden = new Set<string>();
  /** Optional kinds that the server does not have. */
  readonly #missing = new Set<ObjectKind>();
  #lostAtMs = 0;

  constructor(server: string, clock: Clock, log: SourceLog) {
    this.#server = server;
    this.#clock = clock;
    this.#log = log;
  }

  failed(verb: Verb, resource: Resource, error: KubeError, retryInMs: number): void {
    const status = error instanceof StatusError ? error.status : undefined;
    const fields = { server: this.#server, err: error.message, retryInMs: Math.round(retryInMs) };
    if (status === 403) {
      const isNew = addNew(this.#forbidden, `${verb} ${resource.plural}`);
      this.#log(!isNew ? 'debug' : resource.isOptional ? 'warn' : 'error', fields, forbidden(verb, resource));
      this.#reached(resource);
      return;
    }
    if (resource.isOptional && status === 404) {
      const isNew = addNew(this.#missing, resource.kind);
      this.#log(
        isNew ? 'info' : 'debug',
        fields,
        `this API server has no ${resource.plural}: going on without`,
      );
      this.#reached(resource);
      return;
    }
    if (this.#failing.size === 0) this.#lostAtMs = this.#clock.now();
    this.#failing.add(resource.kind);
    const what = status === undefined ? 'cannot be reached' : `answers with HTTP ${status}`;
    const isNew = addNew(this.#said, what);
    this.#log(isNew ? 'warn' : 'debug', fields, `API server ${what}; the last known state stays in force`);
  }

  succeeded(verb: Verb, resource: Resource): void {
    this.#forbidden.delete(`${verb} ${resource.plural}`);
    this.#missing.delete(resource.kind);
    this.#reached(resource);
  }

  #reached(resource: Resource): void {
    if (!this.#failing.delete(resource.kind) || this.#failing.size > 0) return;
    this.#said.clear();
    const outageMs = Math.round(this.#clock.now() - this.#lostAtMs);
    this.#log('info', { server: this.#server, outageMs }, 'API server is back');
  }
}

function addNew(set: Set<string>, value: string): boolean {
  return set.size < set.add(value).size;
}

function forbidden(verb: Verb, { plural, group, isOptional }: Resource): string {
  const where = group === '' ? 'the core API group ("")' : `API group ${group}`;
  return (
    `not allowed to ${verb} ${plural}: a ClusterRole bound to this user must allow the verbs list and watch ` +
    `on ${plural} in ${where}${isOptional ? '; going on without' : ''}`
  );
}
