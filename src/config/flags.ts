// Every flag that decides how the daemon works: one declaration each, from which options, help and parsing come.
// Names and meanings are those of kube-proxy 1.36 (cmd/kube-proxy/app/options.go) unless `kubeProxy` says otherwise.

import { ConfigError } from '../errors.ts';
import { type Ip, parseIp } from '../model/ip.ts';
import type { AllowedExternalIps } from '../vip/external-ips.ts';
import type { DetectLocal } from '../vip/local-pods.ts';
import type { NodePortAddresses } from '../vip/node-port-addresses.ts';
import { featureGates } from './feature-gates.ts';
import { BOOLEAN, STRING, STRINGS } from './field-form.ts';
import { type Flags, type FlagType, scalar } from './flag.ts';
import { boolean, cidrs, integer, nonNegativeDuration, positiveDuration, text } from './flag-types.ts';
import { HOST_FLAGS } from './host-flags.ts';
import {
  type ListenAddress,
  parseBoolean,
  parseCidrs,
  parseEnum,
  parseHostname,
  parseInteger,
  parseInterfaceName,
  parseList,
  parseListenAddress,
} from './parse.ts';
import { quote } from './printable.ts';

/** How traffic is steered. */
export type ProxyMode = 'nftables' | 'iptables' | 'ipvs' | 'userspace';
export const PROXY_MODES: readonly ProxyMode[] = ['nftables', 'iptables', 'ipvs', 'userspace'];

export const IPTABLES_BACKENDS = ['auto', 'nft', 'legacy'] as const;
export type IptablesBackendChoice = (typeof IPTABLES_BACKENDS)[number];

export const IPTABLES_DISPATCHES = ['tree', 'flat'] as const;
export type IptablesDispatch = (typeof IPTABLES_DISPATCHES)[number];

export type DetectLocalMode = DetectLocal['kind'];
export const DETECT_LOCAL_MODES: readonly DetectLocalMode[] = [
  'ClusterCIDR',
  'NodeCIDR',
  'BridgeInterface',
  'InterfaceNamePrefix',
];

export const LOG_FORMATS = ['auto', 'text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

const IPVS_ELSE_NFTABLES = 'ipvs,nftables';

const proxyMode = scalar('mode', (value): { mode: ProxyMode; fallback: ProxyMode | undefined } => {
  if (value === IPVS_ELSE_NFTABLES) return { mode: 'ipvs', fallback: 'nftables' };
  const mode = value === '' ? 'nftables' : PROXY_MODES.find((one) => one === value);
  if (mode !== undefined) return { mode, fallback: undefined };
  const known = `${PROXY_MODES.slice(0, -1).join(', ')} or ${PROXY_MODES.at(-1)}`;
  throw new ConfigError(`must be ${known}, or ${IPVS_ELSE_NFTABLES}, got ${quote(value)}`);
});

const clusterCidrs = scalar('cidrs', (value) => {
  const cidrs = parseCidrs(parseList([value]));
  if (cidrs.length > 2 || (cidrs.length === 2 && cidrs[0]!.family === cidrs[1]!.family)) {
    throw new ConfigError(`must be one CIDR, or one IPv4 and one IPv6 CIDR, got ${quote(value)}`);
  }
  return cidrs;
});

/** Undefined for what is usual in the mode. */
const nodePortAddresses: FlagType<NodePortAddresses | undefined> = {
  hint: 'cidrs',
  form: STRINGS,
  parse: (texts) => {
    const items = parseList(texts);
    if (!items.includes('primary')) {
      return items.length === 0 ? undefined : { kind: 'cidrs', cidrs: parseCidrs(items) };
    }
    if (items.length > 1) {
      throw new ConfigError(`primary must stand alone, got ${quote(items.join(','))}`);
    }
    return { kind: 'primary' };
  },
};

const allowedExternalIps: FlagType<AllowedExternalIps> = {
  hint: 'cidrs',
  form: {
    kind: 'true, false or a list of CIDRs',
    read: (value) => BOOLEAN.read(value) ?? STRINGS.read(value),
    write: (texts) => (/^[a-z01]*$/i.test(texts.at(-1)!) ? BOOLEAN : STRINGS).write(texts),
  },
  parse: (texts) => {
    const items = parseList(texts);
    const [item] = items;
    if (items.length === 1 && /^[a-z01]*$/i.test(item!)) return parseBoolean(item!) ? undefined : [];
    if (items.length === 0) throw new ConfigError('must be true, false or CIDRs, got ""');
    return parseCidrs(items);
  },
};

/** IP_VS_SCHEDNAME_MAXLEN, linux/ip_vs.h: whether the kernel has it, the kernel knows. */
const kernelScheduler = scalar('scheduler', (value) => {
  if (value === '') return 'rr';
  if (!/^[a-z0-9_-]{1,15}$/.test(value)) {
    throw new ConfigError(`must be a scheduler of IPVS such as rr or wlc, got ${quote(value)}`);
  }
  return value;
});

const listenAddress = (defaultPort: number): FlagType<ListenAddress | undefined> => ({
  ...scalar('address', (value) => (value === 'none' ? undefined : parseListenAddress(value, defaultPort))),
  // An empty field is not given, as in kube-proxy's; so there is a word for nowhere.
  form: { ...STRING, write: (texts) => texts.at(-1) || 'none' },
});

const optionalPort = scalar('port', (value) => (value === '' ? undefined : parseInteger(value, 0, 65535)));

/** Undefined for an unspecified one: then the Node's own count. */
const bindAddress = scalar('ip', (value): Ip | undefined => {
  const ip = parseIp(value);
  if (ip === undefined) throw new ConfigError(`must be an IP address, got ${quote(value)}`);
  return ip === '0.0.0.0' || ip === '::' ? undefined : ip;
});

/** Flags of every command that logs. */
export const LOG_FLAGS = {
  'logging-format': {
    type: {
      ...scalar('format', (value) => parseEnum(value, LOG_FORMATS)),
      // kube-proxy knows no auto; its default, an empty field, is ours.
      form: { ...STRING, write: (texts) => (texts.at(-1) === 'auto' ? '' : texts.at(-1)) },
    },
    default: 'auto',
    field: 'logging.format',
    group: 'Logging:',
    help: 'text, json, or auto: text on a terminal, JSON lines otherwise',
    kubeProxy: 'defaults to text',
  },
  v: {
    type: integer('N', 0),
    default: '0',
    field: 'logging.verbosity',
    short: 'v',
    group: 'Logging:',
    help: 'verbosity: 0 to 1 info, 2 to 4 debug, 5 and above trace; from 4 on errors come with a stack trace',
    kubeProxy: 'same',
  },
} satisfies Flags;

/** Flags that make up Settings. */
export const SETTINGS_FLAGS = {
  source: {
    type: text('path'),
    default: '',
    field: 'kproxyTs.source',
    group: 'Where Services come from:',
    help: 'folder or file of manifests (YAML or JSON), watched, in place of an API server',
    kubeProxy: 'no such flag',
  },
  kubeconfig: {
    type: text('file'),
    default: '',
    field: 'clientConnection.kubeconfig',
    group: 'Where Services come from:',
    help: 'kubeconfig file; without it and without --master, the configuration of the pod this runs in',
    kubeProxy: 'same',
  },
  master: {
    type: text('url'),
    default: '',
    field: 'kproxyTs.master',
    group: 'Where Services come from:',
    help: 'address of the API server; overrides the one in the kubeconfig',
    kubeProxy: 'same',
  },
  'state-dir': {
    type: text('folder'),
    default: '',
    group: 'Where Services come from:',
    help: 'where the last known objects are kept, for a start while the API server is away; without it nothing is kept',
    kubeProxy: 'no such flag',
  },
  'hostname-override': {
    type: scalar('name', parseHostname),
    default: '',
    field: 'hostnameOverride',
    group: 'Node:',
    help: 'name of this Node; by default the host name',
    kubeProxy: 'same',
  },
  'detect-local-mode': {
    type: scalar(
      'mode',
      (value): DetectLocalMode => (value === '' ? 'ClusterCIDR' : parseEnum(value, DETECT_LOCAL_MODES)),
    ),
    default: 'ClusterCIDR',
    field: 'detectLocalMode',
    group: 'Node:',
    help: "how pods of this node are told from other clients, whose cluster-IP traffic is masqueraded: ClusterCIDR, NodeCIDR (the Node's podCIDRs), BridgeInterface or InterfaceNamePrefix",
    kubeProxy: 'restarts when podCIDRs change',
  },
  'cluster-cidr': {
    type: clusterCidrs,
    default: '',
    field: 'clusterCIDR',
    group: 'Node:',
    help: 'with ClusterCIDR, pod addresses: one CIDR, or an IPv4 and an IPv6 one separated by a comma',
    kubeProxy: 'same',
  },
  'pod-bridge-interface': {
    type: scalar('name', parseInterfaceName),
    default: '',
    field: 'detectLocal.bridgeInterface',
    group: 'Node:',
    help: 'with BridgeInterface, the bridge that pods of this node are attached to',
    kubeProxy: 'same',
  },
  'pod-interface-name-prefix': {
    type: scalar('prefix', parseInterfaceName),
    default: '',
    field: 'detectLocal.interfaceNamePrefix',
    group: 'Node:',
    help: 'with InterfaceNamePrefix, how the names of interfaces of pods of this node begin',
    kubeProxy: 'same',
  },
  'bind-address': {
    type: bindAddress,
    default: '0.0.0.0',
    field: 'bindAddress',
    group: 'Node:',
    help: "stands for the Node's own address of its family; only proxies of userspace mode are bound to it. An IPv6 one moves the servers' default addresses to [::] and [::1]",
    kubeProxy: 'same',
  },
  'nodeport-addresses': {
    type: nodePortAddresses,
    default: '',
    field: 'nodePortAddresses',
    group: 'Node:',
    help: "local addresses that accept node ports: CIDRs (repeatable, comma separated), or primary for the Node's own; by default primary in nftables mode, elsewhere every local address",
    kubeProxy: 'same',
  },
  'allow-external-ips': {
    type: allowedExternalIps,
    default: 'true',
    field: 'kproxyTs.allowExternalIPs',
    group: 'Rules:',
    help: 'external IPs of Services that are served: true for all, false for none, or those within CIDRs (repeatable, comma separated)',
    kubeProxy: 'feature gate AllowServiceExternalIPs, without CIDRs',
  },
  'feature-gates': {
    type: featureGates,
    default: '',
    field: 'featureGates',
    group: 'Rules:',
    help: 'gates of Kubernetes, such as AllowServiceExternalIPs=false (repeatable, comma separated); those that nothing here depends on are accepted',
    kubeProxy: 'same',
  },
  'proxy-mode': {
    type: proxyMode,
    default: 'nftables',
    field: 'mode',
    group: 'Rules:',
    help: `how traffic is steered: ${PROXY_MODES.join(', ')}; ${IPVS_ELSE_NFTABLES} is nftables where the kernel lacks what ipvs mode needs`,
    kubeProxy: 'defaults to iptables; never falls back',
  },
  'iptables-masquerade-bit': {
    type: integer('bit', 0, 31),
    default: '14',
    field: {
      iptables: 'iptables.masqueradeBit',
      nftables: 'nftables.masqueradeBit',
      ipvs: 'iptables.masqueradeBit',
      userspace: 'iptables.masqueradeBit',
    },
    aliases: ['masquerade-bit'],
    group: 'Rules:',
    help: 'bit of the packet mark that means "masquerade", 0 to 31, in every mode; in userspace mode what proxies send has it, too',
    kubeProxy: 'ignored in nftables mode',
  },
  'iptables-backend': {
    type: scalar('backend', (value) => parseEnum(value, IPTABLES_BACKENDS)),
    default: 'auto',
    field: 'kproxyTs.iptablesBackend',
    group: 'Rules:',
    help: 'where iptables mode writes: nft (nf_tables, through netlink), legacy (through iptables-legacy-restore), or auto: what the node uses',
    kubeProxy: 'no such flag; its image finds out',
  },
  'iptables-dispatch': {
    type: scalar('form', (value) => parseEnum(value, IPTABLES_DISPATCHES)),
    default: 'tree',
    field: 'kproxyTs.iptablesDispatch',
    group: 'Rules:',
    help: 'how iptables mode finds the chain of a Service: tree, a few rules whatever the number of Services, or flat, rule by rule in KUBE-SERVICES',
    kubeProxy: 'always flat',
  },
  'iptables-localhost-nodeports': {
    type: boolean,
    default: 'true',
    field: 'iptables.localhostNodePorts',
    group: 'Rules:',
    help: 'serve node ports on 127.0.0.1 in iptables mode, where --nodeport-addresses allows it',
    kubeProxy: 'same',
  },
  'localhost-nodeports': {
    type: boolean,
    default: 'false',
    field: 'kproxyTs.localhostNodePorts',
    group: 'Rules:',
    help: 'in nftables and userspace mode, serve TCP and UDP node ports on 127.0.0.1 and [::1], by proxies of this process; iptables mode has --iptables-localhost-nodeports',
    kubeProxy: 'no such flag; in iptables mode only, IPv4 only',
  },
  'ipvs-scheduler': {
    type: kernelScheduler,
    default: 'rr',
    field: 'ipvs.scheduler',
    group: 'Rules:',
    help: 'in ipvs mode, the scheduler of Services that choose none by annotation: rr, wrr, lc, wlc, sed, nq, sh, mh or another that the kernel has',
    kubeProxy: 'same',
  },
  'ipvs-strict-arp': {
    type: boolean,
    default: 'false',
    field: 'ipvs.strictARP',
    group: 'Rules:',
    help: 'in ipvs mode, answer no ARP requests for virtual addresses (arp_ignore=1, arp_announce=2), as load balancers such as MetalLB need it',
    kubeProxy: 'same',
  },
  'ipvs-exclude-cidrs': {
    type: cidrs,
    default: '',
    field: 'ipvs.excludeCIDRs',
    group: 'Rules:',
    help: "in ipvs mode, networks whose virtual servers are somebody else's unless they are known to be ours (repeatable, comma separated)",
    kubeProxy: 'deletes all virtual servers outside them',
  },
  'ipvs-tcp-timeout': {
    type: nonNegativeDuration,
    default: '0s',
    field: 'ipvs.tcpTimeout',
    group: 'Rules:',
    help: 'in ipvs mode, how long IPVS keeps idle TCP connections; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'ipvs-tcpfin-timeout': {
    type: nonNegativeDuration,
    default: '0s',
    field: 'ipvs.tcpFinTimeout',
    group: 'Rules:',
    help: 'in ipvs mode, how long IPVS keeps TCP connections after a FIN; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'ipvs-udp-timeout': {
    type: nonNegativeDuration,
    default: '0s',
    field: 'ipvs.udpTimeout',
    group: 'Rules:',
    help: 'in ipvs mode, how long IPVS keeps idle UDP flows; 0 leaves it as it is',
    kubeProxy: 'same',
  },
  'ipvs-drain-timeout': {
    type: nonNegativeDuration,
    default: '15m',
    field: 'kproxyTs.ipvsDrainTimeout',
    group: 'Rules:',
    help: 'in ipvs mode, the longest that connections to a removed endpoint are kept: it is deleted with its last one, or after this time',
    kubeProxy: 'no such flag; waits for ever',
  },
  'nftables-own-table': {
    type: boolean,
    default: 'true',
    field: 'kproxyTs.nftablesOwnTable',
    group: 'Rules:',
    help: 'in nftables mode, own the table where the kernel can (Linux 6.9): while the daemon runs nobody else changes it, or flushes it away',
    kubeProxy: 'no such flag',
  },
  'userspace-drain-timeout': {
    type: nonNegativeDuration,
    default: '5s',
    field: 'kproxyTs.userspaceDrainTimeout',
    group: 'Rules:',
    help: 'in userspace mode, the longest that established connections go on when the daemon stops; nobody new is served then',
    kubeProxy: 'no such flag, nor such a mode any more',
  },
  'masquerade-all': {
    type: boolean,
    default: 'false',
    field: {
      iptables: 'iptables.masqueradeAll',
      nftables: 'nftables.masqueradeAll',
      ipvs: 'iptables.masqueradeAll',
      userspace: 'iptables.masqueradeAll',
    },
    group: 'Rules:',
    help: 'masquerade all traffic to cluster IPs',
    kubeProxy: 'same',
  },
  ...HOST_FLAGS,
  'iptables-sync-period': {
    type: positiveDuration,
    default: '30s',
    field: {
      iptables: 'iptables.syncPeriod',
      nftables: 'nftables.syncPeriod',
      ipvs: 'ipvs.syncPeriod',
      userspace: 'iptables.syncPeriod',
    },
    aliases: ['nftables-sync-period', 'ipvs-sync-period', 'sync-period'],
    group: 'Timing:',
    help: "how often the kernel's rules are checked for foreign changes, in every mode",
    kubeProxy: 'same',
  },
  'iptables-min-sync-period': {
    type: nonNegativeDuration,
    default: '0s',
    field: {
      iptables: 'iptables.minSyncPeriod',
      nftables: 'nftables.minSyncPeriod',
      ipvs: 'ipvs.minSyncPeriod',
      userspace: 'iptables.minSyncPeriod',
    },
    aliases: ['nftables-min-sync-period', 'ipvs-min-sync-period', 'min-sync-period'],
    group: 'Timing:',
    help: 'least time between two writes, in every mode. 0 only groups changes that arrive together, which is enough: a write costs what changed, not what exists',
    kubeProxy: 'defaults to 1s',
  },
  'takeover-wait': {
    type: nonNegativeDuration,
    default: '10s',
    field: 'kproxyTs.takeoverWait',
    group: 'Timing:',
    help: 'how long to wait for another kproxy-ts of this network namespace to end, as at an upgrade, before giving up with exit status 3',
    kubeProxy: 'no such flag; two of them write over each other',
  },
  takeover: {
    type: boolean,
    default: 'false',
    field: 'kproxyTs.takeover',
    group: 'Mode:',
    help: 'in userspace mode, take the place of a kproxy-ts of that mode that runs here, with its sockets and connections, so that nobody notices; it ends',
    kubeProxy: 'no such flag',
  },
  'fd-store': {
    type: boolean,
    default: 'false',
    field: 'kproxyTs.fdStore',
    group: 'Mode:',
    help: 'in userspace mode, leave sockets and connections to systemd when stopped, for the next start; needs FileDescriptorStoreMax= in the unit',
    kubeProxy: 'no such flag',
  },
  'healthz-bind-address': {
    type: listenAddress(10256),
    default: '0.0.0.0:10256',
    field: 'healthzBindAddress',
    group: 'Servers:',
    help: 'where /healthz, /livez and /readyz are answered; none for nowhere',
    kubeProxy: 'same, but no word none',
  },
  'metrics-bind-address': {
    type: listenAddress(10249),
    default: '127.0.0.1:10249',
    field: 'metricsBindAddress',
    group: 'Servers:',
    help: 'where /metrics, /proxyMode and /configz are answered; none for nowhere',
    kubeProxy: 'same, but cannot be empty',
  },
  'metrics-tls-cert-file': {
    type: text('file'),
    default: '',
    field: 'kproxyTs.metricsTLSCertFile',
    group: 'Servers:',
    help: 'certificate of the metrics server, PEM, with what has to follow it; then it speaks TLS. Read again when it changes',
    kubeProxy: 'no such flag, plain HTTP',
  },
  'metrics-tls-private-key-file': {
    type: text('file'),
    default: '',
    field: 'kproxyTs.metricsTLSPrivateKeyFile',
    group: 'Servers:',
    help: 'key of that certificate, PEM, without a passphrase',
    kubeProxy: 'no such flag',
  },
  'metrics-client-ca-file': {
    type: text('file'),
    default: '',
    field: 'kproxyTs.metricsClientCAFile',
    group: 'Servers:',
    help: 'with TLS, answer clients on the metrics address whose certificate is of one of these CAs, PEM',
    kubeProxy: 'no such flag, everybody is answered',
  },
  'metrics-token-file': {
    type: text('file'),
    default: '',
    field: 'kproxyTs.metricsTokenFile',
    group: 'Servers:',
    help: 'with TLS, answer clients on the metrics address that show one of these bearer tokens, one a line',
    kubeProxy: 'no such flag, everybody is answered',
  },
  'healthz-port': {
    type: optionalPort,
    default: '',
    group: 'Servers:',
    help: 'deprecated: 0 for no health server, else the port of a --healthz-bind-address that says none',
    kubeProxy: 'ignored with --config',
  },
  'metrics-port': {
    type: optionalPort,
    default: '',
    group: 'Servers:',
    help: 'deprecated: 0 for no metrics server, else the port of a --metrics-bind-address that says none',
    kubeProxy: 'ignored with --config',
  },
  'probe-vip': {
    type: scalar('address', (value) => {
      const address = parseListenAddress(value, 0);
      if (address?.port !== 0) return address;
      throw new ConfigError(`must be an IP and a port such as 10.96.0.1:443, got ${quote(value)}`);
    }),
    default: '',
    field: 'kproxyTs.probeVIP',
    group: 'Servers:',
    help: 'virtual IP and TCP port of a Service with endpoints, such as 10.96.0.1:443, that the daemon connects to every 5 seconds; /readyz needs it to succeed',
    kubeProxy: 'no such flag',
  },
  profiling: {
    type: boolean,
    default: 'false',
    field: 'enableProfiling',
    group: 'Servers:',
    help: 'answer on the metrics address: /debug/pprof/profile, /debug/pprof/heap, /debug/flags/v and /debug/table; to this node only, unless clients have to show credentials',
    kubeProxy: "Go's profiles; no table",
  },
  'bind-address-hard-fail': {
    type: boolean,
    default: 'false',
    field: 'bindAddressHardFail',
    group: 'Servers:',
    help: 'treat an address that cannot be had as an error, instead of trying again',
    kubeProxy: 'same',
  },
  ...LOG_FLAGS,
} satisfies Flags;
