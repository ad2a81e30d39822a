// Closing in every order, and descriptors over many sockets.

import { NETLINK_NETFILTER, NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { countFds, dumpAddresses, failureOf, getGeneration, headersOf, newAddresses } from './requests.ts';

// Loads the addon and starts what Node starts once.
const first = openNetlink(NETLINK_NETFILTER);
await first.transact(getGeneration(1));
first.close();
first.close();
const closed = await failureOf(() => first.transact(getGeneration(1)));
const closedBuffer = await failureOf(() => first.reserveSendBuffer(1 << 20));
const fdsAtStart = countFds();

const route = openNetlink(NETLINK_ROUTE);
const addresses = newAddresses(2000);
route.reserveSendBuffer(addresses.length);
const inFlight = route.transact(addresses);
const queued = route.transact(dumpAddresses(2));
// The transaction starts in a microtask: after this it is in flight.
await Promise.resolve();
await Promise.resolve();
route.close();
// Would get the descriptor's number, if that were free already.
const neighbour = openNetlink(NETLINK_NETFILTER);
const neighbourSeqs = headersOf(await neighbour.transact(getGeneration(3))).map((header) => header.seq);
const inFlightReplies = (await inFlight).length;
const queuedFailure = await failureOf(() => queued);
neighbour.close();
const fdsAfterClose = countFds();

for (let n = 0; n < 10_000; n++) {
  const socket = openNetlink(NETLINK_NETFILTER);
  await socket.transact(getGeneration(n));
  socket.close();
}
const fdsAfterLoop = countFds();

console.log(
  JSON.stringify({
    closed,
    closedBuffer,
    inFlightReplies,
    queuedFailure,
    neighbourSeqs,
    fdsGrownByClose: fdsAfterClose - fdsAtStart,
    fdsGrownByLoop: fdsAfterLoop - fdsAtStart,
  }),
);
