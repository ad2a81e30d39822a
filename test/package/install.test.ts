// The package as somebody gets it: packed, installed into an empty prefix, its addon compiled there, and a daemon that serves.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { service, slice } from '../support/manifests.ts';
import { runCommand, tryCommand } from '../support/netns/command.ts';
import { Daemon } from '../support/netns/daemon.ts';
import { podIp, TestNode } from '../support/test-node.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

/** npm asks the registry, at worst, and compiles. */
const INSTALL_MS = 240_000;

let prefix: string;
/** As `npm pack` lists them. */
let files: readonly string[];

const npm = (...args: string[]) => {
  const cli = process.env['npm_execpath'];
  return cli === undefined ? ['npm', ...args] : [process.execPath, cli, ...args];
};

const installed = (part: string) => path.join(prefix, 'lib/node_modules/kproxy-ts', part);

beforeAll(async () => {
  prefix = mkdtempSync(path.join(tmpdir(), 'kproxy-package-'));
  // What is packed was built before the tests: other tests are running it.
  const pack = npm('pack', ROOT, '--json', '--ignore-scripts', `--pack-destination=${prefix}`);
  const [{ filename, files: packed }] = JSON.parse(await runCommand(pack, { timeoutMs: 60_000 })) as [
    { filename: string; files: readonly { path: string }[] },
  ];
  files = packed.map((file) => file.path);
  const options = ['--global', `--prefix=${prefix}`, '--prefer-offline', '--no-audit', '--no-fund'];
  await runCommand(npm('install', ...options, path.join(prefix, filename)), { timeoutMs: INSTALL_MS });
}, INSTALL_MS + 60_000);

afterAll(() => rmSync(prefix, { recursive: true, force: true }));

test('has the program, its sources in C++, units, manifests and docs, and nothing else', () => {
  const folders = new Set(files.map((file) => (file.includes('/') ? `${file.split('/')[0]}/` : file)));
  expect([...folders].sort()).toEqual(
    [
      'LICENSE',
      'README.md',
      'bin/',
      'binding.gyp',
      'deploy/',
      'dist/',
      'docs/',
      'native/',
      'package.json',
      'scripts/',
      'systemd/',
    ].sort(),
  );
  expect(files.filter((file) => file.startsWith('scripts/'))).toEqual(['scripts/install-addon.mjs']);
  expect(files.filter((file) => /\.(ts|test\.js|node)$/.test(file))).toEqual([]);
});

test('compiles its addon where it is installed, and says its version', async () => {
  expect(existsSync(installed('build/Release/netlink.node'))).toBe(true);
  const program = path.join(prefix, 'bin/kproxy-ts');
  expect(await tryCommand([program, '--version'])).toEqual({
    status: 0,
    stdout: `kproxy-ts v${version}\n`,
    stderr: '',
  });
});

test('brings no development dependency', () => {
  for (const name of ['vitest', 'typescript', 'fast-check', '@biomejs']) {
    expect(existsSync(installed(`node_modules/${name}`)), name).toBe(false);
  }
});

test('serves', async () => {
  const node = await TestNode.create(1);
  try {
    const [ports, targets] = [[{ name: 'http', port: 80 }], [{ name: 'http', port: 8080 }]];
    node.manifests.put(
      'web',
      service('web', { clusterIps: ['10.96.0.9'], ports }),
      slice('web', 'web-1', { ports: targets, endpoints: [podIp(1)] }),
    );
    const daemon = Daemon.start(node.netns, node.flags, {}, path.join(prefix, 'bin/kproxy-ts'));
    await daemon.rulesInForce();
    const client = node.topology.client.agent();
    expect(await client.probe({ protocol: 'tcp', host: '10.96.0.9', port: 80 })).toMatchObject({
      outcome: 'reply',
      server: 'pod-1',
    });
    expect(await daemon.stop()).toBe(0);
  } finally {
    await node.delete();
  }
}, 30_000);
