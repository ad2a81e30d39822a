// The same scripts with the addon compiled under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer: any
// invalid access, undefined operation or leak ends them with a status other than 0.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../support/netns/command.ts';
import { PackageCopy } from './package-copy.ts';
import { runChild } from './run-child.ts';

const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
// The compiler answers with a path only when it has the library.
const isPresent = runtime.startsWith('/');
if (!isPresent) {
  const message = 'AddressSanitizer is not installed (libasan): the addon is NOT checked for leaks';
  if (process.env['CI'] === 'true') throw new Error(message);
  console.warn(message);
}

let copy: PackageCopy;
let env: Record<string, string>;

/** Several times what it takes on a machine with nothing else to do. */
const COMPILE_MS = 240_000;

beforeAll(async () => {
  if (!isPresent) return;
  copy = new PackageCopy();
  await runCommand([process.execPath, copy.path('scripts/install-addon.mjs')], {
    timeoutMs: COMPILE_MS,
    env: {
      CXXFLAGS: '-g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer',
      // Reports name the functions of a library only while it is loaded.
      LDFLAGS: '-fsanitize=address,undefined -Wl,-z,nodelete',
      LD_PRELOAD: runtime,
      ASAN_OPTIONS: 'detect_leaks=0',
    },
  });
  // Node has no way to free the promise of a worker that is terminated before it can be settled: 8 bytes.
  writeFileSync(copy.path('suppressions'), 'leak:^napi_create_promise$\n');
  env = {
    LD_PRELOAD: runtime,
    LSAN_OPTIONS: `suppressions=${copy.path('suppressions')}:print_suppressions=0`,
  };
}, COMPILE_MS);

afterAll(() => copy?.delete());

const scripts = [
  'transact.ts',
  'failures.ts',
  'tcp-socket.ts',
  'readiness.ts',
  'subscribe.ts',
  'lifetime.ts',
  'collect.ts',
  'workers.ts',
];

test.skipIf(!isPresent).each(scripts)('%s runs clean', async (script) => {
  expect(await runChild(script, { root: copy.root, env })).toBeTypeOf('object');
});
