// What a change of settings takes while the daemon runs. Pure.

import type { Settings } from '../config/settings.ts';
import { isDeepEqual } from '../model/deep-equal.ts';

/**
 * `rules`: the way from the store to the kernel is made anew over the same tables, which costs one comparison with the kernel and
 * writes what differs; `servers`: an address is moved; `probe`, `host`, `log`: at once; `start`: matters when the daemon starts only;
 * `restart`: cannot be done in this process.
 */
export type ReloadPart = 'rules' | 'servers' | 'probe' | 'host' | 'log' | 'start' | 'restart';

const PART_OF: Readonly<Record<keyof Settings, ReloadPart>> = {
  // Another source has another store, which everything else has been told of.
  source: 'restart',
  stateFolder: 'restart',
  nodeName: 'restart',
  proxyMode: 'rules',
  fallbackMode: 'start',
  detectLocal: 'rules',
  nodePortAddresses: 'rules',
  allowedExternalIps: 'rules',
  iptables: 'rules',
  ipvs: 'rules',
  userspace: 'rules',
  localhostNodePorts: 'rules',
  ownsNftablesTable: 'rules',
  masqueradeBit: 'rules',
  masqueradeAll: 'rules',
  minSyncPeriodMs: 'rules',
  syncPeriodMs: 'rules',
  healthAddress: 'servers',
  metricsAddress: 'servers',
  metricsTls: 'servers',
  isBindHardFail: 'servers',
  probeAddress: 'probe',
  hasProfiling: 'servers',
  logFormat: 'log',
  verbosity: 'log',
  conntrack: 'host',
  oomScoreAdj: 'host',
  takeoverWaitMs: 'start',
  takesOver: 'start',
  usesFdStore: 'start',
};

export interface ReloadPlan {
  /** Names of what differs. */
  readonly changed: readonly (keyof Settings)[];
  readonly parts: ReadonlySet<ReloadPart>;
  /** Names, for humans, of what differs and cannot be applied. */
  readonly obstacles: readonly string[];
}

export function planReload(from: Settings, to: Settings): ReloadPlan {
  const names = Object.keys(PART_OF) as (keyof Settings)[];
  const changed = names.filter((name) => !isDeepEqual(from[name], to[name]));
  return {
    changed,
    parts: new Set(changed.map((name) => PART_OF[name])),
    obstacles: [
      ...changed.filter((name) => PART_OF[name] === 'restart').map((name) => OBSTACLES[name] ?? name),
      // Proxies go on with their clients as they were made.
      ...changed
        .filter((name) => OF_PROXIES.has(name) && isUserspace(from) && isUserspace(to))
        .map((name) => OBSTACLES[name] ?? name),
      // Whose tables those of the former one are is not known afterwards.
      ...(from.iptables.backend === to.iptables.backend ? [] : ['kproxyTs.iptablesBackend']),
    ],
  };
}

const OF_PROXIES: ReadonlySet<keyof Settings> = new Set(['masqueradeBit', 'localhostNodePorts']);

function isUserspace({ proxyMode }: Settings): boolean {
  return proxyMode === 'userspace';
}

const OBSTACLES: Readonly<Partial<Record<keyof Settings, string>>> = {
  source: 'the source of objects (clientConnection.kubeconfig, kproxyTs.master, kproxyTs.source)',
  stateFolder: '--state-dir',
  nodeName: 'hostnameOverride',
  masqueradeBit: 'iptables.masqueradeBit',
  localhostNodePorts: 'kproxyTs.localhostNodePorts',
};
