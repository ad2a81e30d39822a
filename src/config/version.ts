// The version of this program: package.json is the one place that says it.

import { readFileSync } from 'node:fs';

/** Such as `0.1.0`. */
export function readVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String(manifest.version);
}
