// The behaviour table with real packets: the daemon on a node, and real connections between namespaces.

import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Protocol } from '../../src/model/types.ts';
import { patient } from '../support/patience.ts';
import { arbitraryPacket, arbitraryScenario } from './arbitrary-cluster.ts';
import { Memory } from './judge.ts';
import { MODES } from './modes.ts';
import { ProxyUnderTest } from './proxy-under-test.ts';
import { type Balancing, isEverywhere, judgeAll, judgeAllElsewhere, type Probe } from './real-packets.ts';
import {
  type Cluster,
  clusterOf,
  isRepeated,
  type ModeName,
  outcomeFor,
  type Packet,
  type Scenario,
  type Stage,
  stagesOf,
} from './row.ts';
import { SCENARIOS } from './rows.ts';
import { TwoNodes } from './two-nodes.ts';
import { CROWDS, crowd, REMOTE_NODE_NAME } from './world.ts';

/** What of the table is run in one mode. */
export interface PacketSuite {
  readonly mode: ModeName;
  /** Rows over others are left out. */
  readonly protocols: readonly Protocol[];
  /** One of two halves of the scenarios, for two worlds at once; all of them unless given. */
  readonly half?: 'first' | 'second';
  /** All that are not for the tracer alone unless given. */
  readonly isChosen?: (scenario: Scenario) => boolean;
  /** `by chance` unless given. */
  readonly balancing?: Balancing;
  /** Number of random clusters, after the table. */
  readonly randomClusters: number;
}

/** Packets to each random cluster. */
const PROBES = 20;

/** Scenarios of the same flags follow each other, so that the daemon goes on from one to the next. */
const flagsOf = (scenario: Scenario): string => clusterOf(scenario).flags.join(' ');
const ORDERED = SCENARIOS.filter(({ isTracedOnly }) => !isTracedOnly).toSorted((a, b) =>
  flagsOf(a) < flagsOf(b) ? -1 : flagsOf(a) > flagsOf(b) ? 1 : 0,
);

/** What takes longer than a scenario's one packet each, by how much (measured in the guest). */
const CHANGED_FLAGS_COST = 2;
const REPEATED_COST = 5;

function costOf(scenario: Scenario, before: Scenario | undefined): number {
  const isChange = before === undefined || flagsOf(scenario) !== flagsOf(before);
  const hasRepeated = stagesOf(scenario).some(({ rows }) =>
    rows.some(({ statement }) => isRepeated(statement.outcome)),
  );
  return 1 + (isChange ? CHANGED_FLAGS_COST : 0) + (hasRepeated ? REPEATED_COST : 0);
}

/** Of the time they take. */
function halfOf(all: readonly Scenario[], half: PacketSuite['half']): readonly Scenario[] {
  if (half === undefined) return all;
  const costs = all.map((scenario, i) => costOf(scenario, all[i - 1]));
  const total = costs.reduce((sum, cost) => sum + cost, 0);
  let middle = 0;
  for (let cost = 0; cost < total / 2; middle++) cost += costs[middle]!;
  return half === 'first' ? all.slice(0, middle) : all.slice(middle);
}

const hasSourceRanges = ({ objects }: Cluster): boolean =>
  objects.some((one) => (Object(Object(one).spec).loadBalancerSourceRanges?.length ?? 0) > 0);

/** Defines the tests, all in one world. */
export function testPackets(suites: readonly PacketSuite[]): void {
  let nodes: TwoNodes;

  beforeAll(async () => {
    nodes = await TwoNodes.create([...new Set(suites.flatMap(({ protocols }) => protocols))]);
  });

  afterAll(() => nodes?.delete());

  describe.each(suites.map((suite) => [suite.mode, suite] as const))('%s', (name, suite) => {
    const { protocols, half, isChosen = () => true, balancing, randomClusters } = suite;
    let proxy: ProxyUnderTest;
    let crowds = 0;
    /** With clients of its own: a node remembers some for longer than a scenario takes. */
    const newMemory = (): Memory => new Memory(crowd(crowds++ % CROWDS));
    const probesOf = ({ rows }: Stage): Probe[] =>
      rows
        .filter(({ packet }) => protocols.includes(packet.protocol))
        .map((row) => ({ name: row.name, packet: row.packet, outcome: outcomeFor(row, name) }));
    const scenarios = halfOf(ORDERED, half).filter(
      (scenario) => isChosen(scenario) && stagesOf(scenario).some((stage) => probesOf(stage).length > 0),
    );

    beforeAll(() => {
      proxy = new ProxyUnderTest(nodes.topology.node, name);
    });

    afterAll(() => proxy?.delete());

    test.each(scenarios.map((scenario) => [scenario.title, scenario] as const))('%s', async (_, scenario) => {
      const memory = newMemory();
      for (const [i, stage] of stagesOf(scenario).entries()) {
        await proxy.show(stage.cluster);
        await nodes.forgetFlows();
        await sleep(stage.waitSeconds * 1000);
        const probes = probesOf(stage);
        expect(await judgeAll(nodes, probes, memory, balancing)).toEqual([]);
        if (!probes.some(isEverywhere)) continue;
        // Another node did not see the cluster become what it is.
        await proxy.forget();
        await proxy.show(stagesOf(scenario, REMOTE_NODE_NAME)[i]!.cluster);
        expect(await judgeAllElsewhere(nodes, probes, memory)).toEqual([]);
      }
    });

    if (randomClusters === 0) return;
    // One for all tries: a cluster that fails must not be tried again as another.
    const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
    test(
      `${randomClusters} random clusters fare as the tracer tells`,
      async () => {
        console.log(`random clusters: KPROXY_SEED=${seed}`);
        const { tracer } = MODES.find((mode) => mode.name === name)!;
        // Two senders of one packet at once would be one client that cannot tell which endpoint it had first.
        const selector = ({ from, destination, port, protocol }: Packet) =>
          `${from} to ${destination} ${port}/${protocol}`;
        const packets = fc.uniqueArray(arbitraryPacket, { minLength: PROBES, maxLength: PROBES, selector });
        const property = fc.asyncProperty(arbitraryScenario, packets, async (scenario, sent) => {
          const cluster = clusterOf(scenario);
          const traced = tracer(cluster.flags);
          await traced.show(cluster.objects);
          await proxy.show(cluster);
          await nodes.forgetFlows();
          const probes = sent.map((packet): Probe => {
            return { name: selector(packet), packet, outcome: traced.character(packet) };
          });
          // Source ranges that let a client in may keep out a crowd in its place.
          const memory = hasSourceRanges(cluster) ? new Memory([]) : newMemory();
          expect(await judgeAll(nodes, probes, memory, balancing)).toEqual([]);
        });
        await fc.assert(property, { numRuns: randomClusters, seed, endOnFailure: true });
      },
      patient(120_000),
    );
  });
}
