// Which flags each command takes, and the few that belong to a command rather than to the daemon's settings.

import { type Flags, scalar } from '../config/flag.ts';
import { boolean, text } from '../config/flag-types.ts';
import { LOG_FLAGS, PROXY_MODES, type ProxyMode, SETTINGS_FLAGS } from '../config/flags.ts';
import { parseEnum } from '../config/parse.ts';
import { CONFIG_FLAGS } from '../config/settings.ts';

export const OUTPUT_FORMATS = ['table', 'wide', 'json', 'yaml'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

const IPTABLES_BACKEND = {
  ...SETTINGS_FLAGS['iptables-backend'],
  group: 'Options:',
  help: 'where chains of iptables are looked for: nft, legacy, or auto: where the node has them',
  kubeProxy: 'same',
};

export const TABLE_FLAGS = {
  output: {
    type: scalar('format', (value) => parseEnum(value, OUTPUT_FORMATS)),
    default: 'table',
    short: 'o',
    group: 'Options:',
    help: `one of ${OUTPUT_FORMATS.join(', ')}`,
    kubeProxy: 'same',
  },
  namespace: {
    type: scalar('name', (value) => value),
    default: '',
    short: 'n',
    group: 'Options:',
    help: 'only Services of this namespace',
    kubeProxy: 'same',
  },
  'proxy-mode': {
    type: scalar('mode', (value): ProxyMode | undefined =>
      value === '' ? undefined : parseEnum(value, PROXY_MODES),
    ),
    default: '',
    group: 'Options:',
    help: `whose rules are shown: ${PROXY_MODES.join(', ')}; by default those that are there, in this order`,
    kubeProxy: 'same',
  },
  'iptables-backend': IPTABLES_BACKEND,
  v: LOG_FLAGS.v,
} satisfies Flags;

const INCLUDE_KUBE_PROXY = {
  type: boolean,
  default: 'false',
  group: 'Options:',
  help: 'remove as well what a kube-proxy of mode iptables, nftables or ipvs left behind',
  kubeProxy: 'no such flag',
};

export const CLEANUP_FLAGS = {
  'include-kube-proxy': INCLUDE_KUBE_PROXY,
  'iptables-backend': IPTABLES_BACKEND,
  'ipvs-exclude-cidrs': { ...SETTINGS_FLAGS['ipvs-exclude-cidrs'], group: 'Options:' },
  ...LOG_FLAGS,
} satisfies Flags;

/** Flags with which `kproxy-ts` does one thing and exits instead of running. */
export const INSTEAD_FLAGS = {
  cleanup: {
    type: boolean,
    default: 'false',
    group: 'Instead of running:',
    help: 'remove everything kproxy-ts ever wrote to this kernel and exit',
    kubeProxy: 'same',
  },
  'include-kube-proxy': {
    ...INCLUDE_KUBE_PROXY,
    group: 'Instead of running:',
    help: `with --cleanup: ${INCLUDE_KUBE_PROXY.help}`,
  },
  'init-only': {
    type: boolean,
    default: 'false',
    group: 'Instead of running:',
    help: 'set what needs more than CAP_NET_ADMIN (sysctls, connection tracking), see whether the mode works here, and exit',
    kubeProxy: 'asks the API server as well',
  },
  'write-config-to': {
    type: text('file'),
    default: '',
    group: 'Instead of running:',
    help: 'write the configuration in effect, with every default, to a file for --config, and exit',
    kubeProxy: 'same',
  },
  version: {
    type: { ...scalar('raw', (value) => parseEnum(value, ['false', 'true', 'raw'])), bare: 'true' },
    default: 'false',
    group: 'Instead of running:',
    help: 'print the version and exit; raw adds those of Node and the kernel',
    kubeProxy: 'same',
  },
} satisfies Flags;

/** Where settings come from besides flags. */
export const CONFIG_FILE_FLAGS = {
  config: {
    type: text('file'),
    default: '',
    group: 'Configuration file:',
    help: 'KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1), YAML or JSON; flags that are given win over it. When it changes, and at SIGHUP, it is read again and applied',
    kubeProxy: 'a file makes it drop most flags; a changed file makes it exit',
  },
} satisfies Flags;

export const COMMAND_FLAGS = {
  run: { ...CONFIG_FILE_FLAGS, ...CONFIG_FLAGS, ...INSTEAD_FLAGS },
  table: TABLE_FLAGS,
  diff: { ...CONFIG_FILE_FLAGS, ...CONFIG_FLAGS },
  cleanup: CLEANUP_FLAGS,
} satisfies Record<string, Flags>;

export type CommandName = keyof typeof COMMAND_FLAGS;
