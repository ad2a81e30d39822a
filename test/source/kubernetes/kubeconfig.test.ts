// Kubeconfig files, good and bad, and the environment of a pod.

import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/errors.ts';
import { inClusterAccess } from '../../../src/source/kubernetes/in-cluster.ts';
import { parseKubeconfig, readKubeconfig } from '../../../src/source/kubernetes/kubeconfig.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const PEM_BASE64 = Buffer.from(PEM).toString('base64');

type Fields = Record<string, unknown>;

function config(cluster: Fields = {}, user: Fields = {}, top: Fields = {}): string {
  return JSON.stringify({
    'current-context': 'dev',
    contexts: [{ name: 'dev', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    ...top,
  });
}

const parse = (text: string, master?: string) => parseKubeconfig('/etc/kproxy/config', text, master);

describe('parseKubeconfig', () => {
  test('reads YAML, and of several contexts the current one', () => {
    const access = parse(`
apiVersion: v1
kind: Config
current-context: b
contexts:
- {name: a, context: {cluster: one, user: x}}
- {name: b, context: {cluster: two, user: y}}
clusters:
- {name: one, cluster: {server: 'https://one'}}
- {name: two, cluster: {server: 'https://two:6443/prefix'}}
users:
- {name: x, user: {token: no}}
- {name: y, user: {token: 'yes'}}
`);
    expect(access.cluster.server.href).toBe('https://two:6443/prefix');
    expect(access.user.token).toBe('yes');
    expect(access.origin).toBe('/etc/kproxy/config');
  });

  test('resolves relative files against the folder of the file, and prefers data to files', () => {
    const { cluster, user } = parse(
      config(
        { 'certificate-authority': 'pki/ca.crt' },
        {
          'client-certificate': '/abs/client.crt',
          'client-certificate-data': PEM_BASE64,
          'client-key': '../client.key',
          tokenFile: 'token',
          exec: { apiVersion: 'client.authentication.k8s.io/v1', command: './bin/plugin' },
        },
      ),
    );
    expect(cluster.ca).toMatchObject({ file: '/etc/kproxy/pki/ca.crt' });
    expect(user.cert).toMatchObject({ pem: PEM });
    expect(user.key).toMatchObject({ file: '/etc/client.key' });
    expect(user.tokenFile).toBe('/etc/kproxy/token');
    expect(user.exec?.command).toBe('/etc/kproxy/bin/plugin');
  });

  test('--master replaces the server and keeps the rest', () => {
    const { cluster } = parse(config({ 'certificate-authority-data': PEM_BASE64 }), '192.0.2.7:443');
    expect(cluster.server.href).toBe('https://192.0.2.7/');
    expect(cluster.ca).toMatchObject({ pem: PEM });
    expect(parse(config(), '192.0.2.7:8080').cluster.server.href).toBe('http://192.0.2.7:8080/');
  });

  test('reads impersonation', () => {
    const user = {
      as: 'jane',
      'as-uid': '7',
      'as-groups': ['dev', 'ops'],
      'as-user-extra': { 'a/b': ['x'] },
    };
    expect(parse(config({}, user)).user.impersonation).toEqual({
      'Impersonate-User': 'jane',
      'Impersonate-Uid': '7',
      'Impersonate-Group': ['dev', 'ops'],
      'Impersonate-Extra-a%2Fb': ['x'],
    });
  });

  test('a context without a user is anonymous', () => {
    const contexts = [{ name: 'dev', context: { cluster: 'c' } }];
    expect(parse(config({}, {}, { contexts, users: null })).user.token).toBeUndefined();
  });

  test.each<[string, string, string]>([
    ['no YAML', 'clusters: [', 'not valid YAML'],
    ['an empty file', '', 'document: must be an object'],
    ['a list', '[]', 'document: must be an object'],
    ['no current context', config({}, {}, { 'current-context': '' }), 'current-context: is missing'],
    [
      'an unknown context',
      config({}, {}, { 'current-context': 'prod' }),
      'current-context: "prod" is not among contexts',
    ],
    [
      'an unknown cluster',
      config({}, {}, { clusters: [] }),
      'contexts[0].context.cluster: "c" is not among clusters',
    ],
    ['an unknown user', config({}, {}, { users: [] }), 'contexts[0].context.user: "u" is not among users'],
    ['clusters that are no list', config({}, {}, { clusters: {} }), 'clusters: must be a list'],
    ['a cluster that is no object', config({}, {}, { clusters: ['c'] }), 'clusters[0]: must be an object'],
    ['a cluster without a name', config({}, {}, { clusters: [{}] }), 'clusters[0].name: is missing'],
    ['an empty cluster', config({}, {}, { clusters: [{ name: 'c' }] }), 'clusters[0].cluster: is missing'],
    ['no server', config({ server: '' }), 'clusters[0].cluster.server: is missing'],
    ['a server that is a number', config({ server: 6443 }), 'clusters[0].cluster.server: must be a string'],
    [
      'a server that is no URL',
      config({ server: 'https://' }),
      'clusters[0].cluster.server: must be an http or https URL',
    ],
    [
      'a server of another scheme',
      config({ server: 'ftp://x' }),
      'clusters[0].cluster.server: must be an http or https',
    ],
    [
      'CA data that is no PEM',
      config({ 'certificate-authority-data': 'AAAA' }),
      'certificate-authority-data: must be PEM in',
    ],
    [
      'a CA that is not checked',
      config({ 'insecure-skip-tls-verify': true, 'certificate-authority': '/ca' }),
      'clusters[0].cluster.insecure-skip-tls-verify: cannot be combined',
    ],
    ['a flag that is text', config({ 'insecure-skip-tls-verify': 'yes' }), 'must be true or false'],
    [
      'a proxy that is no URL',
      config({ 'proxy-url': 'proxy:3128' }),
      'clusters[0].cluster.proxy-url: must be an http',
    ],
    [
      'a certificate without a key',
      config({}, { 'client-certificate-data': PEM_BASE64 }),
      'users[0].user.client-key: is missing',
    ],
    [
      'a key without a certificate',
      config({}, { 'client-key': 'k' }),
      'users[0].user.client-certificate: is missing',
    ],
    ['a token that is a number', config({}, { token: 5 }), 'users[0].user.token: must be a string'],
    [
      'a plugin without a command',
      config({}, { exec: { apiVersion: 'client.authentication.k8s.io/v1' } }),
      'exec.command: is missing',
    ],
    [
      'a plugin of an unknown version',
      config({}, { exec: { apiVersion: 'v9', command: 'x' } }),
      'users[0].user.exec.apiVersion: must be',
    ],
    [
      'a plugin that needs a terminal',
      config(
        {},
        { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'x', interactiveMode: 'Always' } },
      ),
      'users[0].user.exec.interactiveMode: is Always',
    ],
    [
      'a plugin with odd arguments',
      config({}, { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'x', args: [1] } }),
      'exec.args[0]: must be',
    ],
    [
      'an unknown provider',
      config({}, { 'auth-provider': { name: 'gcp' } }),
      'users[0].user.auth-provider.name: must be oidc',
    ],
  ])('%s is a ConfigError that names file and field', (_, text, message) => {
    expect(() => parse(text)).toThrow(ConfigError);
    expect(() => parse(text)).toThrow('/etc/kproxy/config: ');
    expect(() => parse(text)).toThrow(message);
  });

  test('a bad --master is a ConfigError that names the flag', () => {
    expect(() => parse(config(), 'ftp://x')).toThrow('--master: must be an http or https URL, got "ftp://x"');
  });
});

test('a file that does not exist is a ConfigError that names it', async () => {
  await expect(readKubeconfig('/nonexistent/config')).rejects.toThrow(ConfigError);
  await expect(readKubeconfig('/nonexistent/config')).rejects.toThrow(
    '/nonexistent/config: cannot be read: ENOENT',
  );
});

describe('inClusterAccess', () => {
  test('points at the API server and the files of the service account', () => {
    const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
    const { cluster, user } = inClusterAccess(env);
    expect(cluster.server.href).toBe('https://10.96.0.1/');
    expect(cluster.ca).toMatchObject({ file: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt' });
    expect(user.tokenFile).toBe('/var/run/secrets/kubernetes.io/serviceaccount/token');
  });

  test('takes an IPv6 address', () => {
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
    expect(inClusterAccess(env).cluster.server.href).toBe('https://[fd00::1]:6443/');
  });

  test.each([{}, { KUBERNETES_SERVICE_HOST: '10.96.0.1' }, { KUBERNETES_SERVICE_PORT: '443' }])(
    'is a ConfigError outside a pod (%o)',
    (env) => {
      expect(() => inClusterAccess(env)).toThrow(ConfigError);
      expect(() => inClusterAccess(env)).toThrow('--kubeconfig');
    },
  );
});
