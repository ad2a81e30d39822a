// The behaviour table with real packets: the daemon on a node, and real connections between namespaces.
// Rows over SCTP are for the tracer alone.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { arbitraryPacket, arbitraryScenario } from './arbitrary-cluster.ts';
import { MODES } from './modes.ts';
import { ProxyUnderTest } from './proxy-under-test.ts';
import { judgeAll } from './real-packets.ts';
import { clusterOf, outcomeFor, rowsOf } from './row.ts';
import { SCENARIOS } from './rows.ts';
import { TwoNodes } from './two-nodes.ts';

const RUNS = 20;
/** Packets to each random cluster. */
const PROBES = 20;

let nodes: TwoNodes;

beforeAll(async () => {
  nodes = await TwoNodes.create();
});

afterAll(() => nodes?.delete());

/** Scenarios of the same flags follow each other, so that the daemon goes on from one to the next. */
const flagsOf = (scenario: (typeof SCENARIOS)[number]): string => clusterOf(scenario).flags.join(' ');
const ORDERED = SCENARIOS.toSorted((a, b) =>
  flagsOf(a) < flagsOf(b) ? -1 : flagsOf(a) > flagsOf(b) ? 1 : 0,
);

describe.each(MODES.map((mode) => [mode.name, mode] as const))('%s', (mode, { tracer }) => {
  let proxy: ProxyUnderTest;

  beforeAll(() => {
    proxy = new ProxyUnderTest(nodes.topology.node, mode);
  });

  afterAll(() => proxy?.delete());

  test.each(ORDERED.map((scenario) => [scenario.title, scenario] as const))('%s', async (_, scenario) => {
    await proxy.show(clusterOf(scenario));
    await nodes.forgetFlows();
    const probes = rowsOf(scenario).map(({ name, packet, statement }) => ({
      name,
      packet,
      outcome: outcomeFor(statement, mode),
    }));
    const wrong = await judgeAll(nodes, probes);
    expect(wrong).toEqual([]);
  });

  test(`${RUNS} random clusters fare as the tracer tells`, async () => {
    const seed = Number(process.env['KPROXY_SEED'] ?? Date.now() % 1_000_000);
    console.log(`random clusters: KPROXY_SEED=${seed}`);
    const packets = fc.array(arbitraryPacket, { minLength: PROBES, maxLength: PROBES });
    const property = fc.asyncProperty(arbitraryScenario, packets, async (scenario, sent) => {
      const cluster = clusterOf(scenario);
      const trace = tracer(cluster);
      await proxy.show(cluster);
      await nodes.forgetFlows();
      const probes = sent.map((packet) => {
        const { from, destination, port, protocol } = packet;
        const name = `${from} to ${destination} ${port}/${protocol}`;
        return { name, packet, outcome: trace(packet) };
      });
      expect(await judgeAll(nodes, probes)).toEqual([]);
    });
    await fc.assert(property, { numRuns: RUNS, seed, endOnFailure: true });
  }, 120_000);
});
