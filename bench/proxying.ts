// Proxies in a process of their own, inside a network namespace: argv[2] is the address to listen on, argv[3] the one that is
// dialled, argv[4] the endpoint, each but the first as `address:port`. Prints `address:port` of the portal, then proxies.

import type { Ip } from '../src/model/ip.ts';
import type { ServiceKey } from '../src/model/types.ts';
import type { Frontend } from '../src/vip/frontend.ts';
import { formerFrontend, Proxies } from './shipped.ts';

const [own = '', dialled = '', endpoint = ''] = process.argv.slice(2);
const addressOf = (text: string): { ip: Ip; port: number } => {
  const [ip, port] = text.split(':');
  return { ip: ip as Ip, port: Number(port) };
};

const service = 'default/bench' as ServiceKey;
const frontend: Frontend = {
  ...formerFrontend({ family: 4, service, displayName: service, dialled: addressOf(dialled) }),
  backends: [{ ...addressOf(endpoint), isMaybeLocal: false, weight: 1 }],
};

const proxies = new Proxies({ tell: (trouble) => console.error(trouble) });
const failures = await proxies.update(new Map([[service, [frontend]]]), new Map([[4, own as Ip]]));
if (failures[0] !== undefined) throw failures[0].error;
const portal = proxies.portal(frontend, 'outside')!;
console.log(`${portal.ip}:${portal.port}`);
// Listening alone keeps no process alive.
process.stdin.resume();
