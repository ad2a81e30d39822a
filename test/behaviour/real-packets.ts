// Sends what a row says as real connections and judges what became of them.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Target } from '../support/netns/traffic.ts';
import { formatOutcome, type Outcome, type Packet } from './row.ts';
import type { TwoNodes } from './two-nodes.ts';
import { isNodeAddress, NODE_ADDRESSES, PLACES, type Place, POD_GATEWAY, TO_REMOTE_NODE } from './world.ts';

/** Connections per round; rounds go on until every endpoint was seen, or it is certain that one is missing. */
const ROUND = 24;
const MAX_ROUNDS = 8;
/** Silence of this length is a drop: an answer takes a millisecond. */
const SILENCE_MS = 300;

/** What this kernel has sockets for, and what can be told apart from outside. */
function isSendable({ protocol, from, destination }: Packet, { kind }: Outcome): boolean {
  if (protocol === 'SCTP') return false;
  // To see a foreign packet pass, the client must be the one who gets it.
  return !(kind === 'passes' && from === 'client' && !isNodeAddress(destination));
}

export interface Probe {
  readonly name: string;
  readonly packet: Packet;
  readonly outcome: Outcome;
}

/** What is wrong with how packets fare. Those that cannot be sent are left out. */
export async function judgeAll(nodes: TwoNodes, probes: readonly Probe[]): Promise<string[]> {
  const wrong: string[] = [];
  const run = async ({ name, packet, outcome }: Probe): Promise<void> => {
    const complaint = await judge(nodes, packet, outcome);
    if (complaint !== undefined) wrong.push(`${name}: ${complaint}`);
  };
  const sendable = probes.filter(({ packet, outcome }) => isSendable(packet, outcome));
  const isAlone = ({ outcome }: Probe): boolean => outcome.kind === 'passes';
  await Promise.all(sendable.filter((probe) => !isAlone(probe)).map(run));
  // Witnesses take addresses that others may dial.
  for (const probe of sendable.filter(isAlone)) await run(probe);
  return wrong.sort();
}

async function judge(nodes: TwoNodes, packet: Packet, outcome: Outcome): Promise<string | undefined> {
  switch (outcome.kind) {
    case 'reaches':
      return judgeReach(nodes, packet, outcome);
    case 'passes':
      return judgePassing(nodes, packet);
    default:
      return judgeSilence(nodes, packet, outcome.kind);
  }
}

async function judgeReach(
  nodes: TwoNodes,
  packet: Packet,
  outcome: Extract<Outcome, { kind: 'reaches' }>,
): Promise<string | undefined> {
  const expected = [...outcome.endpoints.keys()].sort();
  const seen: Record<string, number> = {};
  for (let round = 0; round < MAX_ROUNDS; round++) {
    for (const { outcome: fate, server = '', peer = '', code } of await replies(nodes, packet)) {
      if (fate !== 'reply') return `${fate} (${code}) instead of ${formatOutcome(outcome)}`;
      const reached = outcome.endpoints.get(server);
      if (reached === undefined) return `reaches ${server} instead of ${formatOutcome(outcome)}`;
      const sources = sourcesOf(reached.source, packet, server);
      if (!sources.includes(peer)) return `${server} sees ${peer} instead of ${sources}`;
      seen[server] = (seen[server] ?? 0) + 1;
    }
    if (Object.keys(seen).length === expected.length) return undefined;
  }
  return `reaches ${JSON.stringify(seen)} instead of all of ${expected}`;
}

async function replies(nodes: TwoNodes, packet: Packet) {
  const agent = nodes.agent(packet.from);
  return Promise.all(Array.from({ length: ROUND }, () => agent.probe(targetOf(packet, 3000))));
}

/** What the server may call its client. */
function sourcesOf(source: 'own' | 'node', { source: own, family }: Packet, server: string): string[] {
  if (source === 'own') return [own];
  const place = server.slice(0, server.indexOf(':')) as Place;
  if (place === 'node') return NODE_ADDRESSES.map((pair) => pair[family]);
  return [towards(place)[family]];
}

/** The node's address on its link to a place. */
function towards(place: Place) {
  if (place === 'client') return PLACES.node;
  return place.startsWith('remote') ? TO_REMOTE_NODE : POD_GATEWAY;
}

async function judgeSilence(
  nodes: TwoNodes,
  packet: Packet,
  kind: 'refused' | 'dropped',
): Promise<string | undefined> {
  const reply = await nodes.agent(packet.from).probe(targetOf(packet, SILENCE_MS));
  // A datagram that does not leave the host fails right in sendto(2), whether it is refused or dropped.
  if (packet.from === 'node' && packet.protocol === 'UDP' && reply.code === 'EPERM') return undefined;
  const fate = reply.outcome === 'timeout' ? 'dropped' : reply.outcome;
  return fate === kind ? undefined : `${fate} (${reply.code ?? reply.server}) instead of ${kind}`;
}

/** Puts a witness where the packet goes when nobody touches it. */
async function judgePassing(nodes: TwoNodes, packet: Packet): Promise<string | undefined> {
  const { destination, port, protocol, family } = packet;
  const place = placeOf(destination, family);
  const isElsewhere = place === 'client' && destination !== PLACES.client[family];
  const netns = nodes.netns(place);
  const prefix = family === 4 ? 32 : 128;
  const isServed = destination === PLACES[place][family] && port === 8080;
  const server = isServed ? `${place}:${port}` : 'witness';
  if (isElsewhere)
    await netns.ip(`address add ${destination}/${prefix} dev lo${family === 6 ? ' nodad' : ''}`);
  let stop: (() => Promise<void>) | undefined;
  try {
    if (!isServed) {
      const served = protocol === 'UDP' ? 'udp' : 'tcp';
      stop = await netns.agent().serve({ protocol: served, port, name: server, address: destination });
    }
    // The kernel makes the route of a new IPv6 address a moment after the address.
    let reply = await nodes.agent(packet.from).probe(targetOf(packet, SILENCE_MS));
    for (let i = 0; i < 5 && reply.outcome === 'timeout'; i++)
      reply = await nodes.agent(packet.from).probe(targetOf(packet, SILENCE_MS));
    if (reply.server !== server) return `${reply.outcome} ${reply.code ?? reply.server} instead of passing`;
    return reply.peer === packet.source ? undefined : `passes as ${reply.peer}`;
  } finally {
    await stop?.();
    if (isElsewhere) await netns.ip(`address delete ${destination}/${prefix} dev lo`);
  }
}

/** Who has an address; what nobody has is outside. */
function placeOf(address: string, family: IpFamily): Place {
  if (isNodeAddress(address)) return 'node';
  const found = (Object.keys(PLACES) as Place[]).find((place) => PLACES[place][family] === address);
  return found ?? 'client';
}

function targetOf({ protocol, destination, port }: Packet, timeoutMs: number): Target {
  return { protocol: protocol === 'UDP' ? 'udp' : 'tcp', host: destination, port, timeoutMs };
}
