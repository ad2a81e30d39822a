// What can go wrong between us and an API server, by what it means for the reader: StatusError when the server said
// no, MalformedError when it said something that cannot be read, a plain KubeError when the connection failed.

import { KubeError } from '../../errors.ts';
import { isRecord } from './json.ts';

/** An answer other than 2xx, or an ERROR event inside a watch (meta/v1 Status). */
export class StatusError extends KubeError {
  declare readonly status: number;
  /** Status.reason (`Expired`, `Forbidden`), '' when the server gave none. */
  readonly reason: string;
  /** How long the server asks us to wait, milliseconds. */
  readonly retryAfterMs: number | undefined;
  readonly #causes: readonly string[];

  /** `body` is the decoded Status, or anything else that a proxy in between may have sent. */
  constructor(what: string, status: number, body: unknown, retryAfter?: string) {
    const fields = isRecord(body) ? body : {};
    const details = isRecord(fields['details']) ? fields['details'] : {};
    const words = typeof fields['message'] === 'string' ? `: ${fields['message']}` : '';
    super(`${what}: HTTP ${status}${words}`, status);
    this.reason = typeof fields['reason'] === 'string' ? fields['reason'] : '';
    this.retryAfterMs = retryAfterMs(retryAfter ?? details['retryAfterSeconds']);
    const causes = Array.isArray(details['causes']) ? details['causes'] : [];
    this.#causes = causes.map((cause: unknown) => (isRecord(cause) ? String(cause['reason']) : ''));
  }

  /** The version or continue token that was asked for has been compacted away. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }

  /** The version that was asked for lies in this server's future: etcd was restored, or the server lags behind. */
  get isVersionTooLarge(): boolean {
    return this.#causes.includes('ResourceVersionTooLarge');
  }
}

/** Bytes that are not the list or the watch event they should be. */
export class MalformedError extends KubeError {}

/** Longer waits than this are more likely a mistake than a wish. */
const MAX_RETRY_AFTER_SEC = 600;

function retryAfterMs(seconds: unknown): number | undefined {
  const value = typeof seconds === 'string' ? Number.parseInt(seconds, 10) : seconds;
  if (typeof value !== 'number' || !(value > 0)) return undefined;
  return Math.min(value, MAX_RETRY_AFTER_SEC) * 1000;
}
