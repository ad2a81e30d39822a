// Runs a command in a fresh guest: npm run guest -- ipvsadm -Ln
// Without a command a shell reads its commands from standard input. Its exit status is the command's.

import { GUEST_FOLDER } from '../../scripts/guest-kernel.mjs';
import { type Accelerator, Guest } from './guest.ts';

const accelerator = process.env['KPROXY_GUEST_ACCEL'] as Accelerator | undefined;
const isVerbose = process.env['KPROXY_GUEST_CONSOLE'] === '1';
const argv = process.argv.length > 2 ? process.argv.slice(2) : ['/bin/sh'];

const beganMs = performance.now();
const guest = await Guest.start({
  folder: GUEST_FOLDER,
  ...(accelerator !== undefined && { accelerators: [accelerator] }),
  ...(isVerbose && { onConsole: (line: string) => console.error(line) }),
});
console.error(
  `guest: up after ${((performance.now() - beganMs) / 1000).toFixed(1)} s (${guest.accelerator})`,
);
const program = guest.spawn(argv, {
  onStdout: (text) => process.stdout.write(text),
  onStderr: (text) => process.stderr.write(text),
});
process.stdin.setEncoding('utf8').on('data', (text: string) => program.write(text));
process.stdin.on('end', () => program.end());
process.exitCode = await program.ended;
await guest.stop();
process.stdin.destroy();
