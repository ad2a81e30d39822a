// Judges outcomes about several connections by making them, whoever makes them: the tracer or real sockets.

import {
  formatOutcome,
  isRepeated,
  type Outcome,
  type Packet,
  type Reached,
  type Repeated,
  type Source,
  type Target,
} from './row.ts';
import { type Addresses, PLACES } from './world.ts';

/** What one connection came to. */
export interface Landing {
  /** `place:port`; undefined when it did not get through. */
  readonly endpoint: string | undefined;
  /** True when the endpoint may take what it sees for this. */
  sees(source: Source): boolean;
  /** In words, for complaints. */
  readonly told: string;
}

export interface Prober {
  connect(packet: Packet): Promise<Landing>;
  /** What one connection would come to; missing where nobody can tell without making it. */
  chances?(packet: Packet): Outcome;
}

/** What is known of the clients of a scenario as it goes on. */
export class Memory {
  /** Who they are where they are many; nobody where senders are themselves. */
  readonly crowd: readonly Addresses[];
  /** The endpoint that each client had last, per target. */
  readonly #endpoints = new Map<string, string>();

  constructor(crowd: readonly Addresses[]) {
    this.crowd = crowd;
  }

  endpointOf(client: Packet, target?: Target): string | undefined {
    return this.#endpoints.get(memoryKey(client, target));
  }

  /** How many of the crowd had one. Who goes on must be asked each time, or may be forgotten meanwhile. */
  countKnown(client: Packet): number {
    return this.crowd.filter(
      (addresses) => this.endpointOf({ ...client, source: addresses[client.family] }) !== undefined,
    ).length;
  }

  note(client: Packet, endpoint: string): void {
    this.#endpoints.set(memoryKey(client), endpoint);
  }
}

type Endpoints = ReadonlyMap<string, Reached>;

/** Connections of one client. */
const DIALS = 2;
/** Clients, where what a connection comes to can be told without making it. */
const TOLD_CLIENTS = 8;
/** Clients at once; rounds go on until every endpoint was seen, or it is certain that one is missing. */
const CLIENTS_AT_ONCE = 8;
const HASHED_CLIENTS = 48;
/** Share of clients that go on with their endpoint when another one goes: what Maglev promises, and no simple hash. */
const MOST = 0.75;
const MISS_CHANCE = 1e-7;

/** What is wrong, undefined if nothing is. `memory` is of the whole scenario. */
export async function judgeRepeated(
  prober: Prober,
  packet: Packet,
  outcome: Repeated,
  memory: Memory,
): Promise<string | undefined> {
  switch (outcome.kind) {
    case 'sticks':
      return judgeSticky(prober, packet, outcome, memory);
    case 'hashes':
      return judgeHashed(prober, packet, outcome, memory);
    case 'rotates':
      return judgeRotating(prober, packet, outcome);
  }
}

type OutcomeOf<Kind> = Extract<Outcome, { kind: Kind }>;

async function judgeSticky(
  prober: Prober,
  packet: Packet,
  { endpoints, isAnew, like }: OutcomeOf<'sticks'>,
  memory: Memory,
): Promise<string | undefined> {
  const strangers: string[] = [];
  const judgeOne = async (client: Packet): Promise<string | undefined> => {
    const had = isAnew ? undefined : memory.endpointOf(client, like);
    let own = had !== undefined && endpoints.has(had) ? had : undefined;
    const doubt = doubtChances(prober, client, own === undefined ? endpoints : only(own, endpoints));
    if (doubt !== undefined) return doubt;
    const isStranger = own === undefined;
    for (let i = 0; i < DIALS; i++) {
      const landing = await prober.connect(client);
      const wrong = complaint(landing, endpoints);
      if (wrong !== undefined) return wrong;
      own ??= landing.endpoint!;
      if (landing.endpoint !== own) return `${client.source} had ${own} and gets ${landing.endpoint}`;
    }
    if (isStranger) strangers.push(own!);
    memory.note(client, own!);
    return undefined;
  };
  const enough = prober.chances === undefined ? enoughFor(endpoints) : TOLD_CLIENTS;
  const known = memory.countKnown(packet);
  const crowd = crowdOf(packet, memory, Math.max(enough, known));
  for (let asked = 0; asked < crowd.length; ) {
    const round = crowd.slice(asked, asked + CLIENTS_AT_ONCE);
    const wrong = (await Promise.all(round.map(judgeOne))).find((one) => one !== undefined);
    if (wrong !== undefined) return wrong;
    asked += round.length;
    if (asked >= known && missing(strangers, endpoints) === undefined) return undefined;
  }
  return strangers.length < enoughFor(endpoints) ? undefined : missing(strangers, endpoints);
}

async function judgeHashed(
  prober: Prober,
  packet: Packet,
  { endpoints, keepsMost }: OutcomeOf<'hashes'>,
  memory: Memory,
): Promise<string | undefined> {
  const seen: string[] = [];
  let [stayed, might] = [0, 0];
  const judgeOne = async (client: Packet): Promise<string | undefined> => {
    let own: string | undefined;
    for (let i = 0; i < DIALS; i++) {
      const landing = await prober.connect(client);
      const wrong = complaint(landing, endpoints);
      if (wrong !== undefined) return wrong;
      own ??= landing.endpoint!;
      if (landing.endpoint !== own) return `${client.source} gets ${own}, then ${landing.endpoint}`;
    }
    const doubt = doubtChances(prober, client, only(own!, endpoints));
    if (doubt !== undefined) return doubt;
    const had = memory.endpointOf(client);
    if (had !== undefined && endpoints.has(had)) {
      might++;
      if (had === own) stayed++;
    }
    memory.note(client, own!);
    seen.push(own!);
    return undefined;
  };
  const crowd = crowdOf(packet, memory, HASHED_CLIENTS);
  const wrong = (await Promise.all(crowd.map(judgeOne))).find((one) => one !== undefined);
  if (wrong !== undefined || crowd.length === 1) return wrong;
  if (keepsMost && stayed < might * MOST) return `only ${stayed} of ${might} clients stay`;
  return missing(seen, endpoints);
}

/** Whether another node leads clients where `memory` has them. */
export async function judgeElsewhere(
  prober: Prober,
  packet: Packet,
  memory: Memory,
): Promise<string | undefined> {
  for (const client of crowdOf(packet, memory, HASHED_CLIENTS)) {
    const here = memory.endpointOf(client);
    const { endpoint, told } = await prober.connect(client);
    if (endpoint !== here) return `${client.source} gets ${here}, but ${endpoint ?? told} on another node`;
  }
  return undefined;
}

async function judgeRotating(
  prober: Prober,
  packet: Packet,
  { endpoints, period, meanwhile }: OutcomeOf<'rotates'>,
): Promise<string | undefined> {
  const turns: string[] = [];
  for (let i = 0; i < 2 * period; i++) {
    const landing = await prober.connect(packet);
    const wrong = complaint(landing, endpoints);
    if (wrong !== undefined) return wrong;
    turns.push(landing.endpoint!);
    if (meanwhile !== undefined) {
      const { endpoint, told } = await prober.connect(towards(packet, meanwhile));
      if (endpoint === undefined) return `meanwhile ${told}`;
    }
  }
  const first = turns.slice(0, period);
  for (const [name, { share }] of endpoints) {
    const count = first.filter((one) => one === name).length;
    if (count !== Math.round(share * period)) return `has turns ${turns}`;
  }
  return first.every((one, i) => turns[i + period] === one) ? undefined : `changes its order: ${turns}`;
}

/** What is wrong with where a connection landed, undefined if nothing is. */
export function complaint({ endpoint, sees, told }: Landing, endpoints: Endpoints): string | undefined {
  const expected = endpoint === undefined ? undefined : endpoints.get(endpoint);
  if (expected === undefined) return `${told} instead of reaching ${[...endpoints.keys()]}`;
  return sees(expected.source) ? undefined : `${told} instead of as ${expected.source}`;
}

/** How many connections balanced by chance surely reach each of them. */
export function enoughFor(endpoints: Endpoints): number {
  const shares = [...endpoints.values()].map(({ share }) => share);
  const missChance = (count: number): number =>
    shares.reduce((total, share) => total + (1 - share) ** count, 0);
  let count = 1;
  while (missChance(count) > MISS_CHANCE) count++;
  return count;
}

function missing(seen: readonly string[], endpoints: Endpoints): string | undefined {
  const unseen = [...endpoints.keys()].filter((name) => !seen.includes(name));
  return unseen.length === 0 ? undefined : `${seen.length} clients, none of which gets ${unseen}`;
}

/** As many clients as are asked for where the sender can be many, or else itself. */
function crowdOf(packet: Packet, { crowd }: Memory, size: number): Packet[] {
  const { from, source, family } = packet;
  if (from !== 'client' || source !== PLACES.client[family] || crowd.length === 0) return [packet];
  // Fewer than would surely show a small share: what they show must still fit.
  return crowd
    .slice(0, Math.min(size, crowd.length))
    .map((addresses) => ({ ...packet, source: addresses[family] }));
}

function memoryKey(packet: Packet, target?: Target): string {
  const { source, destination, port, protocol } = target === undefined ? packet : towards(packet, target);
  return `${source} ${destination} ${port}/${protocol}`;
}

function towards(packet: Packet, { addresses, port }: Target): Packet {
  return { ...packet, destination: addresses[packet.family], port };
}

/** Compares what a connection would come to, where that can be told. */
function doubtChances(prober: Prober, packet: Packet, endpoints: Endpoints): string | undefined {
  const told = prober.chances?.(packet);
  if (told === undefined || isRepeated(told)) return undefined;
  const [is, shall] = [told, { kind: 'reaches', endpoints } as const].map((one) => formatOutcome(one).join());
  return is === shall ? undefined : `${packet.source} comes to ${is} instead of ${shall}`;
}

function only(name: string, endpoints: Endpoints): Endpoints {
  const reached = endpoints.get(name);
  return new Map(reached === undefined ? [] : [[name, { ...reached, share: 1 }]]);
}
