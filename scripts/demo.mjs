// `npm run demo`: sets up, then plays examples/demo. Arguments go to it (`npm run demo -- --keep`).

import { spawn } from 'node:child_process';
import { ROOT, setUpOrExit } from './setup.mjs';

setUpOrExit('demo');
const demo = spawn(
  process.execPath,
  ['--import', './scripts/register-typescript.mjs', 'examples/demo/main.ts', ...process.argv.slice(2)],
  { cwd: ROOT, stdio: 'inherit' },
);
// The demo cleans up on a signal; this process only passes on what may have reached it alone, and waits.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => demo.kill(signal));
demo.on('close', (status) => {
  process.exitCode = status ?? 1;
});
