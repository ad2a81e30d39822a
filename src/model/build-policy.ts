// Annotations of a Service → ServicePolicy: docs/annotations.md. They can hold anything, so that one which cannot be read
// is told and has its default; the Service is served all the same.

import { isDeepEqual } from './deep-equal.ts';
import { parseGoDuration } from './duration.ts';
import { describeValue, type Field } from './fields.ts';
import { parseIp } from './ip.ts';
import {
  DEFAULT_POLICY,
  type EndpointWeights,
  MAX_WEIGHT,
  PROXY_PROTOCOLS,
  type RemovedTcpPolicy,
  SCHEDULER_FLAGS,
  SCHEDULERS,
  type SchedulerFlag,
  type ServicePolicy,
} from './service-policy.ts';

const PREFIX = 'kproxy-ts.io/';

/** Longer values are not read: Kubernetes bounds all annotations of an object together at 256 KiB, a manifest nothing. */
const MAX_LENGTH = 65_536;
const MAX_WEIGHT_ENTRIES = 1000;
/** Between the end of an endpoint and the end of its connections. Longer is more likely a mistake than a wish. */
const MAX_GRACE_MS = 24 * 3_600_000;

/** More than a process can have: a larger number is a mistake. */
const MAX_CONNECTIONS = 1_000_000;

/** Names of nodes, and values of the zone label. */
const NAME = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?$/;

/** What a value asks for, or the rule that it breaks. */
type Read = (text: string) => Partial<ServicePolicy> | string;

interface Annotation {
  readonly read: Read;
  /** What holds when it cannot be read. */
  readonly fallback: string;
}

const ANNOTATIONS: ReadonlyMap<string, Annotation> = new Map([
  ['scheduler', { read: readScheduler, fallback: 'random is used' }],
  ['scheduler-flags', { read: readSchedulerFlags, fallback: 'none is used' }],
  ['direct-routing', { read: readDirectRouting, fallback: 'answers come through this node' }],
  ['weights', { read: readWeights, fallback: 'all endpoints weigh the same' }],
  ['removed-endpoint-tcp', { read: readRemovedTcp, fallback: 'connections are kept' }],
  ['max-connections', { read: readMaxConnections, fallback: 'there is no limit' }],
  ['proxy-protocol', { read: readProxyProtocol, fallback: 'none is used' }],
]);

/** Reads `metadata.annotations`. */
export function readPolicy(annotations: Field): ServicePolicy {
  let policy = DEFAULT_POLICY;
  for (const key of annotations.keys()) {
    if (!key.startsWith(PREFIX)) continue;
    const field = annotations.at(key);
    const annotation = ANNOTATIONS.get(key.slice(PREFIX.length));
    if (annotation === undefined) {
      const known = [...ANNOTATIONS.keys()].map((name) => `${PREFIX}${name}`).join(', ');
      field.warn('UNKNOWN_ANNOTATION', `is not known (known are ${known})`, 'ignored');
      continue;
    }
    const { value } = field;
    const asked =
      typeof value !== 'string'
        ? 'must be a string'
        : value.length > MAX_LENGTH
          ? `must not be longer than ${MAX_LENGTH} characters`
          : annotation.read(value.trim());
    if (typeof asked === 'string') field.warn('INVALID_ANNOTATION', asked, annotation.fallback);
    else policy = { ...policy, ...asked };
  }
  return isDeepEqual(policy, DEFAULT_POLICY) ? DEFAULT_POLICY : policy;
}

function readScheduler(text: string): Partial<ServicePolicy> | string {
  const scheduler = SCHEDULERS.find((one) => one === text);
  return scheduler === undefined ? `must be one of ${SCHEDULERS.join(', ')}` : { scheduler };
}

/** `mh-port,mh-fallback` */
function readSchedulerFlags(text: string): Partial<ServicePolicy> | string {
  const schedulerFlags: SchedulerFlag[] = [];
  for (const entry of text.split(',')) {
    const flag = SCHEDULER_FLAGS.find((one) => one === entry.trim());
    if (flag === undefined || schedulerFlags.includes(flag)) {
      return `must be some of ${SCHEDULER_FLAGS.join(', ')}, each once and separated by commas`;
    }
    schedulerFlags.push(flag);
  }
  return { schedulerFlags };
}

function readDirectRouting(text: string): Partial<ServicePolicy> | string {
  return text === 'tunnel' || text === 'none' ? { isDirect: text === 'tunnel' } : 'must be tunnel or none';
}

/** `reset-after=30s` */
function readRemovedTcp(text: string): { removedTcp: RemovedTcpPolicy } | string {
  if (text === 'keep') return { removedTcp: { kind: 'keep' } };
  const [, duration] = /^reset-after=(.{1,40})$/.exec(text) ?? [];
  const ms = duration === undefined ? 'malformed' : parseGoDuration(duration);
  if (typeof ms !== 'number' || ms < 0 || ms > MAX_GRACE_MS)
    return 'must be keep, or reset-after= and a duration from 0s to 24h such as 30s';
  return { removedTcp: { kind: 'reset', graceMs: Math.ceil(ms) } };
}

function readMaxConnections(text: string): Partial<ServicePolicy> | string {
  const maxConnections = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  return maxConnections >= 1 && maxConnections <= MAX_CONNECTIONS
    ? { maxConnections }
    : `must be a number from 1 to ${MAX_CONNECTIONS}`;
}

function readProxyProtocol(text: string): Partial<ServicePolicy> | string {
  const proxyProtocol = PROXY_PROTOCOLS.find((one) => one === text);
  return proxyProtocol === undefined ? `must be one of ${PROXY_PROTOCOLS.join(', ')}` : { proxyProtocol };
}

/** `10.1.0.7=0,node/node-3=50,zone/zone-a=20,default=10`: all of it, or nothing. */
function readWeights(text: string): { weights: EndpointWeights | undefined } | string {
  const entries = text.split(',');
  if (entries.length > MAX_WEIGHT_ENTRIES) return `must not have more than ${MAX_WEIGHT_ENTRIES} entries`;
  const weights = new Map<string, number>();
  for (const entry of entries) {
    const [, name, digits] = /^([^=]*)=\s*(\d{1,3})$/.exec(entry.trim()) ?? [];
    const key = name === undefined ? undefined : weightKey(name.trim());
    const weight = Number(digits);
    if (key === undefined || weight > MAX_WEIGHT) {
      return `entry ${describeValue(entry)} must be an endpoint's address, node/NAME, zone/NAME or default, then = and a weight from 0 to ${MAX_WEIGHT}`;
    }
    if (weights.has(key)) return `entry ${describeValue(entry)} must be the only one of its kind`;
    weights.set(key, weight);
  }
  const byKind = (kind: string): Record<string, number> =>
    Object.fromEntries(
      [...weights].flatMap(([key, weight]) =>
        key.startsWith(`${kind}/`) ? [[key.slice(kind.length + 1), weight]] : [],
      ),
    );
  const fallback = weights.get('default');
  if (fallback !== undefined && fallback > 0 && weights.size === 1) return { weights: undefined };
  return {
    weights: {
      byAddress: byKind('address'),
      byNode: byKind('node'),
      byZone: byKind('zone'),
      default: fallback ?? 1,
    },
  };
}

/** `address/10.1.0.7`, `node/node-3`, `zone/zone-a` or `default`; undefined for anything else. */
function weightKey(name: string): string | undefined {
  if (name === 'default') return name;
  const ip = parseIp(name);
  if (ip !== undefined) return `address/${ip}`;
  const [, kind, rest = ''] = /^(node|zone)\/(.*)$/.exec(name) ?? [];
  return kind !== undefined && NAME.test(rest) ? `${kind}/${rest}` : undefined;
}
