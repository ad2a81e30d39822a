// Runs inside a network namespace: the daemon without its source, holding a cluster (argv[2], as JSON), and told to change
// it. Prints `ready`, then answers each line of stdin, a ChangesRequest as JSON, with the durations in milliseconds.

import { createInterface } from 'node:readline';
import type { SourceEvent } from '../src/model/source-event.ts';
import { type Cluster, Engine, upsert } from './engine.ts';
import { buildEndpointSlice, buildService, podIps, serviceName, sparePodIp } from './objects.ts';

/** Durations in milliseconds, by kind of change. */
export interface ChangesResult {
  readonly endpointReplaced: readonly number[];
  /** Taken away and, the next time, given back; other Services have as many. */
  readonly endpointCount: readonly number[];
  /** Endpoints given to a Service until it has more than any other so far: a chain is made for their number. */
  readonly endpointCountFirst: readonly number[];
  readonly serviceAdded: readonly number[];
  /** Those that were added, in the same order. */
  readonly serviceDeleted: readonly number[];
}

export interface ChangesRequest {
  readonly change: keyof ChangesResult;
  readonly count: number;
}

async function serveChanges({ services, endpoints, mode }: Cluster): Promise<void> {
  const engine = await Engine.open(mode);
  await engine.load({ services, endpoints, mode });
  const ipsByService = new Map<number, readonly string[]>();
  const ipsOf = (service: number): readonly string[] =>
    ipsByService.get(service) ?? podIps(service, endpoints);
  const withIps = (service: number, ips: readonly string[]): SourceEvent => {
    ipsByService.set(service, ips);
    return upsert('EndpointSlice', buildEndpointSlice(service, ips));
  };
  let spares = 0;
  const spare = (): string => sparePodIp(spares++);
  // All but the last, which is where the others find the number of endpoints that they change to.
  const victim = (i: number): number => (i * 7919) % Math.max(services - 1, 1);
  await engine.apply([withIps(services - 1, podIps(services - 1, endpoints).slice(1))]);

  const done = {
    endpointReplaced: 0,
    endpointCount: 0,
    endpointCountFirst: 0,
    serviceAdded: 0,
    serviceDeleted: 0,
  };
  const taken = new Map<number, string>();
  const eventsOf: Record<keyof ChangesResult, (i: number) => readonly SourceEvent[]> = {
    endpointReplaced: (i) => [withIps(victim(i), ipsOf(victim(i)).with(0, spare()))],
    endpointCount: (i) => {
      const service = victim(i >> 1);
      const [first = '', ...others] = ipsOf(service);
      if (i % 2 === 1) return [withIps(service, [taken.get(service)!, first, ...others])];
      taken.set(service, first);
      return [withIps(service, others)];
    },
    endpointCountFirst: (i) => {
      const most = Array.from({ length: i + 1 }, spare);
      return [withIps(victim(i), [...ipsOf(victim(i)), ...most])];
    },
    serviceAdded: (i) => [
      upsert('Service', buildService(services + i)),
      upsert('EndpointSlice', buildEndpointSlice(services + i, podIps(services + i, endpoints))),
    ],
    serviceDeleted: (i) => {
      const { namespace, name } = serviceName(services + i);
      return [
        { type: 'delete', kind: 'Service', namespace, name },
        { type: 'delete', kind: 'EndpointSlice', namespace, name: `${name}-x7k2p` },
      ];
    },
  };

  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    const { change, count } = JSON.parse(line) as ChangesRequest;
    const durations: number[] = [];
    for (let i = 0; i < count; i++) {
      const events = eventsOf[change](done[change]++);
      durations.push((await engine.apply(events)).tookMs);
    }
    console.log(JSON.stringify(durations));
  }
  await engine.stop();
}

await serveChanges(JSON.parse(process.argv[2] ?? '') as Cluster);
