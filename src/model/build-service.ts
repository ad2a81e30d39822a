// core/v1 Service → Service. Which Services are proxied, and at which addresses, follows kube-proxy 1.36
// (pkg/proxy/serviceport.go, pkg/proxy/util ShouldSkipService, GetClusterIPByFamily).

import { readPolicy } from './build-policy.ts';
import type { Built } from './built.ts';
import { Field } from './fields.ts';
import { intern } from './intern.ts';
import { familyOf, type Ip, type IpFamily } from './ip.ts';
import { DEFAULT_POLICY } from './service-policy.ts';
import { readSourceRanges, UNRESTRICTED } from './source-ranges.ts';
import type { Service, ServiceKey, ServicePort } from './types.ts';

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const POLICIES = ['Cluster', 'Local'] as const;
/** core/v1 DefaultClientIPServiceAffinitySeconds and MaxClientIPServiceAffinitySeconds. */
const DEFAULT_AFFINITY_SECONDS = 10_800;
const MAX_AFFINITY_SECONDS = 86_400;
/** Its presence, whatever its value, says that another proxy serves the Service. */
const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';

/** Reduces a raw Service. One that is not proxied carries no addresses and no ports. */
export function buildService(object: unknown): Built<Service> {
  const root = Field.root(object);
  const metadata = root.at('metadata');
  const spec = root.at('spec');
  const namespace = intern(metadata.at('namespace').label());
  const name = metadata.at('name').label();
  const type = spec.at('type').oneOf(TYPES, 'ClusterIP');
  const isForeign = metadata.at('labels').has(PROXY_NAME_LABEL);
  const isSkipped = isForeign || type === 'ExternalName' || isHeadless(spec);
  const clusterIps = isSkipped ? [] : readClusterIps(spec);
  const isProxied = clusterIps.length > 0;
  const ipFamilies = clusterIps.map(familyOf);
  const externalIps = isProxied ? readIps(spec.at('externalIPs').items(), ipFamilies) : [];
  const ingress = root.at('status').at('loadBalancer').at('ingress');
  const internalPolicy = spec.at('internalTrafficPolicy').oneOf(POLICIES, 'Cluster');
  const externalPolicy = spec.at('externalTrafficPolicy').oneOf(POLICIES, 'Cluster');
  // A ClusterIP Service without external IPs has nothing that an external policy could be about.
  const isExternal = isProxied && (type !== 'ClusterIP' || externalIps.length > 0);
  const isExternalLocal = isExternal && externalPolicy === 'Local';
  const loadBalancerIps = isProxied ? readIps(ingress.items().filter(isVip).map(ipField), ipFamilies) : [];
  const exposed = new Set(loadBalancerIps.map(familyOf));
  return root.built({
    key: `${namespace}/${name}` as ServiceKey,
    namespace,
    name,
    uid: metadata.at('uid').text(),
    createdAtMs: readTime(metadata.at('creationTimestamp')),
    type,
    isProxied,
    clusterIps,
    ipFamilies,
    externalIps,
    loadBalancerIps,
    isInternalLocal: isProxied && internalPolicy === 'Local',
    isExternalLocal,
    healthCheckNodePort: readHealthCheckNodePort(spec, type === 'LoadBalancer' && isExternalLocal),
    affinityTimeoutSeconds: isProxied ? readAffinity(spec) : undefined,
    sourceRanges: isProxied ? readSourceRanges(spec.at('loadBalancerSourceRanges'), exposed) : UNRESTRICTED,
    policy: isProxied ? readPolicy(metadata.at('annotations')) : DEFAULT_POLICY,
    ports: isProxied ? readPorts(spec.at('ports').items()) : [],
  });
}

/** Affinity is a wish of the Service, not a condition of serving it: what is odd about it costs only that. */
function readAffinity(spec: Field): number | undefined {
  const affinity = spec.at('sessionAffinity');
  const { value } = affinity;
  if (value === undefined || value === '' || value === 'None') return undefined;
  if (value !== 'ClientIP') {
    affinity.warn('SKIPPED_FIELD', 'must be ClientIP or None', 'clients have no affinity');
    return undefined;
  }
  const timeout = spec.at('sessionAffinityConfig').at('clientIP').at('timeoutSeconds');
  const seconds = timeout.value ?? DEFAULT_AFFINITY_SECONDS;
  if (Number.isInteger(seconds) && (seconds as number) >= 1 && (seconds as number) <= MAX_AFFINITY_SECONDS) {
    return seconds as number;
  }
  timeout.warn(
    'SKIPPED_FIELD',
    `must be an integer from 1 to ${MAX_AFFINITY_SECONDS}`,
    `${DEFAULT_AFFINITY_SECONDS} is used`,
  );
  return DEFAULT_AFFINITY_SECONDS;
}

/** Only `clusterIP` decides, as in kube-proxy: `None` is headless, and without one there is nothing to proxy. */
function isHeadless(spec: Field): boolean {
  const clusterIp = spec.at('clusterIP').text();
  return clusterIp === '' || clusterIp === 'None';
}

/**
 * The addresses that `clusterIPs` has at the index of each of `ipFamilies`. What the API server would have filled in
 * may be missing: `clusterIPs` is then the `clusterIP`, and `ipFamilies` those of the addresses.
 */
function readClusterIps(spec: Field): readonly Ip[] {
  const primary = spec.at('clusterIP');
  const listed = spec.at('clusterIPs').items();
  const families = spec.at('ipFamilies').items();
  const fields = listed.length > 0 ? listed : [primary];
  const clusterIps: Ip[] = [];
  for (const [i, field] of (families.length > 0 ? fields.slice(0, families.length) : fields).entries()) {
    const ip = field.ip();
    if (ip === undefined) break;
    const family = `IPv${familyOf(ip)}`;
    if (families[i] !== undefined && families[i].oneOf(['IPv4', 'IPv6']) !== family) {
      field.fail(`must be of the family that spec.ipFamilies[${i}] names`);
    }
    if (clusterIps.some((other) => familyOf(other) === familyOf(ip)))
      field.fail('must be the only one of its family');
    clusterIps.push(ip);
  }
  if (clusterIps[0] !== undefined && primary.ip() !== clusterIps[0])
    listed[0]?.fail('must equal spec.clusterIP');
  return clusterIps;
}

/** Addresses without repetition; those that are none, or of a family the Service is not offered in, are skipped. */
function readIps(fields: readonly Field[], families: readonly IpFamily[]): readonly Ip[] {
  const ips = new Set<Ip>();
  for (const field of fields) {
    const ip = field.ipOrSkip();
    if (ip === undefined) continue;
    if (families.includes(familyOf(ip))) ips.add(ip);
    else field.skip('must be of a family that the Service has a cluster IP of');
  }
  return [...ips];
}

/** True for an ingress with an address that the node must serve; a host name, or ipMode Proxy, is served elsewhere. */
function isVip(ingress: Field): boolean {
  return ingress.at('ip').text() !== '' && ingress.at('ipMode').oneOf(['VIP', 'Proxy'], 'VIP') === 'VIP';
}

function ipField(ingress: Field): Field {
  return ingress.at('ip');
}

/** The API server allocates one for each Service that needs it; without it the load balancer cannot tell nodes apart. */
function readHealthCheckNodePort(spec: Field, isNeeded: boolean): number {
  const field = spec.at('healthCheckNodePort');
  const port = field.integer(0, 65535, 0);
  if (!isNeeded) return 0;
  if (port === 0) field.skip('must be a port, because externalTrafficPolicy is Local');
  return port;
}

/** Ports in order. What the API server refuses as a repetition is skipped. */
function readPorts(fields: readonly Field[]): readonly ServicePort[] {
  const seen = new Set<string>();
  const isFirst = (what: string): boolean => seen.size < seen.add(what).size;
  const ports: ServicePort[] = [];
  for (const field of fields) {
    const name = intern(field.at('name').label(''));
    const protocol = field.at('protocol').protocol();
    const port = field.at('port').integer(1, 65535);
    const nodePort = field.at('nodePort').integer(0, 65535, 0);
    if (!isFirst(`port ${port}/${protocol}`)) {
      field.at('port').skip(`must be the only ${protocol} port of its number`);
    } else if (!isFirst(`name ${name}/${protocol}`)) {
      field.at('name').skip(`must be the only ${protocol} port of its name`);
    } else if (nodePort !== 0 && !isFirst(`nodePort ${nodePort}/${protocol}`)) {
      field.at('nodePort').skip(`must be the only ${protocol} node port of its number`);
      ports.push({ name, protocol, port, nodePort: 0 });
    } else {
      ports.push({ name, protocol, port, nodePort });
    }
  }
  return ports;
}

/** Milliseconds since the epoch; Infinity when absent. */
function readTime(field: Field): number {
  if (field.text() === '') return Number.POSITIVE_INFINITY;
  const ms = Date.parse(field.text());
  if (Number.isNaN(ms)) field.fail('must be an RFC 3339 time');
  return ms;
}
