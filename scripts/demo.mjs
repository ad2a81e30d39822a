// `npm run demo`: sets up, then plays examples/demo. Arguments go to it (`npm run demo -- --keep`). In ipvs mode it is played in a
// guest where this kernel has no IPVS.

import { hasIpvs, runTypescript } from './run-typescript.mjs';
import { setUpOrExit } from './setup.mjs';

const argv = process.argv.slice(2);
setUpOrExit('demo');
const isInGuest = argv.includes('--proxy-mode=ipvs') && !hasIpvs();
if (isInGuest) setUpOrExit('guest');
runTypescript('examples/demo/main.ts', argv, { isInGuest });
