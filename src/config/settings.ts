// Settings: everything the daemon was told, validated once, frozen, and passed down. Nothing below reads flags or the environment.

import type { DetectLocal } from '../vip/local-pods.ts';
import type { NodePortAddresses } from '../vip/node-port-addresses.ts';
import { type GivenFlag, parseFlags } from './flag.ts';
import { type LogFormat, type ProxyMode, SETTINGS_FLAGS } from './flags.ts';

/** Where objects come from. A Kubernetes source with neither field uses the in-cluster configuration. */
export type SourceSettings =
  | { readonly kind: 'manifests'; readonly path: string }
  | {
      readonly kind: 'kubernetes';
      readonly kubeconfig?: string | undefined;
      readonly master?: string | undefined;
    };

export interface Settings {
  readonly source: SourceSettings;
  /** Trimmed, lower case, never empty. */
  readonly nodeName: string;
  readonly proxyMode: ProxyMode;
  readonly detectLocal: DetectLocal;
  readonly nodePortAddresses: NodePortAddresses;
  /** 0 to 31. */
  readonly masqueradeBit: number;
  readonly masqueradeAll: boolean;
  /** Least time between two writes; 0 coalesces only. */
  readonly minSyncPeriodMs: number;
  /** Period of the drift check, above 0. Always fits a timer. */
  readonly syncPeriodMs: number;
  readonly logFormat: LogFormat;
  /** 0 info, 2 debug, 5 trace. */
  readonly verbosity: number;
}

/** Longest delay of a timer in milliseconds; beyond it Node fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SettingsResult {
  /** Undefined when there are errors. */
  readonly settings: Settings | undefined;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/** Settings from the flags given, or every error; `hostname` is the node name where no flag says otherwise. */
export function buildSettings(given: readonly GivenFlag[], hostname: string): SettingsResult {
  const { values, errors } = parseFlags(SETTINGS_FLAGS, given);
  const spelled = (name: string) => given.findLast((flag) => flag.name === name)?.spelled ?? `--${name}`;
  if (values.source) {
    for (const name of ['kubeconfig', 'master'] as const) {
      if (values[name]) errors.push(`--source: cannot be combined with --${name}`);
    }
  }
  const syncPeriodMs = values['iptables-sync-period'];
  const minSyncPeriodMs = values['iptables-min-sync-period'];
  if (minSyncPeriodMs > syncPeriodMs) {
    const [min, period] = [spelled('iptables-min-sync-period'), spelled('iptables-sync-period')];
    errors.push(`${min}: must not exceed ${period} (${syncPeriodMs} ms), got ${minSyncPeriodMs} ms`);
  }
  const nodeName = values['hostname-override'] || hostname.trim().toLowerCase();
  if (nodeName === '') errors.push('--hostname-override: must be given, because this host has no name');
  if (errors.length > 0) return { settings: undefined, errors, warnings: [] };

  const settings: Settings = {
    source: values.source
      ? { kind: 'manifests', path: values.source }
      : {
          kind: 'kubernetes',
          kubeconfig: values.kubeconfig || undefined,
          master: values.master || undefined,
        },
    nodeName,
    proxyMode: values['proxy-mode'],
    detectLocal: { kind: 'ClusterCIDR', cidrs: values['cluster-cidr'] },
    nodePortAddresses: values['nodeport-addresses'],
    masqueradeBit: values['iptables-masquerade-bit'],
    masqueradeAll: values['masquerade-all'],
    minSyncPeriodMs: Math.min(minSyncPeriodMs, MAX_TIMER_MS),
    syncPeriodMs: Math.min(syncPeriodMs, MAX_TIMER_MS),
    logFormat: values['logging-format'],
    verbosity: values.v,
  };
  const warnings = given.some((flag) => flag.name === 'config-sync-period')
    ? ['--config-sync-period has no effect: nothing here needs a periodic resync of objects']
    : [];
  return { settings: deepFreeze(settings), errors, warnings };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
