// Run in a copy of the package whose addon was not compiled.

import { NETLINK_ROUTE, openNetlink } from '../../../src/daemon/netlink-socket.ts';
import { failureOf } from './requests.ts';

console.log(JSON.stringify(await failureOf(() => openNetlink(NETLINK_ROUTE))));
