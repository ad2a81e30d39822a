// The store: what a batch of events touched, and what stays known when objects are odd.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatCidr } from '../../src/model/ip.ts';
import type { ObjectKind, SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';

const upsert = (kind: ObjectKind, object: unknown, origin = 'a.yaml'): SourceEvent => ({
  type: 'upsert',
  kind,
  object,
  origin,
});
const service = (name: string, port: unknown = 80, extra: object = {}): SourceEvent =>
  upsert('Service', {
    metadata: { namespace: 'n', name, ...extra },
    spec: { clusterIP: '10.96.0.1', ports: [{ port }] },
  });
const slice = (name: string, of: string, addresses: string[]): SourceEvent =>
  upsert('EndpointSlice', {
    metadata: { namespace: 'n', name, labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 80 }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  });
const node = (name: string, address: string): SourceEvent =>
  upsert('Node', { metadata: { name }, status: { addresses: [{ type: 'InternalIP', address }] } });
const remove = (kind: ObjectKind, name: string, namespace = 'n'): SourceEvent => ({
  type: 'delete',
  kind,
  namespace,
  name,
});
const start = (kind: ObjectKind): SourceEvent => ({ type: 'list-start', kind });
const end = (kind: ObjectKind): SourceEvent => ({ type: 'list-end', kind });
const key = (name: string): ServiceKey => `n/${name}` as ServiceKey;
const touched = (store: Store, ...events: SourceEvent[]): string[] =>
  [...store.apply(events).services].sort();

describe('what a batch touches', () => {
  test('a Service, and the Service of a slice', () => {
    const store = new Store();
    expect(touched(store, service('a'), slice('s', 'b', ['10.1.0.1']))).toEqual(['n/a', 'n/b']);
  });

  test('nothing, when an object comes again unchanged', () => {
    const store = new Store();
    store.apply([service('a'), slice('s', 'a', ['10.1.0.1']), node('x', '192.0.2.1')]);
    const change = store.apply([service('a'), slice('s', 'a', ['10.1.0.1']), node('x', '192.0.2.1')]);
    expect([...change.services]).toEqual([]);
    expect(change.hasNewSurroundings).toBe(false);
  });

  test('both Services, when a slice moves from one to another', () => {
    const store = new Store();
    store.apply([slice('s', 'a', ['10.1.0.1'])]);
    expect(touched(store, slice('s', 'b', ['10.1.0.1']))).toEqual(['n/a', 'n/b']);
    expect(store.slices(key('a'))).toEqual([]);
    expect(store.slices(key('b'))).toHaveLength(1);
  });

  test('a Service that is deleted and made anew in one batch is what it is last', () => {
    const store = new Store();
    store.apply([service('a', 80)]);
    expect(touched(store, remove('Service', 'a'), service('a', 81))).toEqual(['n/a']);
    expect(store.service(key('a'))!.ports[0]!.port).toBe(81);
    store.apply([service('a', 82), remove('Service', 'a')]);
    expect(store.service(key('a'))).toBeUndefined();
  });

  test('deleting what is not known touches nothing', () => {
    expect(touched(new Store(), remove('Service', 'a'), remove('EndpointSlice', 's'))).toEqual([]);
  });

  test('the Node, when its addresses change or it goes', () => {
    const store = new Store();
    expect(store.apply([node('x', '192.0.2.1')]).hasNewSurroundings).toBe(true);
    expect(store.apply([node('x', '192.0.2.2')]).hasNewSurroundings).toBe(true);
    expect(store.apply([remove('Node', 'x', '')]).hasNewSurroundings).toBe(true);
    expect(store.node).toBeUndefined();
  });
});

describe('ServiceCIDRs', () => {
  const cidr = (name: string, ...cidrs: string[]): SourceEvent =>
    upsert('ServiceCIDR', { metadata: { name }, spec: { cidrs } });
  const networks = (store: Store): string[] => store.serviceCidrs.map(formatCidr);

  test('are what all of them come to, each network once, in one order', () => {
    const store = new Store();
    store.apply([cidr('b', '10.97.0.0/16', 'fd00:10:96::/112'), cidr('a', '10.96.0.0/16')]);
    expect(networks(store)).toEqual(['10.96.0.0/16', '10.97.0.0/16', 'fd00:10:96::/112']);
    store.apply([cidr('c', '10.96.0.0/12')]);
    expect(networks(store)).toEqual(['10.96.0.0/12', 'fd00:10:96::/112']);
  });

  test('change the surroundings only when what they come to changes', () => {
    const store = new Store();
    const isNew = (...events: SourceEvent[]): boolean => store.apply(events).hasNewSurroundings;
    expect(isNew(cidr('a', '10.96.0.0/16'))).toBe(true);
    const before = store.serviceCidrs;
    expect(isNew(cidr('a', '10.96.0.0/16'))).toBe(false);
    expect(isNew(cidr('b', '10.96.0.0/16'))).toBe(false);
    expect(store.serviceCidrs).toBe(before);
    // kube-proxy takes the network of both away when one of them goes.
    expect(isNew(remove('ServiceCIDR', 'a', ''))).toBe(false);
    expect(networks(store)).toEqual(['10.96.0.0/16']);
    expect(isNew(cidr('b', '10.97.0.0/16'))).toBe(true);
    expect(isNew(remove('ServiceCIDR', 'b', ''))).toBe(true);
    expect(networks(store)).toEqual([]);
  });

  test('go with a listing that has them no more', () => {
    const store = new Store();
    store.apply([cidr('a', '10.96.0.0/16'), cidr('b', '10.97.0.0/16'), service('a'), node('x', '192.0.2.1')]);
    store.apply([start('ServiceCIDR'), cidr('b', '10.97.0.0/16'), end('ServiceCIDR')]);
    expect(networks(store)).toEqual(['10.97.0.0/16']);
    expect([...store.serviceKeys()], 'other kinds are not their business').toEqual(['n/a']);
    expect(store.node).toBeDefined();
  });

  test('are not waited for', () => {
    const store = new Store();
    store.apply([start('Service'), end('Service'), start('EndpointSlice'), end('EndpointSlice')]);
    expect(store.isSynced).toBe(true);
    expect(store.isListed('ServiceCIDR')).toBe(false);
  });

  test('that are odd are told by their name, and the last good state stays', () => {
    const store = new Store();
    store.apply([cidr('a', '10.96.0.0/16')]);
    store.apply([upsert('ServiceCIDR', { metadata: { name: 'a' }, spec: { cidrs: 'x' } })]);
    expect(networks(store)).toEqual(['10.96.0.0/16']);
    expect(store.problems()).toMatchObject([{ subject: 'ServiceCIDR a', code: 'INVALID_FIELD' }]);
    store.apply([remove('ServiceCIDR', 'a', '')]);
    expect(store.problems()).toEqual([]);
  });
});

test('annotations that say the same in other words touch nothing, and bad ones are problems of their Service', () => {
  const store = new Store();
  const weighted = (weights: string) =>
    service('a', 80, { annotations: { 'kproxy-ts.io/weights': weights } });
  store.apply([weighted('10.1.0.1=2,node/x=3')]);
  expect(touched(store, weighted('node/x=3, 010.1.0.1=2'))).toEqual([]);
  expect(touched(store, weighted('node/x=3'))).toEqual(['n/a']);
  expect(touched(store, weighted('node/x'))).toEqual(['n/a']);
  expect(store.problems()).toMatchObject([{ subject: 'Service n/a', code: 'INVALID_ANNOTATION' }]);
  store.apply([service('a')]);
  expect(store.problems()).toEqual([]);
});

describe('a listing', () => {
  test('removes what it did not mention', () => {
    const store = new Store();
    store.apply([service('a'), service('b'), slice('s', 'a', ['10.1.0.1'])]);
    expect(touched(store, start('Service'), service('b'), end('Service'))).toEqual(['n/a']);
    expect([...store.serviceKeys()]).toEqual(['n/b']);
    expect(store.slices(key('a')), 'another kind is not its business').toHaveLength(1);
  });

  test('spans batches, and one that starts again forgets what the broken one saw', () => {
    const store = new Store();
    store.apply([service('a'), service('b')]);
    store.apply([start('Service'), service('a')]);
    store.apply([start('Service')]);
    store.apply([service('b'), end('Service')]);
    expect([...store.serviceKeys()]).toEqual(['n/b']);
  });

  test('keeps an object that it mentions in a form that cannot be read', () => {
    const store = new Store();
    store.apply([service('a', 80)]);
    store.apply([start('Service'), service('a', 70000), end('Service')]);
    expect(store.service(key('a'))!.ports[0]!.port).toBe(80);
    expect(store.problems()).toHaveLength(1);
  });

  test('is synced when Services and EndpointSlices are both complete', () => {
    const store = new Store();
    store.apply([start('Service'), start('EndpointSlice'), end('Service')]);
    expect(store.isSynced).toBe(false);
    store.apply([end('EndpointSlice')]);
    expect(store.isSynced).toBe(true);
  });
});

describe('problems', () => {
  test('an invalid object is reported with its field, and its last good state stays', () => {
    const store = new Store();
    store.apply([service('a', 80)]);
    expect(touched(store, service('a', 70000))).toEqual([]);
    expect(store.problems()).toEqual([
      {
        subject: 'Service n/a',
        code: expect.any(String),
        reason: expect.stringMatching(/spec\.ports\[0\]\.port.*70000.*a\.yaml/),
      },
    ]);
    expect(store.service(key('a'))!.ports[0]!.port).toBe(80);
  });

  test('end when the object is good again, gone, or not listed any more', () => {
    for (const cure of [[service('a', 80)], [remove('Service', 'a')], [start('Service'), end('Service')]]) {
      const store = new Store();
      store.apply([service('a', 70000)]);
      expect(store.problems()).toHaveLength(1);
      store.apply(cure);
      expect(store.problems()).toEqual([]);
    }
  });

  test('of documents last until they are solved, whatever is listed', () => {
    const store = new Store();
    store.apply([{ type: 'problem', subject: 'a.yaml document 2', code: 'UNREADABLE', reason: 'no' }]);
    store.apply([start('Service'), end('Service')]);
    expect(store.problems()).toHaveLength(1);
    store.apply([{ type: 'problem-solved', subject: 'a.yaml document 2' }]);
    expect(store.problems()).toEqual([]);
  });
});

test('however events are cut into batches, the same is known and touched in the end', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const event = fc.oneof(
    fc.tuple(name, fc.constantFrom(80, 81, 70000)).map(([n, port]) => service(n, port)),
    fc
      .tuple(name, name, fc.constantFrom('10.1.0.1', '10.1.0.2', 'odd'))
      .map(([n, of, ip]) => slice(n, of, [ip])),
    name.map((n) => remove('Service', n)),
    name.map((n) => remove('EndpointSlice', n)),
    fc.constantFrom(start('Service'), end('Service'), start('EndpointSlice'), end('EndpointSlice')),
  );
  const snapshot = (store: Store): unknown => ({
    services: ['a', 'b', 'c'].map((n) => [store.service(key(n)), store.slices(key(n))]),
    problems: store
      .problems()
      .map(({ subject, reason }) => `${subject} ${reason}`)
      .sort(),
    isSynced: store.isSynced,
  });
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 30 }),
      fc.array(fc.nat(30), { maxLength: 5 }),
      (events, cuts) => {
        const whole = new Store();
        const touchedWhole = [...whole.apply(events).services].sort();
        const cut = new Store();
        const touchedCut = new Set<string>();
        const edges = [0, ...cuts.filter((at) => at < events.length).sort((a, b) => a - b), events.length];
        for (let i = 1; i < edges.length; i++) {
          for (const one of cut.apply(events.slice(edges[i - 1], edges[i])).services) touchedCut.add(one);
        }
        expect(snapshot(cut)).toEqual(snapshot(whole));
        expect([...touchedCut].sort()).toEqual(touchedWhole);
      },
    ),
  );
});

describe('what was known before and is restored', () => {
  const known = (...events: SourceEvent[]) => {
    const store = new Store();
    store.apply(events);
    return [...store.known()];
  };
  const old = known(
    service('stays'),
    service('goes'),
    service('changes', 80),
    slice('s', 'stays', ['10.1.0.1']),
    node('x', '192.0.2.1'),
  );

  test('makes the store known, and stale until Services and slices have been listed', () => {
    const store = new Store();
    expect([store.isSynced, store.isStale]).toEqual([false, false]);
    const change = store.restore(old);
    expect([...change.services].sort()).toEqual(['n/changes', 'n/goes', 'n/stays']);
    expect(change.hasNewSurroundings).toBe(true);
    expect([store.isSynced, store.isStale, store.isListed('Service')]).toEqual([true, true, false]);
    store.apply([start('Service'), end('Service')]);
    expect(store.isStale).toBe(true);
    store.apply([start('EndpointSlice'), end('EndpointSlice')]);
    expect([store.isSynced, store.isStale]).toEqual([true, false]);
  });

  test('a listing touches only what differs, and ends what is gone', () => {
    const store = new Store();
    store.restore(old);
    const listing = [
      start('Service'),
      service('stays'),
      service('changes', 81),
      service('new'),
      end('Service'),
    ];
    expect(touched(store, ...listing)).toEqual(['n/changes', 'n/goes', 'n/new']);
    expect(store.service(key('goes'))).toBeUndefined();
    expect(
      touched(store, start('EndpointSlice'), slice('s', 'stays', ['10.1.0.1']), end('EndpointSlice')),
    ).toEqual([]);
  });

  test('what the source has said is newer, listed or not, and a listing that is under way goes on', () => {
    const store = new Store();
    store.apply([start('Service'), service('changes', 81)]);
    store.apply([start('EndpointSlice'), end('EndpointSlice')]);
    store.restore(old);
    expect(store.service(key('changes'))!.ports[0]!.port).toBe(81);
    expect(store.slices(key('stays'))).toEqual([]);
    expect(store.isStale).toBe(true);
    expect(touched(store, service('stays'), end('Service'))).toEqual(['n/goes']);
    expect(store.isStale).toBe(false);
  });

  test('each object is told once, also when it changes while they are gone through', () => {
    const store = new Store();
    store.apply([service('a'), slice('s', 'a', ['10.1.0.1']), slice('t', 'a', ['10.1.0.2'])]);
    const told: string[] = [];
    for (const { kind, value } of store.known()) {
      told.push(kind === 'EndpointSlice' ? value.key : kind);
      if (told.length < 10) store.apply([slice('s', 'a', [`10.1.0.${told.length + 10}`])]);
    }
    expect(told.sort()).toEqual(['Service', 'n/s', 'n/t']);
  });
});
