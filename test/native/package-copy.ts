// A copy of the package's native part in a folder of its own, to be compiled, broken and instrumented at will.

import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const parts = [
  'binding.gyp',
  'native',
  'scripts',
  'src/errors.ts',
  'src/daemon/netlink-socket.ts',
  'test/native/child',
];

export class PackageCopy {
  readonly root = mkdtempSync(join(tmpdir(), 'kproxy-native-'));

  constructor() {
    for (const part of parts) cpSync(join(root, part), this.path(part), { recursive: true });
    writeFileSync(this.path('package.json'), '{"type":"module"}');
    symlinkSync(join(root, 'node_modules'), this.path('node_modules'));
  }

  path(part: string): string {
    return join(this.root, part);
  }

  delete(): void {
    rmSync(this.root, { recursive: true });
  }
}
