// Flags and fields of kube-proxy 1.36 that are accepted, checked, and without effect here; `help` says why. One that gains a meaning
// moves to SETTINGS_FLAGS, or to a table of its own beside it.

import { ConfigError } from '../errors.ts';
import { DURATION_OR_NANOSECONDS, type FieldForm, LOG_PATTERNS, NUMBER, STRING } from './field-form.ts';
import { type Flag, type Flags, type FlagType, scalar } from './flag.ts';
import { boolean, integer, positiveDuration, text } from './flag-types.ts';
import { parseDuration, parseInteger, parseList } from './parse.ts';
import { quote } from './printable.ts';

export const WITHOUT_EFFECT = 'Accepted, without effect:';

const string = text('text');

const number: FlagType<number> = {
  ...scalar('number', (value) => {
    if (value.trim() === '' || !Number.isFinite(Number(value))) {
      throw new ConfigError(`must be a number, got ${quote(value)}`);
    }
    return Number(value);
  }),
  form: NUMBER,
};

/** resource.Quantity, as far as sizes go: `0`, `64Ki`, `1M`. In a file also a number. */
const quantity: FlagType<string> = {
  ...scalar('quantity', (value) => {
    if (/^\+?(?:\d+\.?\d*|\.\d+)(?:[kMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?$/.test(value)) return value;
    throw new ConfigError(`must be a quantity such as 64Ki, got ${quote(value)}`);
  }),
  form: {
    ...STRING,
    kind: 'a quantity such as 64Ki',
    read: (value) => STRING.read(typeof value === 'number' ? String(value) : value),
  } satisfies FieldForm,
};

const logPatterns: FlagType<readonly string[]> = {
  hint: 'pattern=N,…',
  form: LOG_PATTERNS,
  isAdded: true,
  parse: (texts) =>
    parseList(texts).map((item) => {
      const [, pattern, level] = /^([^=]+)=([^=]*)$/.exec(item) ?? [];
      if (pattern === undefined) throw new ConfigError(`must be pattern=N, got ${quote(item)}`);
      parseInteger(level!, 0);
      return item;
    }),
};

const flushFrequency: FlagType<number> = {
  ...scalar('duration', parseDuration),
  form: DURATION_OR_NANOSECONDS,
};

interface Row extends Pick<Flag, 'field' | 'isFieldOnly'> {
  readonly type: FlagType<unknown>;
  /** '' where it is. */
  readonly default?: string;
  readonly why: string;
}

const JSON_ONLY = 'objects are always read as JSON';
const NO_LIMIT = 'the few requests of this daemon need no limit';
const ONE_STREAM = 'every line of the log goes to stderr at once';
const WINDOWS = 'Windows only';
const CADVISOR = 'a leftover of cAdvisor';

const ROWS = {
  'kube-api-content-type': { type: string, field: 'clientConnection.contentType', why: JSON_ONLY },
  'clientConnection.acceptContentTypes': {
    type: string,
    field: 'clientConnection.acceptContentTypes',
    isFieldOnly: true,
    why: JSON_ONLY,
  },
  'kube-api-qps': { type: number, default: '5', field: 'clientConnection.qps', why: NO_LIMIT },
  'kube-api-burst': {
    type: { ...integer('N', 0), form: NUMBER },
    default: '10',
    field: 'clientConnection.burst',
    why: NO_LIMIT,
  },
  'config-sync-period': {
    type: positiveDuration,
    default: '15m',
    field: 'configSyncPeriod',
    why: 'nothing here needs a periodic resync of objects',
  },
  'show-hidden-metrics-for-version': {
    type: string,
    field: 'showHiddenMetricsForVersion',
    why: 'no metric is hidden',
  },
  portRange: { type: string, field: 'portRange', isFieldOnly: true, why: 'a leftover of the userspace mode' },

  'log-flush-frequency': {
    type: flushFrequency,
    default: '5s',
    field: 'logging.flushFrequency',
    why: 'every line of the log is written at once',
  },
  vmodule: { type: logPatterns, field: 'logging.vmodule', why: 'verbosity is one for all (-v)' },
  'log-text-split-stream': {
    type: boolean,
    default: 'false',
    field: 'logging.options.text.splitStream',
    why: ONE_STREAM,
  },
  'log-text-info-buffer-size': {
    type: quantity,
    default: '0',
    field: 'logging.options.text.infoBufferSize',
    why: ONE_STREAM,
  },
  'log-json-split-stream': {
    type: boolean,
    default: 'false',
    field: 'logging.options.json.splitStream',
    why: ONE_STREAM,
  },
  'log-json-info-buffer-size': {
    type: quantity,
    default: '0',
    field: 'logging.options.json.infoBufferSize',
    why: ONE_STREAM,
  },

  'windows-service': { type: boolean, default: 'false', field: 'windowsRunAsService', why: WINDOWS },
  'source-vip': { type: string, field: 'winkernel.sourceVip', why: WINDOWS },
  'network-name': { type: string, field: 'winkernel.networkName', why: WINDOWS },
  'enable-dsr': { type: boolean, default: 'false', field: 'winkernel.enableDSR', why: WINDOWS },
  'root-hnsendpoint-name': {
    type: string,
    default: 'cbr0',
    field: 'winkernel.rootHnsEndpointName',
    why: WINDOWS,
  },
  'forward-healthcheck-vip': {
    type: boolean,
    default: 'false',
    field: 'winkernel.forwardHealthCheckVip',
    why: WINDOWS,
  },
  'boot-id-file': { type: text('file'), why: CADVISOR },
  'machine-id-file': { type: text('file'), why: CADVISOR },
} satisfies Record<string, Row>;

export const FLAGS_WITHOUT_EFFECT: Flags = Object.fromEntries(
  Object.entries(ROWS as Record<string, Row>).map(([name, { why, ...row }]) => [
    name,
    { default: '', group: WITHOUT_EFFECT, help: why, kubeProxy: 'has an effect', ...row },
  ]),
);
