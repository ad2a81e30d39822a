// The one interface behind which every origin of objects hides: an API server, a folder of manifests.

import type { SourceEvent } from '../model/source-event.ts';
import type { EventWrite } from './node-event.ts';

export type { ObjectKind, SourceEvent } from '../model/source-event.ts';

/** Receives batches, in order, on the event loop. Must not throw. */
export type SourceSink = (events: readonly SourceEvent[]) => void;

/** A request to a server that was answered, or was not. */
export interface SentRequest {
  readonly method: string;
  /** `10.0.0.1:6443` */
  readonly host: string;
  /** The HTTP status, `<error>` when there was no answer, as client-go has it. */
  readonly code: string;
  /** Until the answer began. */
  readonly durationMs: number;
}

/** An origin of objects. */
export interface Source {
  /** For logs: `API server https://10.0.0.1:6443`, `manifests ./examples`. */
  readonly description: string;
  /**
   * Starts delivering and returns once running, not once synced. Transient failures are retried inside, for ever.
   * @throws ConfigError when the configuration can never work (no such folder, malformed kubeconfig).
   */
  start(sink: SourceSink): Promise<void>;
  /** Stops; no event is delivered after the promise settles. Idempotent. */
  stop(): Promise<void>;
  /**
   * Tells of every request from now on. Missing where there are none.
   */
  observeRequests?(observe: (request: SentRequest) => void): void;
  /**
   * Writes an Event about this Node, once the source was started; one attempt. Missing where nobody would read it. `id` names an
   * Event within the life of the source; `atMs` is a time of `performance.now()`.
   * @throws KubeError; one without a status, or with one that may pass, is worth another attempt.
   */
  writeEvent?(write: EventWrite): Promise<void>;
}
