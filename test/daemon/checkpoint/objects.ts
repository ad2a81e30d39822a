// Clusters of a given size, as a store knows them.

import type { KnownObject } from '../../../src/model/saved-object.ts';
import type { SourceEvent } from '../../../src/model/source-event.ts';
import { Store } from '../../../src/model/store.ts';
import { service, slice } from '../../support/manifests.ts';

/** So many Services of five endpoints each. */
export function clusterEvents(serviceCount: number): SourceEvent[] {
  return Array.from({ length: serviceCount }, (_, i): SourceEvent[] => {
    const [name, tail] = [`service-${i}`, `${i >> 8}.${i & 255}`];
    const endpoints = Array.from({ length: 5 }, (__, n) => ({
      ip: `10.${n}.${tail}`,
      nodeName: `node-${n}`,
    }));
    const ports = [{ name: 'http', port: 80 }];
    return [
      upsert('Service', service(name, { clusterIps: [`10.96.${tail}`], ports })),
      upsert('EndpointSlice', slice(name, `${name}-abcde`, { ports, endpoints })),
    ];
  }).flat();
}

/** A store that has listed that. */
export function clusterStore(serviceCount: number): Store {
  const store = new Store();
  store.apply([
    { type: 'list-start', kind: 'Service' },
    { type: 'list-start', kind: 'EndpointSlice' },
    ...clusterEvents(serviceCount),
    { type: 'list-end', kind: 'Service' },
    { type: 'list-end', kind: 'EndpointSlice' },
  ]);
  return store;
}

export const cluster = (serviceCount: number): readonly KnownObject[] => [
  ...clusterStore(serviceCount).known(),
];

export function upsert(kind: 'Service' | 'EndpointSlice', object: object): SourceEvent {
  return { type: 'upsert', kind, object, origin: '' };
}
