// Tests that run in the guest: npm run guest -- npx vitest run --config test/vm/vitest.config.ts

import { fileURLToPath } from 'node:url';
import { defineConfig, type TestProjectConfiguration, type UserWorkspaceConfig } from 'vitest/config';
import { patient } from '../support/patience.ts';

/** Files of one group run beside each other, and groups one after the other. */
const group = (
  name: string,
  groupOrder: number,
  files: string,
  own: UserWorkspaceConfig['test'],
): TestProjectConfiguration => ({
  extends: true,
  test: { name, include: [files], sequence: { groupOrder }, ...own },
});

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    experimental: { fsModuleCache: true },
    pool: 'forks',
    // What one file has loaded the next one need not.
    isolate: false,
    // An emulated processor that others need as well may be too slow for any patience: what fails twice fails.
    retry: 1,
    testTimeout: patient(30_000),
    hookTimeout: patient(60_000),
    projects: [
      // Modules are loaded before all. Asked for by both, their loader would be read from the cache twice at once, which fails.
      group('together', 0, 'test/vm/*.guest.ts', { maxWorkers: 2, globalSetup: 'test/vm/load-modules.ts' }),
      // These need all that an emulated processor has, or change what all namespaces share.
      group('alone', 1, 'test/vm/alone/*.guest.ts', { maxWorkers: 1 }),
    ],
  },
});
