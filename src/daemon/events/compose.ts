// What is told in Events, and how it is put. Reasons and actions of what kube-proxy tells, too, are kube-proxy's.

import type { Problem } from '../../model/types.ts';
import type { NodeEvent, RelatedObject } from '../../source/node-event.ts';

/** The action of all that goes wrong with rules. */
const SYNC = 'SyncProxyRules';

export function starting(version: string, mode: string): NodeEvent {
  return normal('Starting', 'StartKubeProxy', `kproxy-ts v${version} is starting in ${mode} mode`);
}

/** Something odd about an object, a conflict between two, a refusal: the reason is the code of the problem. */
export function oddity({ subject, code, reason }: Problem): NodeEvent {
  return warning(upperCamelCase(code), SYNC, `${subject}: ${reason}`, relatedObject(subject));
}

/** Without figures: the same text each time makes it a series. */
export function repaired(mode: string): NodeEvent {
  return warning(
    'RulesRepaired',
    SYNC,
    `somebody else had changed rules of kproxy-ts (${mode} mode); they have been repaired`,
  );
}

/** Nothing, or not all, is in force, for a reason that concerns more than single Services. */
export function notInForce(reason: string): NodeEvent {
  return warning('RulesNotInForce', SYNC, `rules are not up to date: ${reason}`);
}

/** A changed configuration that cannot be used; the one before it stays. `reason` says what is wrong with it. */
export function configurationRefused(reason: string): NodeEvent {
  return warning(
    'ConfigurationRefused',
    'ReloadConfiguration',
    `the new configuration is refused, the old one stays: ${reason}`,
  );
}

/** In place of Events beyond the limit that differ only in what they are about. */
export function moreLike({ type, reason, action }: NodeEvent): NodeEvent {
  const note = `more of these than Events are written for; the log of kproxy-ts has all of them`;
  return { type, reason, action, note, related: undefined };
}

function normal(reason: string, action: string, note: string): NodeEvent {
  return { type: 'Normal', reason, action, note, related: undefined };
}

function warning(reason: string, action: string, note: string, related?: RelatedObject): NodeEvent {
  return { type: 'Warning', reason, action, note, related };
}

/** `VIP_CONFLICT` → `VipConflict` */
function upperCamelCase(code: string): string {
  return code
    .split('_')
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join('');
}

const API_VERSIONS: Readonly<Record<string, string>> = {
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  Node: 'v1',
  ServiceCIDR: 'networking.k8s.io/v1',
};

/** The object that a problem's subject names (`Service default/web`); undefined for what is none, such as a file. */
function relatedObject(subject: string): RelatedObject | undefined {
  const [, kind = '', namespace = '', name = ''] =
    /^([A-Za-z]+) (?:([^/ ]+)\/)?([^/ ]+)$/.exec(subject) ?? [];
  const apiVersion = Object.hasOwn(API_VERSIONS, kind) ? API_VERSIONS[kind] : undefined;
  return apiVersion === undefined ? undefined : { apiVersion, kind, namespace, name };
}
