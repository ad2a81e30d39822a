// `npm run bench`: sets up, then runs bench/. Arguments go to it (`npm run bench -- --sizes=1k --only=cold`). What is asked of
// ipvs mode is measured in a guest where this kernel has no IPVS.

import { hasIpvs, runTypescript } from './run-typescript.mjs';
import { setUpOrExit } from './setup.mjs';

const argv = process.argv.slice(2);
const isIpvs = argv.some((one) => /^--only=(.*,)?ipvs/.test(one));
setUpOrExit('bench');
const isInGuest = isIpvs && !hasIpvs();
if (isInGuest) setUpOrExit('guest');
runTypescript('bench/main.ts', argv, { isInGuest });
