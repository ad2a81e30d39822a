// `npm run bench`: sets up, then runs bench/. Arguments go to it (`npm run bench -- --sizes=1k --only=cold`).

import { spawn } from 'node:child_process';
import { ROOT, setUpOrExit } from './setup.mjs';

setUpOrExit('bench');
const bench = spawn(
  process.execPath,
  ['--import', './scripts/register-typescript.mjs', 'bench/main.ts', ...process.argv.slice(2)],
  { cwd: ROOT, stdio: 'inherit' },
);
// The bench cleans up on a signal; this process only passes on what may have reached it alone, and waits.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => bench.kill(signal));
bench.on('close', (status) => {
  process.exitCode = status ?? 1;
});
