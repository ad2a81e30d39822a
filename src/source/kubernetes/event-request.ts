// An Event about this Node as the API server takes it (events.k8s.io/v1; limits: pkg/apis/core/validation/events.go).

import type { EventWrite, NodeEvent } from '../node-event.ts';
import type { ApiWrite } from './api-client.ts';
import { NODE_EVENTS } from './resources.ts';

/** Who tells, and since when. */
export interface Reporter {
  readonly nodeName: string;
  /** Names of its Events are this plus their id: nobody else may tell of this Node under the same. */
  readonly base: bigint;
  /** Wall clock minus the clock of `atMs`, milliseconds. */
  readonly epochMs: number;
}

const MAX_NAME = 253;
const MAX_INSTANCE = 128;
const MAX_NOTE_BYTES = 1024;

export function eventRequest(write: EventWrite, reporter: Reporter): Omit<ApiWrite, 'signal'> {
  const name = eventName(reporter, write.id);
  const time = microTime(reporter.epochMs + write.atMs);
  if (write.op === 'create') {
    const body = eventObject(write.event, name, time, reporter.nodeName);
    return { what: 'create event', method: 'POST', path: NODE_EVENTS.path, body };
  }
  const body = { series: { count: write.count, lastObservedTime: time } };
  return { what: 'patch event', method: 'PATCH', path: `${NODE_EVENTS.path}/${name}`, body };
}

function eventObject(
  { type, reason, action, note, related }: NodeEvent,
  name: string,
  eventTime: string,
  nodeName: string,
): Record<string, unknown> {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace: NODE_EVENTS.namespace },
    eventTime,
    reportingController: 'kproxy-ts',
    reportingInstance: nodeName.slice(0, MAX_INSTANCE),
    type,
    reason,
    action,
    note: cutToBytes(note, MAX_NOTE_BYTES),
    // The name in place of the uid, as kubelet and kube-proxy have it: that is what `kubectl describe node` looks for.
    regarding: { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName },
    ...(related !== undefined && {
      related: {
        apiVersion: related.apiVersion,
        kind: related.kind,
        name: related.name,
        ...(related.namespace !== '' && { namespace: related.namespace }),
      },
    }),
  };
}

/** `node-1.188a1f…`, as client-go names them. */
function eventName({ nodeName, base }: Reporter, id: number): string {
  const suffix = `.${(base + BigInt(id)).toString(16)}`;
  return nodeName.slice(0, MAX_NAME - suffix.length).replace(/[-.]+$/, '') + suffix;
}

/** meta/v1 MicroTime: RFC 3339 with six digits. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** As much of `text` as fits into `bytes` of UTF-8, with an ellipsis where something is missing. */
function cutToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const ellipsis = '…';
  const cut = Buffer.from(text).subarray(0, bytes - Buffer.byteLength(ellipsis));
  // A character that was cut in two decodes to U+FFFD.
  return cut.toString('utf8').replace(/\uFFFD+$/, '') + ellipsis;
}
