// The addresses of this namespace as they are told while devices and addresses come and go.

import { NodeAddresses } from '../../../../src/daemon/ipvs/node-addresses.ts';
import type { Ip } from '../../../../src/model/ip.ts';
import { print, run, until } from './support.ts';

const MANY = 5000;

const told: (readonly Ip[])[] = [];
const errors: string[] = [];

run('ip link set lo up');
run('ip link add east type veth peer name west');
run('ip link add kube-ipvs0 type veth peer name other');
for (const device of ['east', 'west', 'kube-ipvs0']) run(`ip link set ${device} up`);
run('ip addr add 192.168.1.1/24 dev east');
run('ip addr add 169.254.7.7/16 dev east');
run('ip addr add fd00::1/64 dev east nodad');
run('ip addr add 10.96.0.1/32 dev kube-ipvs0');
run('ip addr add fd00:96::1/128 dev kube-ipvs0 nodad');

const watched = await NodeAddresses.watch({
  relistAfterMs: 20,
  onChange: (addresses) => told.push(addresses),
  onError: (error) => errors.push(error.message),
});
const steps: Record<string, readonly Ip[]> = { first: watched.current };

/** What is told after a command that changes something. */
async function step(name: string, command: string): Promise<void> {
  const before = told.length;
  run(command);
  await until(() => told.length > before);
  steps[name] = watched.current;
}

await step('added', 'ip addr add 192.168.2.1/24 dev west');
await step('added IPv6', 'ip addr add fd00:2::1/64 dev west nodad');
// Nothing to tell: it is there twice, it is a virtual IP, it is loopback.
run('ip addr add 192.168.2.1/32 dev east');
run('ip addr add 10.96.0.2/32 dev kube-ipvs0');
run('ip addr add 127.0.0.2/8 dev lo');
run('ip addr del 192.168.2.1/32 dev east');
await step('removed one', 'ip addr del fd00:2::1/64 dev west');
// Another device of that name, with another index.
run('ip link del kube-ipvs0');
run('ip link add kube-ipvs0 type veth peer name other');
run('ip addr add 10.96.0.3/32 dev kube-ipvs0');

// More at once than the receive buffer holds, while nobody reads.
const many = Array.from({ length: MANY }, (_, i) => `addr add 10.200.${i >> 8}.${i & 255}/32 dev east`);
const toldBefore = told.length;
run('ip -batch -', many.join('\n'));
await until(() => watched.current.length > MANY);
const changesForMany = told.length - toldBefore;
await step('link gone', 'ip link del east');

watched.close();
const toldAtEnd = told.length;
run('ip addr add 192.168.3.1/24 dev lo');
await new Promise((resolve) => setTimeout(resolve, 100));

print({ steps, told: toldAtEnd, toldAfterClose: told.length - toldAtEnd, changesForMany, errors });
