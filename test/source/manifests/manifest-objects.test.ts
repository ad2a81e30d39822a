import { describe, expect, it } from 'vitest';
import { readObjects } from '../../../src/source/manifests/manifest-objects.ts';

const meta = (name: string) => ({ metadata: { name } });
const service = (name: string, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  ...meta(name),
  spec: { clusterIP: '10.96.0.1' },
  ...more,
});

function ids(document: unknown): string[] {
  const { raws, failures } = readObjects(document);
  expect(failures).toEqual([]);
  return [...raws.keys()].map(({ id }) => id);
}

describe('readObjects', () => {
  it.each<[string, unknown, string[]]>([
    ['nothing', null, []],
    ['a Service', service('web'), ['Service default/web']],
    ['a namespace', service('web', { metadata: { name: 'web', namespace: 'prod' } }), ['Service prod/web']],
    [
      'a Node, which has no namespace',
      { apiVersion: 'v1', kind: 'Node', ...meta('node-1') },
      ['Node node-1'],
    ],
    [
      'a slice',
      { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', ...meta('a') },
      ['EndpointSlice default/a'],
    ],
    [
      'a ServiceCIDR, which has no namespace either',
      { apiVersion: 'networking.k8s.io/v1beta1', kind: 'ServiceCIDR', ...meta('kubernetes') },
      ['ServiceCIDR kubernetes'],
    ],
    [
      'no ServiceCIDR of v1alpha1, which had other fields',
      { apiVersion: 'networking.k8s.io/v1alpha1', kind: 'ServiceCIDR', ...meta('kubernetes') },
      [],
    ],
    ['a kind without apiVersion', { kind: 'Node', ...meta('n') }, ['Node n']],
    ['other kinds', { apiVersion: 'apps/v1', kind: 'Deployment', metadata: 'whatever' }, []],
    ['the Service of Knative', service('web', { apiVersion: 'serving.knative.dev/v1' }), []],
    ['lists of other kinds', { apiVersion: 'v1', kind: 'PodList', items: [service('web')] }, []],
    [
      'a List in order',
      { apiVersion: 'v1', kind: 'List', items: [service('b'), service('a')] },
      ['Service default/b', 'Service default/a'],
    ],
    [
      'a List in a List',
      { kind: 'List', items: [{ kind: 'List', items: [service('a')] }, service('b')] },
      ['Service default/a', 'Service default/b'],
    ],
    [
      'a ServiceList, whose entries do not say their kind',
      { apiVersion: 'v1', kind: 'ServiceList', items: [{ ...meta('a'), spec: { clusterIP: 'None' } }] },
      ['Service default/a'],
    ],
    ['an empty List', { kind: 'List', items: null }, []],
    [
      'Endpoints, as slices',
      {
        kind: 'Endpoints',
        ...meta('db'),
        subsets: [{ addresses: [{ ip: '10.1.0.1' }], ports: [{ port: 1 }] }],
      },
      ['EndpointSlice default/db-mirrored-0'],
    ],
  ])('finds %s', (_, document, expected) => {
    expect(ids(document)).toEqual(expected);
  });

  it.each<[unknown, string[]]>([
    ['text', ['must be an object, got "text"']],
    [[service('a')], ['must be an object, got a list']],
    [{ apiVersion: 'v1' }, ['kind: must be the kind of a Kubernetes object, got nothing']],
    [{ kind: 7 }, ['kind: must be a string, got 7']],
    [service('Web'), ['metadata.name: must be a DNS subdomain of at most 253 characters, got "Web"']],
    [{ kind: 'Service' }, ['metadata.name: must be a DNS subdomain of at most 253 characters, got nothing']],
    [{ kind: 'List', items: 'x' }, ['items: must be a list, got "x"']],
    [
      { kind: 'List', items: [null, { kind: 'List', items: [{ kind: 'Node' }] }] },
      [
        'items[0]: must be an object, got nothing',
        'items[1].items[0].metadata.name: must be a DNS subdomain of at most 253 characters, got nothing',
      ],
    ],
    [
      { kind: 'Endpoints', ...meta('db'), subsets: 5 },
      ['Endpoints default/db: subsets: must be a list, got 5'],
    ],
  ])('tells what is no object: %j', (document, reasons) => {
    const { failures } = readObjects(document);
    expect(failures.map(({ reason }) => reason)).toEqual(reasons);
    expect(failures.every(({ code }) => code === 'INVALID_FIELD')).toBe(true);
  });

  it('keeps the sound entries of a list with an odd one', () => {
    const { raws, failures } = readObjects({ kind: 'List', items: [service('a'), 5, service('b')] });
    expect([...raws.keys()].map(({ name }) => name)).toEqual(['a', 'b']);
    expect(failures).toHaveLength(1);
  });

  it('fills in the namespace and nothing else', () => {
    const [raw] = [...readObjects(service('web')).raws.values()];
    expect(raw).toEqual(service('web', { metadata: { name: 'web', namespace: 'default' } }));
  });

  it.each([
    ['no clusterIP', {}, true],
    ['an empty one', { clusterIP: '' }, true],
    ['none, although of type NodePort', { type: 'NodePort' }, true],
    ['None', { clusterIP: 'None' }, false],
    ['an address', { clusterIP: '10.96.0.1' }, false],
    ['none, of type ExternalName', { type: 'ExternalName' }, false],
  ])('remarks on a Service with %s: %j', (_, spec, isRemarkable) => {
    const [object] = [...readObjects(service('web', { spec })).raws.keys()];
    expect(object?.note?.code).toBe(isRemarkable ? 'NO_CLUSTER_IP' : undefined);
  });

  it('knows equal content by its digest', () => {
    const digest = (document: unknown) => [...readObjects(document).raws.keys()][0]?.digest;
    expect(digest(service('a'))).toBe(
      digest(service('a', { metadata: { name: 'a', namespace: 'default' } })),
    );
    expect(digest(service('a'))).not.toBe(digest(service('a', { spec: {} })));
  });
});
