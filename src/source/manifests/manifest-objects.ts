// The value of a document → the objects in it that this program reads, made what the API server would have made of
// them: lists taken apart, the namespace filled in, Endpoints mirrored into EndpointSlices.

import { hash } from 'node:crypto';
import { SERVICE_NAME_LABEL } from '../../model/build-endpoint-slice.ts';
import { Field } from '../../model/fields.ts';
import { intern } from '../../model/intern.ts';
import { mirrorEndpoints } from '../../model/mirror-endpoints.ts';
import { isNamespaced, type ObjectKind } from '../../model/source-event.ts';

/** Something to tell about a document. */
export interface Finding {
  readonly code: string;
  readonly reason: string;
}

/** What is remembered of an object; its raw value is not. */
export interface ManifestObject {
  readonly kind: ObjectKind;
  /** '' for a kind without namespaces. */
  readonly namespace: string;
  readonly name: string;
  /** `Service default/web`: two objects of one id are the same object. */
  readonly id: string;
  /** Equal for equal content. */
  readonly digest: string;
  /** For a slice, `namespace/name` of its Service. */
  readonly serviceKey: string | undefined;
  /** True for a slice made from Endpoints: it gives way to slices that the manifests state themselves. */
  readonly isMirror: boolean;
  /** What is odd about it without being wrong. */
  readonly note: Finding | undefined;
}

/** What a document holds. */
export interface DocumentObjects {
  /** The objects and their raw values, in order. */
  readonly raws: ReadonlyMap<ManifestObject, unknown>;
  /** What is in it and cannot be told to be an object. */
  readonly failures: readonly Finding[];
  readonly warnings: readonly Finding[];
}

interface Found extends DocumentObjects {
  readonly raws: Map<ManifestObject, unknown>;
  readonly failures: Finding[];
  readonly warnings: Finding[];
}

/** The kinds read and the API group they belong to; the same kind of another group is another kind (Knative's Service). */
const API_VERSIONS: ReadonlyMap<string, RegExp> = new Map([
  ['Service', /^v1$/],
  ['Endpoints', /^v1$/],
  ['Node', /^v1$/],
  ['EndpointSlice', /^discovery\.k8s\.io\//],
  // In v1alpha1 the fields were others.
  ['ServiceCIDR', /^networking\.k8s\.io\/v1(?:beta1)?$/],
]);

/** Reads the value of a document, null when it is empty. Kinds that do not matter here are passed over. */
export function readObjects(document: unknown): DocumentObjects {
  const found: Found = { raws: new Map(), failures: [], warnings: [] };
  if (document !== null) readObject(Field.root(document), '', found);
  return found;
}

/** `impliedKind` is what an entry of a ServiceList is without saying so. */
function readObject(root: Field, impliedKind: string, found: Found): void {
  const kind = root.at('kind').text() || impliedKind;
  if (kind === '') root.at('kind').fail('must be the kind of a Kubernetes object');
  if (isList(kind)) {
    for (const { value, path } of root.at('items').items()) {
      readObject(Field.root(value, path), kind.slice(0, -'List'.length), found);
    }
  }
  const apiVersion = root.at('apiVersion').text();
  const isRead =
    apiVersion === '' ? API_VERSIONS.has(kind) : API_VERSIONS.get(kind)?.test(apiVersion) === true;
  const metadata = root.at('metadata');
  const name = isRead ? metadata.at('name').subdomain() : '';
  const isPlaced = kind === 'Endpoints' || isNamespaced(kind as ObjectKind);
  const namespace = isRead && isPlaced ? metadata.at('namespace').label('default') : '';
  const outcome = root.built(undefined);
  if (outcome.kind === 'invalid') found.failures.push(outcome);
  else if (isRead) {
    const raw = { ...(root.value as object), metadata: { ...(metadata.value as object), namespace } };
    if (kind === 'Endpoints') mirror(raw, `Endpoints ${namespace}/${name}`, found);
    else found.raws.set(describe(kind as ObjectKind, namespace, name, raw, false), raw);
  }
}

function mirror(endpoints: object, id: string, found: Found): void {
  const mirrored = mirrorEndpoints(endpoints);
  const named = ({ code, reason }: Finding): Finding => ({ code, reason: `${id}: ${reason}` });
  if (mirrored.kind === 'invalid') found.failures.push(named(mirrored));
  if (mirrored.kind !== 'built') return;
  found.warnings.push(...mirrored.warnings.map(named));
  for (const slice of mirrored.value) {
    const { namespace, name } = slice.metadata;
    found.raws.set(describe('EndpointSlice', namespace, name, slice, true), slice);
  }
}

function isList(kind: string): boolean {
  return kind === 'List' || (kind.endsWith('List') && API_VERSIONS.has(kind.slice(0, -'List'.length)));
}

function describe(
  kind: ObjectKind,
  namespace: string,
  name: string,
  raw: unknown,
  isMirror: boolean,
): ManifestObject {
  const root = Field.root(raw);
  const service =
    kind === 'EndpointSlice' ? root.at('metadata').at('labels').at(SERVICE_NAME_LABEL).text() : '';
  return {
    kind,
    namespace: intern(namespace),
    name,
    id: isNamespaced(kind) ? `${kind} ${namespace}/${name}` : `${kind} ${name}`,
    digest: hash('sha256', JSON.stringify(raw), 'base64'),
    serviceKey: service === '' ? undefined : `${namespace}/${service}`,
    isMirror,
    note: kind === 'Service' && lacksClusterIp(root.at('spec')) ? noClusterIp(namespace, name) : undefined,
  };
}

/** What the API server would have allocated cannot be made up here. */
function lacksClusterIp(spec: Field): boolean {
  const clusterIp = spec.at('clusterIP').value;
  return (clusterIp === undefined || clusterIp === '') && spec.at('type').value !== 'ExternalName';
}

function noClusterIp(namespace: string, name: string): Finding {
  const reason = `Service ${namespace}/${name} is left alone: spec.clusterIP must be stated, as manifests have no API server to allocate it`;
  return { code: 'NO_CLUSTER_IP', reason };
}
