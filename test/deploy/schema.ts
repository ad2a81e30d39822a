// Whether an object is what the API says it is: every field known and of its type. The types are those that
// @kubernetes/client-node was generated with from the API's own description; those of the Prometheus operator are written here.

import * as models from '@kubernetes/client-node/dist/gen/models/all.js';

interface Attribute {
  readonly baseName: string;
  readonly type: string;
  readonly format: string;
}

type Model = { getAttributeTypeMap(): readonly Attribute[] };

const TOP: Readonly<Record<string, string>> = {
  'v1 ServiceAccount': 'V1ServiceAccount',
  'v1 ConfigMap': 'V1ConfigMap',
  'apps/v1 DaemonSet': 'V1DaemonSet',
  'rbac.authorization.k8s.io/v1 ClusterRole': 'V1ClusterRole',
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': 'V1ClusterRoleBinding',
  'rbac.authorization.k8s.io/v1 Role': 'V1Role',
  'rbac.authorization.k8s.io/v1 RoleBinding': 'V1RoleBinding',
  'monitoring.coreos.com/v1 PodMonitor': 'PodMonitor',
  'monitoring.coreos.com/v1 PrometheusRule': 'PrometheusRule',
};

const field = (baseName: string, type: string): Attribute => ({ baseName, type, format: '' });
const operatorObject = (spec: string): Attribute[] => [
  field('apiVersion', 'string'),
  field('kind', 'string'),
  field('metadata', 'V1ObjectMeta'),
  field('spec', spec),
];

/** github.com/prometheus-operator/prometheus-operator, pkg/apis/monitoring/v1, as far as it is used. */
const OPERATOR: Readonly<Record<string, readonly Attribute[]>> = {
  PodMonitor: operatorObject('PodMonitorSpec'),
  PodMonitorSpec: [
    field('selector', 'V1LabelSelector'),
    field('podMetricsEndpoints', 'Array<PodMetricsEndpoint>'),
  ],
  PodMetricsEndpoint: [
    ...['port', 'path', 'interval', 'scrapeTimeout', 'scheme'].map((name) => field(name, 'string')),
    field('relabelings', 'Array<RelabelConfig>'),
  ],
  RelabelConfig: [
    ...['action', 'targetLabel', 'replacement', 'regex', 'separator'].map((name) => field(name, 'string')),
    field('sourceLabels', 'Array<string>'),
  ],
  PrometheusRule: operatorObject('PrometheusRuleSpec'),
  PrometheusRuleSpec: [field('groups', 'Array<RuleGroup>')],
  RuleGroup: [field('name', 'string'), field('interval', 'string'), field('rules', 'Array<Rule>')],
  Rule: [
    ...['alert', 'record', 'expr', 'for'].map((name) => field(name, 'string')),
    field('labels', '{ [key: string]: string; }'),
    field('annotations', '{ [key: string]: string; }'),
  ],
};

/** What is wrong with `object`, each with its path; empty when nothing is. */
export function schemaProblems(object: { apiVersion: string; kind: string }): string[] {
  const type = TOP[`${object.apiVersion} ${object.kind}`];
  return type === undefined
    ? [`${object.apiVersion} ${object.kind}: unknown`]
    : check(object, type, object.kind);
}

function check(value: unknown, type: string, path: string): string[] {
  const element = /^Array<(.*)>$/.exec(type)?.[1];
  if (element !== undefined) {
    if (!Array.isArray(value)) return [`${path}: must be a list`];
    return value.flatMap((one, i) => check(one, element, `${path}[${i}]`));
  }
  const member = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (member !== undefined) {
    if (!isRecord(value)) return [`${path}: must be an object`];
    return Object.entries(value).flatMap(([key, one]) => check(one, member, `${path}.${key}`));
  }
  if (type === 'IntOrString') return typeof value === 'number' ? [] : check(value, 'string', path);
  if (['string', 'number', 'boolean'].includes(type)) {
    return typeof value === type ? [] : [`${path}: must be a ${type}, is ${JSON.stringify(value)}`];
  }
  const attributes =
    OPERATOR[type] ?? (models as unknown as Record<string, Model>)[type]?.getAttributeTypeMap();
  if (attributes === undefined) return [`${path}: unknown type ${type}`];
  if (!isRecord(value)) return [`${path}: must be an object`];
  return Object.entries(value).flatMap(([key, one]) => {
    const attribute = attributes.find(({ baseName }) => baseName === key);
    return attribute === undefined
      ? [`${path}.${key}: unknown field`]
      : check(one, attribute.type, `${path}.${key}`);
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
