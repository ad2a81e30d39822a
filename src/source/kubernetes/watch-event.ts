// One line of a watch, decoded (meta/v1 WatchEvent).

import { isNamespaced } from '../../model/source-event.ts';
import type { SourceEvent } from '../source.ts';
import { MalformedError, StatusError } from './api-errors.ts';
import { decodeJson, isRecord } from './json.ts';
import type { Resource } from './resources.ts';

/** Where objects of this source come from, for messages. */
export const ORIGIN = 'API server';

export interface WatchEvent {
  /** What the sink is told; undefined for a bookmark. */
  readonly event: SourceEvent | undefined;
  /** Where to watch from once this event has been applied. */
  readonly resourceVersion: string;
}

/**
 * @throws StatusError for an ERROR event.
 * @throws MalformedError for anything that is not a watch event.
 */
export function decodeWatchEvent(line: Buffer, resource: Resource): WatchEvent {
  const what = `watch event of ${resource.plural}`;
  const { type, object } = decodeRecord(line, what);
  if (!isRecord(object)) throw new MalformedError(`${what}: object is missing`);
  if (type === 'ERROR') {
    const status = typeof object['code'] === 'number' ? object['code'] : 500;
    throw new StatusError(`watch of ${resource.plural}`, status, object);
  }
  if (!isRecord(object['metadata'])) throw new MalformedError(`${what}: object.metadata is missing`);
  const { name, namespace = '', resourceVersion } = object['metadata'];
  if (typeof resourceVersion !== 'string' || resourceVersion === '') {
    throw new MalformedError(`${what}: object.metadata.resourceVersion is missing`);
  }
  if (type === 'BOOKMARK') return { event: undefined, resourceVersion };
  if (typeof name !== 'string' || name === '')
    throw new MalformedError(`${what}: object.metadata.name is missing`);
  if (typeof namespace !== 'string' || (namespace !== '') !== isNamespaced(resource.kind)) {
    throw new MalformedError(`${what}: object.metadata.namespace of ${name} is ${JSON.stringify(namespace)}`);
  }
  const { kind } = resource;
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { event: { type: 'upsert', kind, object, origin: ORIGIN }, resourceVersion };
    case 'DELETED':
      return { event: { type: 'delete', kind, namespace, name }, resourceVersion };
    default:
      throw new MalformedError(`${what}: unknown type ${JSON.stringify(type)}`);
  }
}

function decodeRecord(line: Buffer, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = decodeJson(line);
  } catch (cause) {
    throw new MalformedError(`${what}: ${(cause as Error).message}`, undefined, { cause });
  }
  if (!isRecord(value)) throw new MalformedError(`${what}: not an object`);
  return value;
}
