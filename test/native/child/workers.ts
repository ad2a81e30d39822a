// Worker threads that are terminated while transactions are in flight and notifications arrive.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { countFds, newAddress, newAddresses } from './requests.ts';

async function terminateBusyWorker(): Promise<void> {
  const worker = new Worker(new URL('./worker.mjs', import.meta.url), { execArgv: [] });
  await once(worker, 'message');
  await worker.terminate();
}

// No other thread has the addon loaded yet, so the end of this worker also unloads it.
await terminateBusyWorker();

const route = openNetlink(NETLINK_ROUTE);
await route.transact(newAddresses(500));
// Four at once open what Node opens once.
await Promise.all(Array.from({ length: 4 }, terminateBusyWorker));
const fdsAtStart = countFds();

let isFlooding = true;
async function flood(): Promise<void> {
  for (let n = 1000; isFlooding; n++) await route.transact(newAddress(n));
}
const flooding = flood();
const workers = 24;
for (let n = 0; n < workers; n += 4) {
  await Promise.all(Array.from({ length: 4 }, terminateBusyWorker));
}
isFlooding = false;
await flooding;
const fdsGrown = countFds() - fdsAtStart;
route.close();

console.log(JSON.stringify({ workers, fdsGrown }));
