// Runs inside a network namespace: the API server of the tests, filled with the cluster; argv[2] is its size as JSON.
// Prints its URL once it can be asked, and serves until it is killed.

import { type ApiServer, startApiServer } from '../test/support/api-server/api-server.ts';
import type { ClusterSize } from './engine.ts';
import { buildEndpointSlice, buildService, NODE_NAME, podIps } from './objects.ts';

type ApiObject = Parameters<ApiServer['put']>[0];

const { services, endpoints } = JSON.parse(process.argv[2] ?? '') as ClusterSize;
const server = await startApiServer();
server.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: NODE_NAME } });
for (let i = 0; i < services; i++) {
  server.put(withManagedFields(buildService(i)));
  server.put(withManagedFields(buildEndpointSlice(i, podIps(i, endpoints))));
}
console.log(server.url);

/** Who set which field: what every real server sends with every object, and kubectl hides. */
function withManagedFields(object: object): ApiObject {
  const { metadata, ...rest } = object as ApiObject;
  const fields = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([key, one]) => [`f:${key}`, fields(one)]))
      : {};
  const entry = {
    apiVersion: rest.apiVersion,
    fieldsType: 'FieldsV1',
    fieldsV1: fields({ metadata, ...rest }),
    manager: 'kube-controller-manager',
    operation: 'Update',
    time: '2026-03-01T12:00:00Z',
  };
  return { ...rest, metadata: { ...metadata, managedFields: [entry] } };
}
