// Exec credential plugins: shell scripts that leave a line in a file whenever they run.

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KubeError } from '../../../src/errors.ts';
import { ExecPlugin } from '../../../src/source/kubernetes/exec-plugin.ts';

const API_VERSION = 'client.authentication.k8s.io/v1';

let folder: string;
let abort: AbortController;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kproxy-exec-'));
  abort = new AbortController();
});

afterEach(() => {
  abort.abort();
  rmSync(folder, { recursive: true });
});

function plugin(
  script: string,
  fields: { env?: Record<string, string>; installHint?: string } = {},
): ExecPlugin {
  const command = path.join(folder, 'plugin');
  writeFileSync(command, `#!/bin/sh\necho run >> ${folder}/runs\n${script}\n`);
  chmodSync(command, 0o755);
  return new ExecPlugin(
    {
      apiVersion: API_VERSION,
      command,
      args: ['first', 'second'],
      env: fields.env ?? {},
      installHint: fields.installHint,
      isClusterInfoProvided: true,
    },
    async () => ({ server: 'https://api' }),
    abort.signal,
  );
}

const printing = (status: unknown, top: Record<string, unknown> = {}) =>
  `cat <<'END'\n${JSON.stringify({ kind: 'ExecCredential', apiVersion: API_VERSION, status, ...top })}\nEND`;

const runs = () =>
  existsSync(`${folder}/runs`) ? readFileSync(`${folder}/runs`, 'utf8').trim().split('\n').length : 0;

describe('ExecPlugin', () => {
  test('gives the plugin its arguments, its environment and the request', async () => {
    const script = `echo "$1 $2 $FLAVOUR" > ${folder}/seen; echo "$KUBERNETES_EXEC_INFO" > ${folder}/request`;
    const exec = plugin(`${script}; ${printing({ token: 'secret' })}`, { env: { FLAVOUR: 'mint' } });
    expect(await exec.credential()).toMatchObject({ token: 'secret', cert: undefined });
    expect(readFileSync(`${folder}/seen`, 'utf8')).toBe('first second mint\n');
    expect(JSON.parse(readFileSync(`${folder}/request`, 'utf8'))).toEqual({
      kind: 'ExecCredential',
      apiVersion: API_VERSION,
      spec: { interactive: false, cluster: { server: 'https://api' } },
    });
  });

  test('runs once for as long as the credential lasts, also for simultaneous requests', async () => {
    const exec = plugin(
      printing({ token: 'a', expirationTimestamp: new Date(Date.now() + 60_000).toISOString() }),
    );
    await Promise.all([exec.credential(), exec.credential(), exec.credential()]);
    await exec.credential();
    expect(runs()).toBe(1);
  });

  test('a credential without an end is kept until it is forgotten', async () => {
    const exec = plugin(printing({ token: 'a' }));
    await exec.credential();
    await exec.credential();
    expect(runs()).toBe(1);
    exec.forget();
    await exec.credential();
    expect(runs()).toBe(2);
  });

  test('an expired credential is fetched again', async () => {
    const exec = plugin(printing({ token: 'a', expirationTimestamp: '2020-01-01T00:00:00Z' }));
    await exec.credential();
    await exec.credential();
    expect(runs()).toBe(2);
  });

  test.each<[string, string, string]>([
    ['fails', 'echo "no login" >&2; exit 3', 'no login'],
    ['prints no JSON', 'echo hello', 'output is not JSON'],
    ['prints something else', 'echo "[]"', 'output is no ExecCredential'],
    [
      'answers in another version',
      printing({ token: 'a' }, { apiVersion: 'v0' }),
      'apiVersion of the output',
    ],
    ['has no status', printing(undefined), 'status is missing'],
    ['has an empty status', printing({}), 'neither a token nor a client certificate'],
    ['has a token that is a number', printing({ token: 5 }), 'status.token is not a string'],
    ['has a certificate without a key', printing({ clientCertificateData: 'x' }), 'only one of'],
    [
      'has an odd expiry',
      printing({ token: 'a', expirationTimestamp: 'soon' }),
      'expirationTimestamp is not a time',
    ],
  ])(
    'a plugin that %s is a KubeError that names it, and is run again next time',
    async (_, script, message) => {
      const exec = plugin(script);
      await expect(exec.credential()).rejects.toThrow(KubeError);
      await expect(exec.credential()).rejects.toThrow(message);
      await expect(exec.credential()).rejects.toThrow(`${folder}/plugin`);
      expect(runs()).toBe(3);
    },
  );

  test('a plugin that is not installed is reported with its hint', async () => {
    const exec = plugin('', { installHint: 'apt install login-plugin' });
    rmSync(path.join(folder, 'plugin'));
    await expect(exec.credential()).rejects.toThrow('ENOENT (apt install login-plugin)');
  });

  test('a plugin that hangs ends with the source', async () => {
    const exec = plugin('exec sleep 60');
    const credential = exec.credential();
    const rejected = expect(credential).rejects.toThrow(KubeError);
    abort.abort();
    await rejected;
  });
});
