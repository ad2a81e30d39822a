// A source under test: what it said, what it logged, how long it meant to sleep, and the state its events add up to.

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { OBJECT_KINDS, type ObjectKind, type SourceEvent } from '../../../src/model/source-event.ts';
import type { Clock } from '../../../src/source/kubernetes/clock.ts';
import {
  createKubernetesSource,
  type KubernetesSourceOptions,
} from '../../../src/source/kubernetes/kubernetes-source.ts';
import type { LogLevel } from '../../../src/source/kubernetes/source-log.ts';
import type { ApiObject } from '../../support/api-server/object-store.ts';

/** Each is listed and watched. */
export const KIND_COUNT = OBJECT_KINDS.length;

export interface LogLine {
  readonly level: LogLevel;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export class SourceUnderTest {
  readonly batches: (readonly SourceEvent[])[] = [];
  readonly logged: LogLine[] = [];
  /** Every back-off, milliseconds as the source asked for them. */
  readonly sleptMs: number[] = [];
  /** Objects in force by kind and `namespace/name`, following the contract of SourceEvent. */
  readonly state: Record<ObjectKind, Map<string, ApiObject>> = {
    Service: new Map(),
    EndpointSlice: new Map(),
    Node: new Map(),
    ServiceCIDR: new Map(),
  };
  readonly synced = new Set<ObjectKind>();
  /** Called after each batch. */
  onBatch: () => void = () => undefined;
  readonly #listed: Partial<Record<ObjectKind, Set<string>>> = {};
  readonly #source: ReturnType<typeof createKubernetesSource>;

  /** Back-offs pass `speed` times faster than asked. */
  constructor(options: Partial<KubernetesSourceOptions>, speed = 50) {
    const clock: Clock = {
      now: () => performance.now(),
      sleep: async (ms, signal) => {
        this.sleptMs.push(ms);
        await delay(ms / speed, undefined, { signal }).catch(() => undefined);
      },
    };
    this.#source = createKubernetesSource({
      nodeName: 'node-1',
      version: '1.2.3',
      clock,
      log: (level, fields, message) => this.logged.push({ level, fields, message }),
      ...options,
    });
  }

  get events(): SourceEvent[] {
    return this.batches.flat();
  }

  async start(): Promise<this> {
    await this.#source.start((batch) => {
      this.batches.push(batch);
      for (const event of batch) this.#apply(event);
      this.onBatch();
    });
    return this;
  }

  async stop(): Promise<void> {
    await this.#source.stop();
  }

  async whenSynced(): Promise<void> {
    await until('synced', () => this.synced.size === KIND_COUNT);
  }

  /** `namespace/name` of the objects of a kind, sorted. */
  names(kind: ObjectKind): string[] {
    return [...this.state[kind].keys()].sort();
  }

  lines(...levels: LogLevel[]): LogLine[] {
    return this.logged.filter(({ level }) => levels.includes(level));
  }

  #apply(event: SourceEvent): void {
    if (event.type === 'problem' || event.type === 'problem-solved') return;
    const objects = this.state[event.kind];
    const listed = this.#listed[event.kind];
    if (event.type === 'upsert') {
      const object = event.object as ApiObject;
      const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
      objects.set(key, object);
      listed?.add(key);
    } else if (event.type === 'delete') {
      objects.delete(`${event.namespace}/${event.name}`);
    } else if (event.type === 'list-start') {
      this.#listed[event.kind] = new Set();
    } else {
      expect(listed, `list-end of ${event.kind} without list-start`).toBeDefined();
      for (const key of objects.keys()) if (!listed!.has(key)) objects.delete(key);
      delete this.#listed[event.kind];
      this.synced.add(event.kind);
    }
  }
}

/** Resolves as soon as `condition` holds. */
export async function until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`timed out waiting until ${what}`);
    await delay(5);
  }
}

export function service(
  name: string,
  fields: { labels?: Record<string, string>; clusterIP?: string } = {},
): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name, ...(fields.labels && { labels: fields.labels }) },
    spec: { clusterIP: fields.clusterIP ?? '10.96.0.1', ports: [{ port: 80 }] },
  };
}

export function slice(name: string, labels: Record<string, string> = {}): ApiObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'default', name, labels },
    addressType: 'IPv4',
    endpoints: [],
  };
}

export function serviceCidr(name: string, ...cidrs: string[]): ApiObject {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name }, spec: { cidrs } };
}

export function node(name: string): ApiObject {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name } };
}
