// Run by netns.test.ts as a process of its own: makes a namespace, starts a process in it, tells its name, and waits.

import { Netns } from './netns.ts';

const netns = await Netns.create('made');
netns.spawn(['sleep', '600']);
process.stdout.write(`${netns.name}\n`);
process.stdin.on('end', () => process.exit()).resume();
