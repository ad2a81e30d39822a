// The configuration a pod finds around it (client-go rest/config.go, InClusterConfig).

import path from 'node:path';
import { ConfigError } from '../../errors.ts';
import { type Access, ANONYMOUS } from './access.ts';
import { parseServer } from './server-url.ts';

export const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @throws ConfigError outside a pod. */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>>,
  folder: string = SERVICE_ACCOUNT_FOLDER,
): Access {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port) {
    throw new ConfigError(
      'neither --kubeconfig nor --master is given, and this is not a pod: ' +
        'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set',
    );
  }
  const origin = 'in-cluster configuration';
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    origin,
    cluster: {
      server: parseServer(server, `${origin}: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT`),
      ca: { field: `${origin}: CA certificate`, file: path.join(folder, 'ca.crt') },
      tlsServerName: undefined,
      isVerified: true,
      proxyUrl: undefined,
      isCompressed: true,
    },
    user: { ...ANONYMOUS, tokenFile: path.join(folder, 'token') },
  };
}
