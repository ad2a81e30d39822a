// Reads a kubeconfig file (client-go tools/clientcmd/api/v1). Own code, because client-node's KubeConfig drags the whole
// generated API into memory (69 MB of RSS), ignores tokenFile, and does not say which field it dislikes.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import yaml from 'js-yaml';
import { ConfigError } from '../../errors.ts';
import {
  type Access,
  ANONYMOUS,
  type ClusterAccess,
  type ExecSpec,
  type PemSource,
  type UserAccess,
} from './access.ts';
import { Fields } from './fields.ts';
import { parseServer } from './server-url.ts';

/**
 * What the current context of `file` says, with the server replaced by `master` when that is given.
 * @throws ConfigError naming the file and the field.
 */
export async function readKubeconfig(file: string, master?: string): Promise<Access> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(`${file}: cannot be read: ${cause.code ?? cause.message}`, { cause });
  });
  return parseKubeconfig(file, text, master);
}

/** The same, from the text of the file. Relative paths in it are relative to the file. */
export function parseKubeconfig(file: string, text: string, master?: string): Access {
  let document: unknown;
  try {
    document = yaml.load(text);
  } catch (cause) {
    throw new ConfigError(`${file}: not valid YAML: ${(cause as Error).message}`, { cause });
  }
  const config = new Fields(file, '', document);
  const folder = path.dirname(path.resolve(file));
  const context = named(
    config,
    'contexts',
    'context',
    config.requiredString('current-context'),
    'current-context',
  );
  const cluster = named(
    config,
    'clusters',
    'cluster',
    context.requiredString('cluster'),
    `${context.path}.cluster`,
  );
  const userName = context.string('user');
  return {
    origin: file,
    cluster: readCluster(cluster, folder, master),
    user:
      userName === undefined
        ? ANONYMOUS
        : readUser(named(config, 'users', 'user', userName, `${context.path}.user`), folder),
  };
}

/** The entry of `list` called `name`; `from` is the field that asks for it. */
function named(config: Fields, list: string, member: string, name: string, from: string): Fields {
  const entry = config.objects(list).find((candidate) => candidate.requiredString('name') === name);
  if (entry === undefined) config.fail(from, `${JSON.stringify(name)} is not among ${list}`);
  return entry.object(member) ?? entry.fail(member, 'is missing');
}

function readCluster(fields: Fields, folder: string, master: string | undefined): ClusterAccess {
  const ca = readPem(fields, 'certificate-authority', folder);
  const isVerified = !fields.boolean('insecure-skip-tls-verify');
  if (!isVerified && ca !== undefined) {
    fields.fail('insecure-skip-tls-verify', 'cannot be combined with a certificate authority');
  }
  const scheme = ca !== undefined || !isVerified ? 'https' : 'http';
  return {
    server:
      master === undefined
        ? parseServer(fields.requiredString('server'), fields.fieldName('server'), scheme)
        : parseServer(master, '--master', scheme),
    ca,
    tlsServerName: fields.string('tls-server-name'),
    isVerified,
    proxyUrl: readProxyUrl(fields),
    isCompressed: !fields.boolean('disable-compression'),
  };
}

function readProxyUrl(fields: Fields): string | undefined {
  const value = fields.string('proxy-url');
  if (value !== undefined && !(/^(https?|socks5h?):\/\//i.test(value) && URL.canParse(value))) {
    fields.fail('proxy-url', `must be an http, https or socks5 URL, got ${JSON.stringify(value)}`);
  }
  return value;
}

function readUser(fields: Fields, folder: string): UserAccess {
  const cert = readPem(fields, 'client-certificate', folder);
  const key = readPem(fields, 'client-key', folder);
  if (cert !== undefined && key === undefined)
    fields.fail('client-key', 'is missing, but a client certificate is given');
  if (key !== undefined && cert === undefined)
    fields.fail('client-certificate', 'is missing, but a client key is given');
  const tokenFile = fields.string('tokenFile');
  const username = fields.string('username');
  return {
    cert,
    key,
    token: fields.string('token'),
    tokenFile: tokenFile === undefined ? undefined : path.resolve(folder, tokenFile),
    basic: username === undefined ? undefined : { username, password: fields.string('password') ?? '' },
    exec: readExec(fields.object('exec'), folder),
    oidc: readOidc(fields.object('auth-provider')),
    impersonation: readImpersonation(fields),
  };
}

/** Data given in place wins over a file, as in client-go. */
function readPem(fields: Fields, name: string, folder: string): PemSource | undefined {
  const data = fields.string(`${name}-data`);
  if (data !== undefined) {
    const pem = Buffer.from(data, 'base64').toString('latin1');
    if (!pem.includes('-----BEGIN')) fields.fail(`${name}-data`, 'must be PEM in base64');
    return { field: fields.fieldName(`${name}-data`), pem };
  }
  const file = fields.string(name);
  return file === undefined ? undefined : { field: fields.fieldName(name), file: path.resolve(folder, file) };
}

const EXEC_API_VERSIONS = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];

function readExec(fields: Fields | undefined, folder: string): ExecSpec | undefined {
  if (fields === undefined) return undefined;
  const apiVersion = fields.requiredString('apiVersion');
  if (!EXEC_API_VERSIONS.includes(apiVersion)) {
    fields.fail('apiVersion', `must be ${EXEC_API_VERSIONS.join(' or ')}, got ${JSON.stringify(apiVersion)}`);
  }
  if (fields.string('interactiveMode') === 'Always') {
    fields.fail('interactiveMode', 'is Always, but a daemon has no terminal');
  }
  const command = fields.requiredString('command');
  return {
    apiVersion,
    // A bare name is looked up in PATH; anything with a slash is relative to the kubeconfig.
    command: command.includes('/') ? path.resolve(folder, command) : command,
    args: fields.strings('args'),
    env: Object.fromEntries(
      fields.objects('env').map((entry) => [entry.requiredString('name'), entry.string('value') ?? '']),
    ),
    installHint: fields.string('installHint'),
    isClusterInfoProvided: fields.boolean('provideClusterInfo'),
  };
}

function readOidc(fields: Fields | undefined): Record<string, string> | undefined {
  if (fields === undefined) return undefined;
  const name = fields.requiredString('name');
  if (name !== 'oidc')
    fields.fail('name', `must be oidc, got ${JSON.stringify(name)}; use exec for other providers`);
  const config = fields.object('config') ?? fields.fail('config', 'is missing');
  config.requiredString('id-token');
  return Object.fromEntries(config.names().map((key) => [key, config.string(key) ?? '']));
}

function readImpersonation(fields: Fields): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  const user = fields.string('as');
  if (user !== undefined) headers['Impersonate-User'] = user;
  const uid = fields.string('as-uid');
  if (uid !== undefined) headers['Impersonate-Uid'] = uid;
  const groups = fields.strings('as-groups');
  if (groups.length > 0) headers['Impersonate-Group'] = groups;
  const extra = fields.object('as-user-extra');
  for (const name of extra?.names() ?? []) {
    headers[`Impersonate-Extra-${encodeURIComponent(name)}`] = extra!.strings(name);
  }
  return headers;
}
