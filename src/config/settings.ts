// Settings: everything the daemon was told, validated once, frozen, and passed down. Nothing below reads flags or the environment.

import { isDeepEqual } from '../model/deep-equal.ts';
import { type Cidr, type Ip, parseCidr } from '../model/ip.ts';
import type { AllowedExternalIps } from '../vip/external-ips.ts';
import type { DetectLocal } from '../vip/local-pods.ts';
import type { NodePortAddresses } from '../vip/node-port-addresses.ts';
import { type EffectiveConfig, effectiveConfig } from './effective-config.ts';
import { type ConfigFile, fieldPaths } from './fields.ts';
import { type Flags, type FlagValues, type GivenFlag, parseFlags } from './flag.ts';
import {
  type IptablesBackendChoice,
  type IptablesDispatch,
  type LogFormat,
  type ProxyMode,
  SETTINGS_FLAGS,
} from './flags.ts';
import { FLAGS_WITHOUT_EFFECT } from './flags-without-effect.ts';
import { mergeGiven } from './given.ts';
import { nodeNameOf } from './node-name.ts';
import type { ListenAddress } from './parse.ts';

/** Where objects come from. A Kubernetes source with neither field uses the in-cluster configuration. */
export type SourceSettings =
  | { readonly kind: 'manifests'; readonly path: string }
  | {
      readonly kind: 'kubernetes';
      readonly kubeconfig?: string | undefined;
      readonly master?: string | undefined;
    };

/** Settings of connection tracking; 0 leaves what is there, as false does. */
export interface ConntrackSettings {
  readonly maxPerCore: number;
  /** Counts only with `maxPerCore`. */
  readonly min: number;
  readonly tcpEstablishedTimeoutMs: number;
  readonly tcpCloseWaitTimeoutMs: number;
  readonly isTcpLiberal: boolean;
  readonly udpTimeoutMs: number;
  readonly udpStreamTimeoutMs: number;
}

/** Files of the metrics server's TLS; PEM but for the tokens, one a line. */
export interface MetricsTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** Clients are known by certificates of this CA. */
  readonly clientCaFile: string | undefined;
  /** Clients are known by tokens. */
  readonly tokenFile: string | undefined;
}

export interface Settings {
  readonly source: SourceSettings;
  /** Where the last known objects are kept over restarts; undefined for nowhere. */
  readonly stateFolder: string | undefined;
  /** Trimmed, lower case, never empty. */
  readonly nodeName: string;
  readonly proxyMode: ProxyMode;
  /** Taken where the kernel cannot do `proxyMode`; undefined for none. */
  readonly fallbackMode: ProxyMode | undefined;
  readonly detectLocal: DetectLocal;
  readonly nodePortAddresses: NodePortAddresses;
  readonly allowedExternalIps: AllowedExternalIps;
  readonly iptables: {
    readonly backend: IptablesBackendChoice;
    readonly dispatch: IptablesDispatch;
    /** Node ports on 127.0.0.1. */
    readonly servesLocalhostNodePorts: boolean;
  };
  readonly ipvs: {
    /** Of Services that choose none: the kernel's name. */
    readonly scheduler: string;
    readonly isStrictArp: boolean;
    readonly excludedCidrs: readonly Cidr[];
    /** Seconds for which IPVS keeps what is idle; 0 leaves one as it is. */
    readonly timeouts: { readonly tcp: number; readonly tcpFin: number; readonly udp: number };
    /** The longest that connections to a removed endpoint are kept. */
    readonly drainTimeoutMs: number;
  };
  readonly userspace: {
    /** Where proxies listen, if this host has it; undefined for what the Node says. */
    readonly bindAddress: Ip | undefined;
    /** How long connections go on when the daemon stops. Always fits a timer. */
    readonly drainTimeoutMs: number;
  };
  /** In userspace mode: what a daemon that runs here has is taken over. */
  readonly takesOver: boolean;
  /** In userspace mode: what is open is left to the service manager. */
  readonly usesFdStore: boolean;
  /** Node ports on 127.0.0.1 and ::1, in the modes that have proxies for them. */
  readonly localhostNodePorts: boolean;
  /** In nftables mode, where the kernel can. */
  readonly ownsNftablesTable: boolean;
  /** 0 to 31. */
  readonly masqueradeBit: number;
  readonly masqueradeAll: boolean;
  /** Where the health server listens; undefined for nowhere. */
  readonly healthAddress: ListenAddress | undefined;
  readonly metricsAddress: ListenAddress | undefined;
  /** Undefined for plain HTTP. */
  readonly metricsTls: MetricsTls | undefined;
  /** The Service that is connected to as a test; undefined for none. */
  readonly probeAddress: ListenAddress | undefined;
  /** An address that cannot be had is an error. */
  readonly isBindHardFail: boolean;
  /** Profiles and the table are served on the metrics address. */
  readonly hasProfiling: boolean;
  /** Least time between two writes; 0 coalesces only. */
  readonly minSyncPeriodMs: number;
  /** Period of the drift check, above 0. Always fits a timer. */
  readonly syncPeriodMs: number;
  readonly conntrack: ConntrackSettings;
  /** -1000 to 1000. */
  readonly oomScoreAdj: number;
  /** How long a daemon that is there already may take to end. Always fits a timer. */
  readonly takeoverWaitMs: number;
  readonly logFormat: LogFormat;
  /** 0 info, 2 debug, 5 trace. */
  readonly verbosity: number;
}

/** Longest delay of a timer in milliseconds; beyond it Node fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SettingsResult {
  /** Undefined when there are errors. */
  readonly settings: Settings | undefined;
  /** What they were made from, with every default; undefined when there are errors. */
  readonly config: EffectiveConfig | undefined;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/** Every flag and field of the configuration. */
export const CONFIG_FLAGS: Flags = { ...SETTINGS_FLAGS, ...FLAGS_WITHOUT_EFFECT };

/**
 * Settings from the flags given and the configuration file, or every error; `hostname` is the node name where neither says
 * otherwise.
 */
export function buildSettings(
  given: readonly GivenFlag[],
  hostname: string,
  file?: ConfigFile,
): SettingsResult {
  const counting = mergeGiven(CONFIG_FLAGS, given, file, proxyModeOf(given, file));
  const { values, errors: flagErrors } = parseFlags(SETTINGS_FLAGS, counting);
  const errors = [
    ...(file?.errors ?? []),
    ...flagErrors,
    ...parseFlags(FLAGS_WITHOUT_EFFECT, counting).errors,
  ];
  const spelled = (name: string) => counting.findLast((flag) => flag.name === name)?.spelled ?? `--${name}`;
  if (values.source) {
    for (const name of ['kubeconfig', 'master'] as const) {
      if (values[name]) errors.push(`${spelled('source')}: cannot be combined with ${spelled(name)}`);
    }
  }
  const syncPeriodMs = values['iptables-sync-period'];
  const minSyncPeriodMs = values['iptables-min-sync-period'];
  if (minSyncPeriodMs > syncPeriodMs) {
    const [min, period] = [spelled('iptables-min-sync-period'), spelled('iptables-sync-period')];
    errors.push(`${min}: must not exceed ${period} (${syncPeriodMs} ms), got ${minSyncPeriodMs} ms`);
  }
  const nodeName = values['hostname-override'] || nodeNameOf(hostname);
  if (nodeName === '') errors.push('--hostname-override: must be given, because this host has no name');
  const detectLocalMode = values['detect-local-mode'];
  const needed = DETECT_LOCAL_FLAGS.find(({ mode, isNeeded }) => isNeeded && mode === detectLocalMode);
  // Undefined where what was given is refused already.
  if (needed !== undefined && values[needed.name]?.length === 0) {
    errors.push(`${spelled(needed.name)}: must be given with ${spelled('detect-local-mode')}=${needed.mode}`);
  }
  for (const [name, other] of METRICS_TLS_NEEDS) {
    if (values[name] && values[other] === '') errors.push(`${spelled(name)}: needs ${spelled(other)}`);
  }
  if (errors.length > 0) return { settings: undefined, config: undefined, errors, warnings: [] };

  const settings: Settings = {
    source: values.source
      ? { kind: 'manifests', path: values.source }
      : {
          kind: 'kubernetes',
          kubeconfig: values.kubeconfig || undefined,
          master: values.master || undefined,
        },
    // A folder of manifests is never away.
    stateFolder: values.source ? undefined : values['state-dir'] || undefined,
    nodeName,
    proxyMode: values['proxy-mode'].mode,
    fallbackMode: values['proxy-mode'].fallback,
    detectLocal: detectLocalOf(values),
    nodePortAddresses: nodePortAddressesOf(values),
    allowedExternalIps:
      values['feature-gates'].get('AllowServiceExternalIPs') === false ? [] : values['allow-external-ips'],
    iptables: {
      backend: values['iptables-backend'],
      dispatch: values['iptables-dispatch'],
      servesLocalhostNodePorts: values['iptables-localhost-nodeports'],
    },
    ipvs: {
      scheduler: values['ipvs-scheduler'],
      isStrictArp: values['ipvs-strict-arp'],
      excludedCidrs: values['ipvs-exclude-cidrs'],
      timeouts: {
        tcp: wholeSeconds(values['ipvs-tcp-timeout']),
        tcpFin: wholeSeconds(values['ipvs-tcpfin-timeout']),
        udp: wholeSeconds(values['ipvs-udp-timeout']),
      },
      drainTimeoutMs: values['ipvs-drain-timeout'],
    },
    userspace: {
      bindAddress: values['bind-address'],
      drainTimeoutMs: Math.min(values['userspace-drain-timeout'], MAX_TIMER_MS),
    },
    takesOver: values['takeover'],
    usesFdStore: values['fd-store'],
    localhostNodePorts: values['localhost-nodeports'],
    ownsNftablesTable: values['nftables-own-table'],
    masqueradeBit: values['iptables-masquerade-bit'],
    masqueradeAll: values['masquerade-all'],
    healthAddress: values['healthz-bind-address'],
    metricsAddress: values['metrics-bind-address'],
    metricsTls: metricsTlsOf(values),
    probeAddress: values['probe-vip'],
    isBindHardFail: values['bind-address-hard-fail'],
    hasProfiling: values.profiling,
    minSyncPeriodMs: Math.min(minSyncPeriodMs, MAX_TIMER_MS),
    syncPeriodMs: Math.min(syncPeriodMs, MAX_TIMER_MS),
    conntrack: {
      maxPerCore: values['conntrack-max-per-core'],
      min: values['conntrack-min'],
      tcpEstablishedTimeoutMs: values['conntrack-tcp-timeout-established'],
      tcpCloseWaitTimeoutMs: values['conntrack-tcp-timeout-close-wait'],
      isTcpLiberal: values['conntrack-tcp-be-liberal'],
      udpTimeoutMs: values['conntrack-udp-timeout'],
      udpStreamTimeoutMs: values['conntrack-udp-timeout-stream'],
    },
    oomScoreAdj: values['oom-score-adj'],
    takeoverWaitMs: Math.min(values['takeover-wait'], MAX_TIMER_MS),
    logFormat: values['logging-format'],
    verbosity: values.v,
  };
  const warnings = DETECT_LOCAL_FLAGS.filter(
    ({ name, mode }) => values[name].length > 0 && mode !== detectLocalMode,
  ).map(
    ({ name }) => `${spelled(name)} has no effect with ${spelled('detect-local-mode')}=${detectLocalMode}`,
  );
  if (values.source && values['state-dir'])
    warnings.push(`${spelled('state-dir')} has no effect with ${spelled('source')}`);
  if (settings.localhostNodePorts && !LOCALHOST_MODES.includes(settings.proxyMode)) {
    const mode = `${spelled('proxy-mode')}=${settings.proxyMode}`;
    warnings.push(`${spelled('localhost-nodeports')} has no effect with ${mode}`);
  }
  const idle = withoutEffect(given, file);
  if (idle.length > 0) warnings.push(`without effect here: ${idle.join(', ')} (kproxy-ts --help says why)`);
  const config = effectiveConfig(CONFIG_FLAGS, given, file);
  return { settings: deepFreeze(settings), config: deepFreeze(config), errors, warnings };
}

const LOCALHOST_MODES: readonly ProxyMode[] = ['nftables', 'userspace'];

/** The mode that fields are chosen by; the default where what is given is refused anyway. */
function proxyModeOf(given: readonly GivenFlag[], file: ConfigFile | undefined): ProxyMode {
  const flags = { 'proxy-mode': SETTINGS_FLAGS['proxy-mode'] };
  const texts = file?.fields.get(flags['proxy-mode'].field) ?? [];
  const ofFile = texts.map((text) => ({ name: 'proxy-mode', spelled: 'mode', text }));
  return parseFlags(flags, [...ofFile, ...given]).values['proxy-mode']?.mode ?? 'nftables';
}

/** Flags and fields that are given, and to no purpose; a file's that say the default are not worth a word. */
function withoutEffect(given: readonly GivenFlag[], file: ConfigFile | undefined): string[] {
  return Object.entries(FLAGS_WITHOUT_EFFECT).flatMap(([name, { field, type, default: byDefault }]) => {
    const ofFlags = given.filter((flag) => flag.name === name).map(({ spelled }) => spelled);
    const ofFile = fieldPaths(field).filter((path) => {
      const texts = file?.fields.get(path);
      return texts !== undefined && !isDeepEqual(type.parse(texts), type.parse([byDefault]));
    });
    return [...new Set([...ofFlags, ...ofFile])];
  });
}

/** What is not 0 stays so. */
function wholeSeconds(ms: number): number {
  return Math.ceil(ms / 1000);
}

/** What each mode of local detection goes by. A cluster CIDR may be left out: then no client counts as a local pod. */
const DETECT_LOCAL_FLAGS = [
  { name: 'cluster-cidr', mode: 'ClusterCIDR', isNeeded: false },
  { name: 'pod-bridge-interface', mode: 'BridgeInterface', isNeeded: true },
  { name: 'pod-interface-name-prefix', mode: 'InterfaceNamePrefix', isNeeded: true },
] as const;

/** A token is not for a wire that others read. */
const METRICS_TLS_NEEDS = [
  ['metrics-tls-cert-file', 'metrics-tls-private-key-file'],
  ['metrics-tls-private-key-file', 'metrics-tls-cert-file'],
  ['metrics-client-ca-file', 'metrics-tls-cert-file'],
  ['metrics-token-file', 'metrics-tls-cert-file'],
] as const;

function metricsTlsOf(values: FlagValues<typeof SETTINGS_FLAGS>): MetricsTls | undefined {
  const certFile = values['metrics-tls-cert-file'];
  if (certFile === '') return undefined;
  return {
    certFile,
    keyFile: values['metrics-tls-private-key-file'],
    clientCaFile: values['metrics-client-ca-file'] || undefined,
    tokenFile: values['metrics-token-file'] || undefined,
  };
}

/** Every local address, as kube-proxy has it in iptables and ipvs mode unless told otherwise. */
const EVERYWHERE: NodePortAddresses = {
  kind: 'cidrs',
  cidrs: [parseCidr('0.0.0.0/0')!, parseCidr('::/0')!],
};

function nodePortAddressesOf(values: FlagValues<typeof SETTINGS_FLAGS>): NodePortAddresses {
  const setting = values['nodeport-addresses'];
  if (setting === undefined && values['proxy-mode'].mode !== 'nftables') return EVERYWHERE;
  if (setting?.kind === 'cidrs') return setting;
  return { kind: 'primary', bindAddress: values['bind-address'] };
}

function detectLocalOf(values: FlagValues<typeof SETTINGS_FLAGS>): DetectLocal {
  const kind = values['detect-local-mode'];
  switch (kind) {
    case 'ClusterCIDR':
      return { kind, cidrs: values['cluster-cidr'] };
    case 'NodeCIDR':
      return { kind };
    case 'BridgeInterface':
      return { kind, name: values['pod-bridge-interface'] };
    case 'InterfaceNamePrefix':
      return { kind, prefix: values['pod-interface-name-prefix'] };
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
