// Sends what a row says as real connections and judges what became of them.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Reply, Target } from '../support/netns/traffic.ts';
import { patient } from '../support/patience.ts';
import { complaint, enoughFor, judgeElsewhere, judgeRepeated, type Landing, type Memory } from './judge.ts';
import { formatOutcome, isRepeated, type Outcome, type Packet } from './row.ts';
import { type TwoNodes, trafficProtocol } from './two-nodes.ts';
import {
  isNodeAddress,
  NEIGHBOURS,
  NODE_ADDRESSES,
  PLACES,
  type Place,
  POD_GATEWAY,
  sourceOf,
  TO_REMOTE_NODE,
} from './world.ts';

/**
 * How connections are balanced over endpoints where no scheduler is asked for. Shares of chance are measured by hundreds of connections,
 * unless that is left to others.
 */
export type Balancing = 'by chance' | 'by chance, not measured' | 'in turn';

/** In turn, so many times as there are endpoints show all of them, and one that should not be there. */
const TURNS = 2;
/** Connections per round to so many endpoints; rounds go on until every one was seen, or it is certain that one is missing. */
const ROUND: Readonly<Record<Balancing, (endpoints: number) => number>> = {
  'by chance': () => 24,
  'by chance, not measured': () => 8,
  'in turn': (endpoints) => TURNS * endpoints,
};
/** Rows that are tried at once: a server that is asked too much loses datagrams. */
const CONCURRENCY = 6;
/** Connections to measure shares by: one that is off by a fifth is surely seen, or by a half where turns leave less to chance. */
const SAMPLE = { 'by chance': 400, 'in turn': 64 } as const;
/** Standard deviations that chance is granted; so far off is one sample of a million. */
const TOLERANCE = 5;
/** Silence of this length is a drop: an answer takes a millisecond, or some ten where the processor is emulated. */
const SILENCE_MS = 300;
const REPLY_MS = patient(3000);

/** What there are servers for, and what can be told apart from outside. */
function isSendable(
  { protocols }: TwoNodes,
  { protocol, from, destination }: Packet,
  { kind }: Outcome,
): boolean {
  if (!protocols.includes(protocol)) return false;
  // To see a foreign packet pass, the client must be the one who gets it.
  return !(kind === 'passes' && from === 'client' && !isNodeAddress(destination));
}

/** Witnesses and senders take addresses that others may dial; turns are counted. */
function isAlone({ packet, outcome }: Probe): boolean {
  return outcome.kind === 'passes' || outcome.kind === 'rotates' || isBorrowed(packet);
}

/** Who is alone is so among those of one family and protocol: turns, witnesses and addresses of others are others. */
function lanesOf(probes: readonly Probe[]): Probe[][] {
  const lanes = new Map<string, Probe[]>();
  for (const probe of probes) {
    const lane = `${probe.packet.family} ${probe.packet.protocol}`;
    lanes.set(lane, [...(lanes.get(lane) ?? []), probe]);
  }
  return [...lanes.values()];
}

/** True when the sender has the address only for this packet. */
function isBorrowed({ from, source, destination, family }: Packet): boolean {
  return (
    source !== sourceOf(from, destination, family) &&
    !NEIGHBOURS.some((addresses) => addresses[family] === source)
  );
}

export interface Probe {
  readonly name: string;
  readonly packet: Packet;
  readonly outcome: Outcome;
}

/**
 * What is wrong with how packets fare. Those that cannot be sent are left out. `memory` is of all stages of a scenario.
 */
export async function judgeAll(
  nodes: TwoNodes,
  probes: readonly Probe[],
  memory: Memory,
  balancing: Balancing = 'by chance',
): Promise<string[]> {
  const wrong: string[] = [];
  const run = async ({ name, packet, outcome }: Probe): Promise<void> => {
    const complaint = await nodes.withAddress(
      packet.from,
      isBorrowed(packet) ? packet.source : undefined,
      () => judge(nodes, packet, outcome, memory, balancing),
    );
    if (complaint !== undefined) wrong.push(`${name}: ${complaint}`);
  };
  const sendable = probes.filter(({ packet, outcome }) => isSendable(nodes, packet, outcome));
  const [alone, together] = partition(sendable, isAlone);
  const [silent, talking] = partition(together, ({ outcome }) => !('endpoints' in outcome));
  const waiting = talking.values();
  const worker = async (): Promise<void> => {
    for (const probe of waiting) await run(probe);
  };
  await Promise.all([...silent.map(run), ...Array.from({ length: CONCURRENCY }, worker)]);
  await Promise.all(
    lanesOf(alone).map(async (lane) => {
      for (const probe of lane) await run(probe);
    }),
  );
  return wrong.sort();
}

/** What is wrong with where clients get now that another node has the cluster, where that must not matter. */
export async function judgeAllElsewhere(
  nodes: TwoNodes,
  probes: readonly Probe[],
  memory: Memory,
): Promise<string[]> {
  const prober = { connect: (packet: Packet) => connect(nodes, packet) };
  const judged = probes.filter(
    (probe) => isEverywhere(probe) && isSendable(nodes, probe.packet, probe.outcome),
  );
  const wrong = await Promise.all(
    judged.map(async ({ name, packet }) => {
      const complaint = await judgeElsewhere(prober, packet, memory);
      return complaint === undefined ? [] : [`${name}: ${complaint}`];
    }),
  );
  return wrong.flat();
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

export function isEverywhere({ outcome }: Probe): boolean {
  return outcome.kind === 'hashes' && outcome.isEverywhere;
}

async function judge(
  nodes: TwoNodes,
  packet: Packet,
  outcome: Outcome,
  memory: Memory,
  balancing: Balancing,
): Promise<string | undefined> {
  if (isRepeated(outcome))
    return judgeRepeated({ connect: (one) => connect(nodes, one) }, packet, outcome, memory);
  switch (outcome.kind) {
    case 'reaches':
      return judgeReach(nodes, packet, outcome, balancing);
    case 'passes':
      return judgePassing(nodes, packet);
    default:
      return judgeSilence(nodes, packet, outcome.kind);
  }
}

async function connect(nodes: TwoNodes, packet: Packet): Promise<Landing> {
  return landingOf(packet, await nodes.agent(packet.from).probe(targetOf(packet, REPLY_MS)));
}

/** Asked for as one: where the processor is emulated, to be told of each is what takes longest. */
async function connectTimes(nodes: TwoNodes, packet: Packet, count: number): Promise<Landing[]> {
  const replies = await nodes.agent(packet.from).probes(targetOf(packet, REPLY_MS), count);
  return replies.map((reply) => landingOf(packet, reply));
}

function landingOf(packet: Packet, { outcome, server, peer, code }: Reply): Landing {
  if (outcome !== 'reply' || server === undefined || peer === undefined)
    return { endpoint: undefined, sees: () => false, told: `${outcome} (${code})` };
  return {
    endpoint: server,
    sees: (source) => sourcesOf(source, packet, server).includes(peer),
    told: `reaches ${server}, which sees ${peer},`,
  };
}

async function judgeReach(
  nodes: TwoNodes,
  packet: Packet,
  { endpoints }: Extract<Outcome, { kind: 'reaches' }>,
  balancing: Balancing,
): Promise<string | undefined> {
  const shares = [...endpoints.values()].map(({ share }) => share);
  const isMeasured = balancing !== 'by chance, not measured' && Math.max(...shares) !== Math.min(...shares);
  const round = ROUND[balancing](endpoints.size);
  const most = isMeasured ? SAMPLE[balancing] : enoughFor(endpoints) + round;
  const seen = new Map([...endpoints.keys()].map((name) => [name, 0]));
  let count = 0;
  while (count < most) {
    for (const landing of await connectTimes(nodes, packet, round)) {
      const wrong = complaint(landing, endpoints);
      if (wrong !== undefined) return wrong;
      seen.set(landing.endpoint!, seen.get(landing.endpoint!)! + 1);
    }
    count += round;
    if (!isMeasured && ![...seen.values()].includes(0)) return undefined;
  }
  const isLikely = [...endpoints].every(([name, { share }]) => {
    const deviation = Math.sqrt(count * share * (1 - share));
    return Math.abs(seen.get(name)! - count * share) <= TOLERANCE * deviation;
  });
  if (isMeasured && isLikely) return undefined;
  return `reaches ${JSON.stringify([...seen])} instead of ${formatOutcome({ kind: 'reaches', endpoints })}`;
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
  const reply = await nodes
    .agent(packet.from)
    .probe(targetOf(packet, kind === 'dropped' ? SILENCE_MS : REPLY_MS));
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
  const isServed = destination === PLACES[place][family] && port === 8080;
  const server = isServed ? `${place}:${port}` : 'witness';
  return nodes.withAddress(place, isElsewhere ? destination : undefined, async () => {
    const witness = { protocol: trafficProtocol(protocol), port, name: server, address: destination };
    const stop = isServed ? undefined : await nodes.agent(place).serve(witness);
    try {
      // The kernel makes the route of a new IPv6 address a moment after the address.
      const target = targetOf(packet, patient(SILENCE_MS));
      let reply = await nodes.agent(packet.from).probe(target);
      for (let i = 0; i < 5 && reply.outcome === 'timeout'; i++)
        reply = await nodes.agent(packet.from).probe(target);
      if (reply.server !== server) return `${reply.outcome} ${reply.code ?? reply.server} instead of passing`;
      return reply.peer === packet.source ? undefined : `passes as ${reply.peer}`;
    } finally {
      await stop?.();
    }
  });
}

/** Who has an address; what nobody has is outside. */
function placeOf(address: string, family: IpFamily): Place {
  if (isNodeAddress(address)) return 'node';
  const found = (Object.keys(PLACES) as Place[]).find((place) => PLACES[place][family] === address);
  return found ?? 'client';
}

function targetOf(packet: Packet, timeoutMs: number): Target {
  const { from, source, protocol, destination, port, family } = packet;
  const isUsual = source === sourceOf(from, destination, family);
  return {
    protocol: trafficProtocol(protocol),
    host: destination,
    port,
    timeoutMs,
    ...(!isUsual && { localAddress: source }),
  };
}
