// The behaviour table's row: a cluster, this node's flags, a packet, and what becomes of it. Rows are written as
// statements about a cluster; each is expanded to the families and protocols it holds for. Some statements are about
// several connections, and a scenario may go on: the cluster changes, or time passes.

import type { IpFamily } from '../../src/model/ip.ts';
import type { Protocol } from '../../src/model/types.ts';
import { FAMILIES, node, PROTOCOLS } from './objects.ts';
import {
  type Addresses,
  CLUSTER_CIDRS,
  NODE_NAME,
  NODE_PORT,
  PLACES,
  type Place,
  sourceOf,
} from './world.ts';

/** Proxy modes that the table is run for; modes.ts has what runs them. */
export type ModeName = 'nftables' | 'iptables' | 'ipvs' | 'userspace';

/** Whom the backend sees: the sender by its own address, or an address of the node (masqueraded). */
export type Source = 'own' | 'node';

export type Outcome =
  | Balanced
  | Sticky
  | Hashed
  | Rotating
  /** An answer at once: TCP reset or ICMP port unreachable. */
  | { readonly kind: 'refused' }
  /** No answer at all. */
  | { readonly kind: 'dropped' }
  /** Not ours: goes where routes lead, unchanged. */
  | { readonly kind: 'passes' };

/** Endpoints by `place:port`; shares add up to 1. */
interface OverEndpoints {
  readonly endpoints: ReadonlyMap<string, Reached>;
}

export interface Reached {
  readonly source: Source;
  readonly share: number;
}

/** Each connection is balanced over these by chance, whatever was before. */
interface Balanced extends OverEndpoints {
  readonly kind: 'reaches';
}

/**
 * A client goes on with the endpoint that it had, if that is one of these. A client without one is balanced over them as
 * a single connection would be, and then goes on with what it got.
 */
interface Sticky extends OverEndpoints {
  readonly kind: 'sticks';
  /** What clients had is forgotten. */
  readonly isAnew: boolean;
  /** A client had what it got there; here unless given. */
  readonly like: Target | undefined;
}

/** Every client has an endpoint of its own, always the same; all of them together have all of these. */
interface Hashed extends OverEndpoints {
  readonly kind: 'hashes';
  /** Another node would choose the same. */
  readonly isEverywhere: boolean;
  /** Nearly all clients whose endpoint is still there go on with it. */
  readonly keepsMost: boolean;
}

/** Each connection goes to the next one. A period has each endpoint as often as its share says, in an order that stays. */
interface Rotating extends OverEndpoints {
  readonly kind: 'rotates';
  readonly period: number;
  /** Dialled between any two connections. */
  readonly meanwhile: Target | undefined;
}

/** Outcomes about more than one connection. */
export type Repeated = Sticky | Hashed | Rotating;

export function isRepeated(outcome: Outcome): outcome is Repeated {
  return outcome.kind === 'sticks' || outcome.kind === 'hashes' || outcome.kind === 'rotates';
}

/** What a packet is sent to. */
export interface Target {
  readonly addresses: Addresses;
  readonly port: number;
}

/** What one packet to a cluster comes to. */
export interface Statement {
  /** The rule, in words. */
  readonly says: string;
  readonly from: Place;
  readonly to: Target;
  readonly outcome: Outcome;
  /** Sent from this address, which the sender has for as long as that; from its usual one unless given. */
  readonly source?: Addresses;
  /** Both unless given. */
  readonly families?: readonly IpFamily[];
  /** All three unless given. */
  readonly protocols?: readonly Protocol[];
  /** Modes that are documented to differ. */
  readonly except?: readonly Exception[];
}

export interface Exception {
  readonly mode: ModeName;
  /** All of the statement's unless given. */
  readonly families?: readonly IpFamily[];
  readonly protocols?: readonly Protocol[];
  readonly outcome: Outcome;
  readonly why: string;
}

/** A cluster as its API objects tell it, how the daemon was started, and what holds then. */
export interface Scenario {
  readonly title: string;
  /** A Node is added unless there is one. */
  readonly objects: readonly object[];
  /** Of the daemon; in place of `--cluster-cidr` with CLUSTER_CIDRS. */
  readonly flags?: readonly string[];
  readonly statements: readonly Statement[];
  /** How it goes on: what happens, and what holds then. */
  readonly sequels?: readonly Sequel[];
  /** For the tracer alone: real packets would take their time to show what those of another scenario show. */
  readonly isTracedOnly?: boolean;
}

export interface Sequel {
  /** In words that follow the title: `an endpoint later`. */
  readonly when: string;
  /** All objects as they are now; as before unless given. */
  readonly objects?: readonly object[];
  /** Time that passes. */
  readonly waitSeconds?: number;
  readonly statements: readonly Statement[];
}

/** One state of the cluster, with everything filled in, and what holds in it. */
export interface Stage {
  readonly cluster: Cluster;
  /** Before the first row. */
  readonly waitSeconds: number;
  readonly rows: readonly Row[];
}

export interface Cluster {
  readonly title: string;
  readonly objects: readonly object[];
  readonly flags: readonly string[];
}

export interface Packet {
  readonly from: Place;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly family: IpFamily;
  readonly protocol: Protocol;
}

export interface Row {
  /** Unique in the table. */
  readonly name: string;
  readonly packet: Packet;
  readonly statement: Statement;
}

export const CLUSTER_CIDR_FLAG = `--cluster-cidr=${CLUSTER_CIDRS[4]},${CLUSTER_CIDRS[6]}`;

/** `nodeName` is the node that the daemon runs on. */
export function clusterOf(
  { title, objects, flags = [CLUSTER_CIDR_FLAG] }: Pick<Scenario, 'title' | 'objects' | 'flags'>,
  nodeName = NODE_NAME,
): Cluster {
  const hasNode = objects.some((object) => (object as { kind: string }).kind === 'Node');
  return {
    title,
    objects: hasNode ? objects : [node({ name: nodeName }), ...objects],
    flags: [`--hostname-override=${nodeName}`, ...flags],
  };
}

/** What a scenario says, in order. `nodeName` is the node that the daemon runs on. */
export function stagesOf(scenario: Scenario, nodeName = NODE_NAME): Stage[] {
  const { title, flags, statements, sequels = [] } = scenario;
  let { objects } = scenario;
  return [{ when: '', statements }, ...sequels].map((sequel: Sequel) => {
    objects = sequel.objects ?? objects;
    const stageTitle = sequel.when === '' ? title : `${title}, ${sequel.when}`;
    return {
      cluster: clusterOf({ title: stageTitle, objects, ...(flags && { flags }) }, nodeName),
      waitSeconds: sequel.waitSeconds ?? 0,
      rows: rowsOf(stageTitle, sequel.statements),
    };
  });
}

/** One row per family and protocol of each statement. */
function rowsOf(title: string, statements: readonly Statement[]): Row[] {
  return statements.flatMap((statement) =>
    (statement.families ?? FAMILIES).flatMap((family) =>
      (statement.protocols ?? PROTOCOLS).map((protocol) => {
        const { from, to, says } = statement;
        const destination = to.addresses[family];
        const source = statement.source?.[family] ?? sourceOf(from, destination, family);
        return {
          name: `${title}: ${says} (${protocol}, IPv${family})`,
          packet: { from, source, destination, port: to.port, family, protocol },
          statement,
        };
      }),
    ),
  );
}

export function outcomeFor({ packet, statement }: Row, mode: ModeName): Outcome {
  const exception = statement.except?.find(
    (one) =>
      one.mode === mode &&
      (one.families?.includes(packet.family) ?? true) &&
      (one.protocols?.includes(packet.protocol) ?? true),
  );
  const outcome = exception?.outcome ?? statement.outcome;
  return mode === 'userspace' && packet.protocol !== 'SCTP' ? throughProxy(outcome) : outcome;
}

/** Documented for userspace mode: an endpoint is dialled by this node, and sees nobody else. SCTP has no proxy. */
function throughProxy(outcome: Outcome): Outcome {
  if (!('endpoints' in outcome)) return outcome;
  const endpoints = [...outcome.endpoints].map(
    ([name, { share }]) => [name, { source: 'node', share }] as const,
  );
  return { ...outcome, endpoints: new Map(endpoints) };
}

export function says(
  rule: string,
  from: Place,
  to: Target,
  outcome: Outcome,
  options: Pick<Statement, 'families' | 'protocols' | 'source' | 'except'> = {},
): Statement {
  return { says: rule, from, to, outcome, ...options };
}

export const at = (addresses: Addresses, port = 80): Target => ({ addresses, port });
/** The node port of the table's Services, on the node's primary addresses unless others are given. */
export const nodePort = (addresses: Addresses = PLACES.node): Target => at(addresses, NODE_PORT);

export const REFUSED: Outcome = { kind: 'refused' };
export const DROPPED: Outcome = { kind: 'dropped' };
export const PASSES: Outcome = { kind: 'passes' };

/** `local-1`, or `local-1:8081` for another port than 8080. */
export type EndpointName = Place | `${Place}:${number}`;

/** Endpoints that all see the same kind of source; or each its own, by name. All have equal shares. */
export type EndpointSources = readonly EndpointName[] | Readonly<Partial<Record<EndpointName, Source>>>;

/** Equal shares of these endpoints. */
export function reaches(endpoints: EndpointSources, source: Source = 'own'): Balanced {
  return { kind: 'reaches', endpoints: equalShares(endpoints, source) };
}

/** As `reaches`, with the node's address in place of the sender's. */
export const masqueraded = (endpoints: readonly EndpointName[]): Balanced => reaches(endpoints, 'node');

/** Shares in proportion to weights, by chance. */
export function weighted(weights: Weights, source: Source = 'own'): Balanced {
  return { kind: 'reaches', endpoints: sharesOf(weights, source) };
}

export type Weights = Readonly<Partial<Record<EndpointName, number>>>;

export function sticks(
  endpoints: EndpointSources,
  source: Source = 'own',
  { isAnew = false, like }: Partial<Pick<Sticky, 'isAnew' | 'like'>> = {},
): Sticky {
  return { kind: 'sticks', endpoints: equalShares(endpoints, source), isAnew, like };
}

/** As `sticks`, what was before being forgotten. */
export const sticksAnew = (endpoints: EndpointSources, source: Source = 'own'): Sticky =>
  sticks(endpoints, source, { isAnew: true });

export function hashes(
  endpoints: EndpointSources,
  source: Source = 'own',
  { isEverywhere = false, keepsMost = false }: Partial<Pick<Hashed, 'isEverywhere' | 'keepsMost'>> = {},
): Hashed {
  return { kind: 'hashes', endpoints: equalShares(endpoints, source), isEverywhere, keepsMost };
}

/** In turn; an endpoint of weight 2 has two turns. */
export function rotates(
  endpoints: readonly EndpointName[] | Weights,
  source: Source = 'own',
  meanwhile?: Target,
): Rotating {
  const weights: Weights = Array.isArray(endpoints)
    ? Object.fromEntries((endpoints as readonly EndpointName[]).map((name) => [name, 1]))
    : (endpoints as Weights);
  const period = sum(Object.values(weights as Record<string, number>));
  return { kind: 'rotates', endpoints: sharesOf(weights, source), period, meanwhile };
}

function equalShares(endpoints: EndpointSources, source: Source): OverEndpoints['endpoints'] {
  const sources = Array.isArray(endpoints)
    ? (endpoints as readonly EndpointName[]).map((name) => [name, source] as const)
    : (Object.entries(endpoints) as [EndpointName, Source][]);
  const share = 1 / sources.length;
  return new Map(sources.map(([name, one]) => [endpointName(name), { source: one, share }]));
}

function sharesOf(weights: Weights, source: Source): OverEndpoints['endpoints'] {
  const entries = Object.entries(weights) as [EndpointName, number][];
  const total = sum(entries.map(([, weight]) => weight));
  return new Map(entries.map(([name, weight]) => [endpointName(name), { source, share: weight / total }]));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

function endpointName(name: EndpointName): string {
  return name.includes(':') ? name : `${name}:8080`;
}

/** An outcome as text, for comparison and for humans: `local-1:8080 sees own 0.500`. */
export function formatOutcome(outcome: Outcome): string[] {
  if (!('endpoints' in outcome)) return [outcome.kind];
  const lines = [...outcome.endpoints]
    .map(([name, { source, share }]) => `${name} sees ${source} ${share.toFixed(3)}`)
    .sort();
  return outcome.kind === 'reaches' ? lines : [outcome.kind, ...lines];
}
