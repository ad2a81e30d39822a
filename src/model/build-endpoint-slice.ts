// discovery.k8s.io/v1 EndpointSlice → EndpointSlice, as kube-proxy 1.36 reads it (pkg/proxy/endpointslicecache.go).

import type { Built } from './built.ts';
import { Field } from './fields.ts';
import { intern } from './intern.ts';
import { familyOf, type IpFamily } from './ip.ts';
import type { Endpoint, EndpointPort, EndpointSlice, ServiceKey } from './types.ts';

/** The Service that a slice belongs to. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
/** Its presence, whatever its value, says that no proxy needs the slice. */
const HEADLESS_LABEL = 'service.kubernetes.io/headless';

/** Reduces a raw EndpointSlice. */
export function buildEndpointSlice(object: unknown): Built<EndpointSlice> {
  const root = Field.root(object);
  const metadata = root.at('metadata');
  const labels = metadata.at('labels');
  const namespace = intern(metadata.at('namespace').label());
  const name = metadata.at('name').subdomain();
  if (labels.has(HEADLESS_LABEL)) {
    return { kind: 'ignored', reason: `it has label ${HEADLESS_LABEL}` };
  }
  const service = labels.at(SERVICE_NAME_LABEL);
  if (service.value === undefined || service.value === '') {
    return { kind: 'ignored', reason: `it has no label ${SERVICE_NAME_LABEL}` };
  }
  const type = root.at('addressType').oneOf(['IPv4', 'IPv6', 'FQDN']);
  if (type === 'FQDN')
    return { kind: 'ignored', reason: 'addressType FQDN has no addresses to send traffic to' };
  const family = type === 'IPv4' ? 4 : 6;
  return root.built({
    key: `${namespace}/${name}`,
    serviceKey: `${namespace}/${service.label()}` as ServiceKey,
    family,
    ports: readPorts(root.at('ports').items()),
    endpoints: readEndpoints(root.at('endpoints').items(), family),
  });
}

/**
 * Ports with a number; one without means all ports, which no proxy supports. kube-proxy also ignores a port without a
 * name, but the API server writes '' for it, and manifests by hand leave it out: here absent is ''.
 */
function readPorts(fields: readonly Field[]): readonly EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const field of fields) {
    const name = intern(field.at('name').label(''));
    const protocol = field.at('protocol').protocol();
    const port = field.at('port').integer(0, 65535, 0);
    if (port !== 0) ports.push({ name, protocol, port });
  }
  return compact(ports);
}

/** Endpoints with an address; one whose address is not of the family is skipped. */
function readEndpoints(fields: readonly Field[], family: IpFamily): readonly Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (const field of fields) {
    const conditions = field.at('conditions');
    const isReady = conditions.at('ready').boolean(true);
    const isServing = conditions.at('serving').boolean(true);
    const isTerminating = conditions.at('terminating').boolean(false);
    const hints = field.at('hints');
    const zoneHints = readHints(hints.at('forZones'));
    const nodeHints = readHints(hints.at('forNodes'));
    const nodeName = readName(field.at('nodeName'));
    const zone = readName(field.at('zone'));
    const address = field.at('addresses').items()[0];
    const ip = address?.ipOrSkip();
    if (address === undefined || ip === undefined) continue;
    if (familyOf(ip) === family) {
      // Two literals: a spread of the first would cost 320 bytes more, and there are 250,000 of these.
      endpoints.push(
        zone === undefined
          ? { ip, isReady, isServing, isTerminating, zoneHints, nodeHints, nodeName }
          : { ip, isReady, isServing, isTerminating, zoneHints, nodeHints, nodeName, zone },
      );
    } else {
      address.skip(`must be an IPv${family} address as addressType says`);
    }
  }
  return compact(endpoints);
}

/** A name that many endpoints have; undefined when absent or empty. */
function readName(field: Field): string | undefined {
  const name = field.text();
  return name === '' ? undefined : intern(name);
}

/** The distinct names; undefined when there are none, which is to have no hints at all. */
function readHints(list: Field): readonly string[] | undefined {
  if (list.value === undefined) return undefined;
  const names = new Set<string>();
  for (const hint of list.items()) {
    const name = hint.at('name').text();
    if (name !== '') names.add(intern(name));
  }
  return names.size === 0 ? undefined : [...names];
}

/** A copy without spare capacity: V8 reserves 17 places at the first push, and there are 100,000 of these lists. */
function compact<T>(list: readonly T[]): readonly T[] {
  return list.slice();
}
