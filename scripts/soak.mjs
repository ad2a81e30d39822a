// `npm run soak`: sets up, then runs test/soak/. Arguments go to it (`npm run soak -- --minutes=3 --proxy-mode=iptables`).

import { spawn } from 'node:child_process';
import { ROOT, setUpOrExit } from './setup.mjs';

setUpOrExit('soak');
const soak = spawn(
  process.execPath,
  ['--import', './scripts/register-typescript.mjs', 'test/soak/main.ts', ...process.argv.slice(2)],
  { cwd: ROOT, stdio: 'inherit' },
);
// It cleans up on a signal; this process only passes on what may have reached it alone, and waits.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => soak.kill(signal));
soak.on('close', (status) => {
  process.exitCode = status ?? 1;
});
