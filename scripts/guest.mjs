// `npm run guest -- ipvsadm -Ln`: sets up, then runs a command in a fresh guest (test/vm).

import { spawn } from 'node:child_process';
import { ROOT, setUpOrExit } from './setup.mjs';

setUpOrExit('guest');
const guest = spawn(
  process.execPath,
  ['--import', './scripts/register-typescript.mjs', 'test/vm/run.ts', ...process.argv.slice(2)],
  { cwd: ROOT, stdio: 'inherit' },
);
// The guest ends with the process that a signal ends.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => guest.kill(signal));
guest.on('close', (status) => {
  process.exitCode = status ?? 1;
});
