// Chapters about traffic: every way in which the examples' virtual IPs can be dialled.

import { GATE_TABLE } from '../../src/mode/ipvs/gate.ts';
import { TABLE } from '../../src/mode/nftables/names.ts';
import { PORTAL_TABLE } from '../../src/mode/userspace/portals.ts';
import { runKproxy } from '../../test/support/netns/daemon.ts';
import { CLIENT, GATEWAY, NODE } from '../../test/support/netns/topology.ts';
import type { Tally, Target, TimedReply } from '../../test/support/netns/traffic.ts';
import { patient } from '../../test/support/patience.ts';
import { type Cluster, VIP } from './cluster.ts';
import { chapter, claim, formatCounts, formatMs, say, show } from './story.ts';

const HOSTNAME_PODS = ['hostname-1', 'hostname-2', 'hostname-3'];

export const HOSTNAME: Target = { protocol: 'tcp', host: VIP.hostname, port: 8080 };

/** The row of `kproxy-ts table -o json` as far as the demo reads it. */
interface Row {
  readonly service: string;
  readonly address: string;
  readonly connections?: number;
}

export async function tableRows(cluster: Cluster): Promise<readonly Row[]> {
  const { stdout } = await runKproxy(cluster.topology.node, ['table', '-o', 'json']);
  return JSON.parse(stdout) as Row[];
}

export async function playClusterIp(cluster: Cluster): Promise<void> {
  chapter('A virtual IP: three pods behind one address');
  const count = 600;
  const how = {
    nftables:
      'The kernel rewrites the first packet of each connection to one of the three hostname pods, picked at random.',
    ipvs: 'IPVS in the kernel gives each connection to one of the three hostname pods, in turn.',
    userspace:
      'The kernel leads each connection to a proxy in the daemon, which dials the three hostname pods in turn.',
  };
  say(
    `${VIP.hostname} is on no device. ${how[cluster.mode]} A pod named visitor (10.1.0.99) dials ` +
      `${VIP.hostname}:8080 ${count} times.`,
  );
  const tally = await cluster.topology
    .pod('visitor')
    .agent()
    .burst({ ...HOSTNAME, count });
  claimAllAnswered(tally, count);
  // 200 each on average, with a standard deviation of 11.5: beyond 60 either way chance is no explanation.
  const isEven = HOSTNAME_PODS.every((name) => Math.abs((tally.servers[name] ?? 0) - count / 3) <= 60);
  claim('spread evenly', isEven, formatCounts(tally.servers));
  if (cluster.mode !== 'userspace')
    claim("a pod's own address reaches the server unchanged", hasOnlyPeer(tally, '10.1.0.99'), '10.1.0.99');
  else claim('the pods see the node, where the proxy is', hasOnlyPeer(tally, GATEWAY.ip), GATEWAY.ip);
  const row = (await tableRows(cluster)).find(({ address }) => address === VIP.hostname);
  const connections = row?.connections ?? 0;
  claim('the kernel counted each connection', connections >= count, `${connections}`);
}

export async function playFromOutside(cluster: Cluster): Promise<void> {
  const client = cluster.topology.client.agent();
  chapter('From outside: node port and load balancer');
  say(
    `A client outside the cluster (${CLIENT.ip}) dials the node itself, ${NODE.ip}:${VIP.hostnameNodePort}. The node ` +
      'takes the place of the client towards the pod, so that the answer comes back the same way.',
  );
  const nodePort = await client.burst({
    protocol: 'tcp',
    host: NODE.ip,
    port: VIP.hostnameNodePort,
    count: 60,
  });
  claimAllAnswered(nodePort, 60);
  claim('spread over three pods', hasServers(nodePort, HOSTNAME_PODS), formatCounts(nodePort.servers));
  claim(
    "the pods saw the node's address, not the client's",
    hasOnlyPeer(nodePort, GATEWAY.ip),
    formatCounts(nodePort.peers),
  );
  say(`The load balancer's address, ${VIP.numbers}:8080, is served by the node as well.`);
  const balanced = await client.burst({ protocol: 'tcp', host: VIP.numbers, port: 8080, count: 60 });
  claimAllAnswered(balanced, 60);
  claim(
    'spread over two pods',
    hasServers(balanced, ['numbers-1', 'numbers-2']),
    formatCounts(balanced.servers),
  );
}

export async function playOtherKinds(cluster: Cluster): Promise<void> {
  const visitor = cluster.topology.pod('visitor').agent();
  chapter('UDP, IPv6, and a backend that Kubernetes did not find');
  for (const protocol of ['udp', 'tcp'] as const) {
    const dns = await visitor.probe({ protocol, host: VIP.dns, port: 53 });
    claim(
      `${VIP.dns}:53 answers over ${protocol.toUpperCase()}`,
      dns.server === 'dns',
      formatMs(dns.latencyMs),
    );
  }
  for (const host of VIP.dualStack) {
    const tally = await visitor.burst({ protocol: 'tcp', host, port: 8080, count: 60 });
    const family = host.includes(':') ? 'IPv6' : 'IPv4';
    claim(
      `dual-stack-web answers over ${family}`,
      tally.outcomes.reply === 60 && hasServers(tally, ['hostname-1', 'hostname-2']),
      formatCounts(tally.servers),
    );
    const own = family === 'IPv6' ? 'fd00:10:1::99' : '10.1.0.99';
    const node = family === 'IPv6' ? GATEWAY.ip6 : GATEWAY.ip;
    const address = cluster.mode === 'userspace' ? node : own;
    claim(`${family} all the way`, hasOnlyPeer(tally, address), `the pods saw ${formatCounts(tally.peers)}`);
  }
  say('external-db has no selector: its EndpointSlice was written by hand.');
  const database = await visitor.probe({ protocol: 'tcp', host: VIP.database, port: 3306 });
  claim(
    `${VIP.database}:3306 answers`,
    database.server === 'database',
    `${database.server ?? database.outcome}`,
  );
}

export async function playHairpin(cluster: Cluster): Promise<void> {
  chapter('Hairpin: a pod that dials its own service');
  say('hostname-1 dials the virtual IP. About every third connection is sent back to hostname-1 itself.');
  const tally = await cluster.topology
    .pod('hostname-1')
    .agent()
    .burst({ ...HOSTNAME, count: 90 });
  claimAllAnswered(tally, 90);
  claim('itself included', hasServers(tally, HOSTNAME_PODS), formatCounts(tally.servers));
  const fromNode = cluster.mode === 'userspace' ? 90 : tally.servers['hostname-1'];
  claim(
    "its own calls came back under the node's address, so that it answers to the node and not to itself",
    tally.peers[GATEWAY.ip] === fromNode,
    formatCounts(tally.peers),
  );
}

export async function playNothingThere(cluster: Cluster, leftAlone: readonly string[]): Promise<void> {
  chapter('Services with nothing behind them');
  say('nobody-home has an address and no pods. A client should learn that at once, not wait for a timeout.');
  const visitor = cluster.topology.pod('visitor').agent();
  claimRefused(await visitor.probe({ protocol: 'tcp', host: VIP.nobodyHome, port: 80 }));
  say(`Headless and ExternalName services live in DNS alone. Here: ${leftAlone.join(', ')}.`);
  const rows = await tableRows(cluster);
  const programmed = leftAlone.filter((name) => rows.some(({ service }) => service.split(':')[0] === name));
  claim('nothing was programmed for them', programmed.length === 0, programmed.join(', '));
}

export async function playTable(cluster: Cluster): Promise<void> {
  chapter('Looking at it');
  say('The table, read back from the kernel, with the connections so far:');
  const table = await runKproxy(cluster.topology.node, ['table']);
  show('kproxy-ts table', table.stdout);
  claim('the table was printed', table.status === 0, `${(await tableRows(cluster)).length} virtual IPs`);
  say(
    'The rules stay the same whatever the services are; only elements of maps differ. nft shows whose each is:',
  );
  const name = { nftables: TABLE, ipvs: GATE_TABLE, userspace: PORTAL_TABLE }[cluster.mode];
  const map = await cluster.onNode('nft', 'list', 'map', 'ip', name, 'services');
  show(`nft list map ip ${name} services`, map);
  claim('the services can be told by their names', map.includes('default/hostname-svc'), '');
}

export function claimRefused(reply: TimedReply): void {
  const isTrue = reply.outcome === 'refused' && reply.latencyMs < patient(500);
  claim('the connection is refused', isTrue, `${reply.outcome} after ${formatMs(reply.latencyMs)}`);
}

export function claimAllAnswered(tally: Tally, count: number): void {
  const isTrue = tally.outcomes.reply === count;
  const seen = isTrue
    ? `half of them within ${formatMs(tally.latencyMs.p50)}`
    : formatCounts(tally.outcomes as Record<string, number>);
  claim(`${count} of ${count} requests answered`, isTrue, seen);
}

export function hasServers(tally: Tally, names: readonly string[]): boolean {
  return Object.keys(tally.servers).sort().join() === names.join();
}

function hasOnlyPeer(tally: Tally, peer: string): boolean {
  return Object.keys(tally.peers).join() === peer;
}
