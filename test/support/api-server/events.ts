// Events of the test server: what the real one checks before it stores one (pkg/apis/core/validation/events.go).

import type http from 'node:http';
import type { Faults } from './faults.ts';
import { sendStatus } from './status.ts';

export const EVENTS_PATH = '/apis/events.k8s.io/v1/namespaces/default/events';

/** events.k8s.io/v1 Event. */
export interface StoredEvent {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly eventTime: string;
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly regarding: Readonly<Record<string, string>>;
  readonly related?: Readonly<Record<string, string>>;
  series?: { readonly count: number; readonly lastObservedTime: string };
}

export class Events {
  /** In the order of their creation. */
  readonly stored: StoredEvent[] = [];
  /** Every write that arrived, whatever became of it: `POST 201`, `PATCH 404`. */
  readonly writes: string[] = [];
  readonly #faults: Faults;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  /** `rest` is what follows the path of the collection. */
  async answer(request: http.IncomingMessage, response: http.ServerResponse, rest: string): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.#faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#faults.delayMs));
    const [status, message] = this.#write(request, rest, Buffer.concat(chunks).toString());
    this.writes.push(`${request.method} ${status}`);
    if (status === 0) response.destroy();
    else if (status < 300) {
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    } else sendStatus(response, status, 'Refused', message);
  }

  #write({ method, headers }: http.IncomingMessage, rest: string, text: string): [number, string] {
    const failure = this.#faults.failingEvents.shift();
    if (failure !== undefined && failure !== 0) return [failure, 'injected failure'];
    const verb = { POST: 'create', PATCH: 'patch' }[method ?? ''];
    if (verb === undefined) return [405, 'MethodNotAllowed'];
    if (this.#faults.forbidden.has(`${verb} events`)) return [403, `events is forbidden: cannot ${verb}`];
    const type = verb === 'create' ? 'application/json' : 'application/merge-patch+json';
    if (headers['content-type'] !== type) return [415, `content type must be ${type}`];
    const done =
      verb === 'create' ? this.#create(rest, JSON.parse(text)) : this.#patch(rest, JSON.parse(text));
    return failure === 0 && done[0] < 300 ? [0, ''] : done;
  }

  #create(rest: string, event: StoredEvent): [number, string] {
    if (rest !== '') return [404, 'not a collection'];
    const problems = problemsOf(event);
    if (problems.length > 0) return [422, `Event is invalid: ${problems.join(', ')}`];
    if (this.stored.some(({ metadata }) => metadata.name === event.metadata.name))
      return [409, 'already exists'];
    this.stored.push(event);
    return [201, ''];
  }

  /** Only the series of an Event may change. */
  #patch(rest: string, patch: Pick<StoredEvent, 'series'>): [number, string] {
    const event = this.stored.find(({ metadata }) => rest === `/${metadata.name}`);
    if (event === undefined) return [404, `events ${rest} not found`];
    const { series, ...others } = patch;
    if (Object.keys(others).length > 0) return [422, 'field is immutable'];
    if (series === undefined || series.count < 2 || !MICRO_TIME.test(series.lastObservedTime)) {
      return [422, 'series: count should be at least 2, lastObservedTime is required'];
    }
    event.series = series;
    return [200, ''];
  }
}

const MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([a-z0-9.-]+\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** Names of the fields that the real server would refuse. */
function problemsOf(event: StoredEvent): string[] {
  const { metadata, eventTime, type, reason, action, note, reportingController, reportingInstance } = event;
  const { regarding, series } = event;
  const isShort = (text: unknown) => typeof text === 'string' && text.length > 0 && text.length <= 128;
  const checks: Record<string, boolean> = {
    'metadata.name': NAME.test(metadata.name) && metadata.name.length <= 253,
    'metadata.namespace': metadata.namespace === (regarding['namespace'] ?? 'default'),
    eventTime: MICRO_TIME.test(eventTime),
    type: type === 'Normal' || type === 'Warning',
    reason: isShort(reason),
    action: isShort(action),
    note: typeof note === 'string' && Buffer.byteLength(note) <= 1024,
    reportingController: isShort(reportingController) && QUALIFIED.test(reportingController),
    reportingInstance: isShort(reportingInstance),
    regarding: typeof regarding['kind'] === 'string' && typeof regarding['name'] === 'string',
    series: series === undefined || series.count >= 2,
  };
  return Object.keys(checks).filter((field) => checks[field] !== true);
}
