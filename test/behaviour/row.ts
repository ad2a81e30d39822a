// The behaviour table's row: a cluster, this node's flags, a packet, and what becomes of it. Rows are written as
// statements about a cluster; each is expanded to the families and protocols it holds for.

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
export type ModeName = 'nftables';

/** Whom the backend sees: the sender by its own address, or an address of the node (masqueraded). */
export type Source = 'own' | 'node';

export type Outcome =
  /** Balanced over these, by `place:port`; shares add up to 1. */
  | { readonly kind: 'reaches'; readonly endpoints: ReadonlyMap<string, Reached> }
  /** An answer at once: TCP reset or ICMP port unreachable. */
  | { readonly kind: 'refused' }
  /** No answer at all. */
  | { readonly kind: 'dropped' }
  /** Not ours: goes where routes lead, unchanged. */
  | { readonly kind: 'passes' };

export interface Reached {
  readonly source: Source;
  readonly share: number;
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
  /** Both unless given. */
  readonly families?: readonly IpFamily[];
  /** All three unless given. */
  readonly protocols?: readonly Protocol[];
  /** Modes that are documented to differ. */
  readonly except?: readonly { readonly mode: ModeName; readonly outcome: Outcome; readonly why: string }[];
}

/** A cluster as its API objects tell it, how the daemon was started, and what holds then. */
export interface Scenario {
  readonly title: string;
  /** A Node is added unless there is one. */
  readonly objects: readonly object[];
  /** Of the daemon; in place of `--cluster-cidr` with CLUSTER_CIDRS. */
  readonly flags?: readonly string[];
  readonly statements: readonly Statement[];
}

/** A scenario with everything filled in. */
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
/** What every daemon of the table is told. */
export const NODE_FLAGS = [`--hostname-override=${NODE_NAME}`];

export function clusterOf({ title, objects, flags = [CLUSTER_CIDR_FLAG] }: Scenario): Cluster {
  const hasNode = objects.some((object) => (object as { kind: string }).kind === 'Node');
  return { title, objects: hasNode ? objects : [node(), ...objects], flags: [...NODE_FLAGS, ...flags] };
}

/** One row per family and protocol of each statement. */
export function rowsOf(scenario: Scenario): Row[] {
  return scenario.statements.flatMap((statement) =>
    (statement.families ?? FAMILIES).flatMap((family) =>
      (statement.protocols ?? PROTOCOLS).map((protocol) => {
        const { from, to, says } = statement;
        const destination = to.addresses[family];
        const source = sourceOf(from, destination, family);
        return {
          name: `${scenario.title}: ${says} (${protocol}, IPv${family})`,
          packet: { from, source, destination, port: to.port, family, protocol },
          statement,
        };
      }),
    ),
  );
}

export function outcomeFor(statement: Statement, mode: ModeName): Outcome {
  return statement.except?.find((one) => one.mode === mode)?.outcome ?? statement.outcome;
}

export function says(
  rule: string,
  from: Place,
  to: Target,
  outcome: Outcome,
  options: Pick<Statement, 'families' | 'protocols' | 'except'> = {},
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

/** Equal shares of these endpoints, which all see the same kind of source; or each its own, by name. */
export function reaches(
  endpoints: readonly EndpointName[] | Readonly<Partial<Record<EndpointName, Source>>>,
  source: Source = 'own',
): Outcome {
  const sources = Array.isArray(endpoints)
    ? (endpoints as readonly EndpointName[]).map((name) => [name, source] as const)
    : (Object.entries(endpoints) as [EndpointName, Source][]);
  const share = 1 / sources.length;
  return {
    kind: 'reaches',
    endpoints: new Map(sources.map(([name, one]) => [endpointName(name), { source: one, share }])),
  };
}

/** As `reaches`, with the node's address in place of the sender's. */
export const masqueraded = (endpoints: readonly EndpointName[]): Outcome => reaches(endpoints, 'node');

function endpointName(name: EndpointName): string {
  return name.includes(':') ? name : `${name}:8080`;
}

/** An outcome as text, for comparison and for humans: `local-1:8080 sees own 0.500`. */
export function formatOutcome(outcome: Outcome): string[] {
  if (outcome.kind !== 'reaches') return [outcome.kind];
  return [...outcome.endpoints]
    .map(([name, { source, share }]) => `${name} sees ${source} ${share.toFixed(3)}`)
    .sort();
}
