// core/v1 Endpoints → raw EndpointSlices, as Kubernetes' endpointslicemirroring controller makes them
// (k8s.io/endpointslice mirroring, shouldMirror and reconcile). One slice per subset and address family. Kubernetes
// cuts a subset at 1,000 addresses to spare its store; here all of them are kept.

import { SERVICE_NAME_LABEL } from './build-endpoint-slice.ts';
import type { Built } from './built.ts';
import { Field } from './fields.ts';
import { familyOf, type Ip } from './ip.ts';
import type { EndpointPort } from './types.ts';

const SKIP_LABEL = 'endpointslice.kubernetes.io/skip-mirror';
const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
const LEADER_ANNOTATION = 'control-plane.alpha.kubernetes.io/leader';

/** A discovery.k8s.io/v1 EndpointSlice as the API writes it. */
export interface RawEndpointSlice {
  readonly apiVersion: 'discovery.k8s.io/v1';
  readonly kind: 'EndpointSlice';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly addressType: 'IPv4' | 'IPv6';
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly RawEndpoint[];
}

interface RawEndpoint {
  readonly addresses: readonly Ip[];
  readonly conditions: { readonly ready: boolean };
  readonly nodeName: string | undefined;
}

/** The slices of an Endpoints object, named after it and numbered: `NAME-mirrored-0`, `NAME-mirrored-1` ... */
export function mirrorEndpoints(object: unknown): Built<readonly RawEndpointSlice[]> {
  const root = Field.root(object);
  const metadata = root.at('metadata');
  const namespace = metadata.at('namespace').label();
  const name = metadata.at('name').label();
  if (metadata.at('labels').at(SKIP_LABEL).value === 'true') {
    return { kind: 'ignored', reason: `it has label ${SKIP_LABEL}` };
  }
  if (metadata.at('annotations').has(LEADER_ANNOTATION)) {
    return { kind: 'ignored', reason: `it has annotation ${LEADER_ANNOTATION}` };
  }
  const slices: RawEndpointSlice[] = [];
  for (const subset of root.at('subsets').items()) {
    const ports = subset.at('ports').items().map(readPort);
    const endpoints = [
      ...readAddresses(subset.at('addresses'), true),
      ...readAddresses(subset.at('notReadyAddresses'), false),
    ];
    for (const addressType of ['IPv4', 'IPv6'] as const) {
      const ofFamily = endpoints.filter(({ addresses: [ip] }) => `IPv${familyOf(ip!)}` === addressType);
      if (ofFamily.length === 0) continue;
      slices.push({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `${name}-mirrored-${slices.length}`,
          namespace,
          labels: { [SERVICE_NAME_LABEL]: name, [MANAGED_BY_LABEL]: 'kproxy-ts' },
        },
        addressType,
        ports,
        endpoints: ofFamily,
      });
    }
  }
  return root.built(slices);
}

function readPort(field: Field): EndpointPort {
  return {
    name: field.at('name').label(''),
    protocol: field.at('protocol').protocol(),
    port: field.at('port').integer(1, 65535),
  };
}

function readAddresses(list: Field, ready: boolean): readonly RawEndpoint[] {
  return list.items().flatMap((field) => {
    const ip = field.at('ip').ipOrSkip();
    const nodeName = field.at('nodeName').text();
    return ip === undefined
      ? []
      : [{ addresses: [ip], conditions: { ready }, nodeName: nodeName === '' ? undefined : nodeName }];
  });
}
