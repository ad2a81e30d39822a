// `npm run guest -- ipvsadm -Ln`: sets up, then runs a command in a fresh guest (test/vm).

import { runTypescript } from './run-typescript.mjs';
import { setUpOrExit } from './setup.mjs';

setUpOrExit('guest');
runTypescript('test/vm/run.ts', process.argv.slice(2));
