// The demo: the examples' manifests, the real daemon, real connections, in network namespaces of its own. Every claim
// it prints has been checked; the first that does not hold ends it with status 1. It leaves nothing behind.

import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { playCleanup, playEndpointLeaves, playLastEndpointLeaves, playRestart } from './change.ts';
import { Cluster, DEMO_MODES, type DemoMode } from './cluster.ts';
import { ManifestFolder } from './manifest-folder.ts';
import {
  playClusterIp,
  playFromOutside,
  playHairpin,
  playNothingThere,
  playOtherKinds,
  playTable,
} from './reach.ts';
import { ClaimError, chapter, claim, formatMs, say, show } from './story.ts';

const HELP = `Usage: npm run demo -- [--proxy-mode=MODE] [--keep] [--verbose]

  --proxy-mode=MODE  of the daemon: ${DEMO_MODES.join(', ')} (default nftables)
  --keep             leave everything running at the end, until Ctrl-C, to look around
  --verbose          print the log of the daemon when it is over
`;

async function play(cluster: Cluster, isKept: boolean): Promise<void> {
  chapter('A node, and the daemon on it');
  say(
    'A node (192.168.50.10), a client outside and eight pods, each in a private network namespace of this machine. The ' +
      'daemon on the node reads Services and EndpointSlices from a copy of examples/ and writes rules over netlink.',
  );
  show(`kproxy-ts ${cluster.flags.join(' ')}`);
  const { daemon, line, tookMs } = await cluster.startDaemon();
  claim(
    'the rules are in force',
    Number(line['writes']) > 0,
    `${line['writes']} writes, ${formatMs(tookMs)} after its start`,
  );

  await playClusterIp(cluster);
  await playFromOutside(cluster);
  await playOtherKinds(cluster);
  await playHairpin(cluster);
  await playNothingThere(cluster, cluster.manifests.namesWithoutVip());
  await playTable(cluster);
  await playEndpointLeaves(cluster);
  await playLastEndpointLeaves(cluster);
  const restarted = await playRestart(cluster, daemon);
  if (isKept) await lookAround(cluster);
  else await playCleanup(cluster, restarted);
}

async function lookAround({ topology, manifests }: Cluster): Promise<void> {
  chapter('Yours to look around');
  say(
    `Everything keeps running until Ctrl-C. The manifests are in ${manifests.path}; edit them. In another terminal:`,
  );
  show(`ip netns exec ${topology.node.name} bin/kproxy-ts table`);
  show(`ip netns exec ${topology.node.name} nft list ruleset`);
  show(`ip netns exec ${topology.pod('visitor').name} curl http://10.107.48.55:8080/`);
  await new Promise<never>(() => undefined);
}

interface Options {
  readonly keep?: boolean;
  readonly verbose?: boolean;
  readonly help?: boolean;
  readonly 'proxy-mode'?: DemoMode;
}

/** Undefined when an argument is not known. */
function parseOptions(): Options | undefined {
  const boolean = { type: 'boolean' } as const;
  try {
    const { 'proxy-mode': mode = 'nftables', ...options } = parseArgs({
      options: {
        keep: boolean,
        verbose: boolean,
        help: { ...boolean, short: 'h' },
        'proxy-mode': { type: 'string' },
      },
    }).values;
    const known = DEMO_MODES.find((one) => one === mode);
    if (known === undefined) throw new Error(`--proxy-mode: must be ${DEMO_MODES.join(', ')}, got '${mode}'`);
    return { ...options, 'proxy-mode': known };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return undefined;
  }
}

async function main(): Promise<number> {
  const options = parseOptions();
  if (options === undefined) return 2;
  if (options.help === true) {
    console.log(HELP);
    return 0;
  }
  const startMs = performance.now();
  const manifests = new ManifestFolder();
  // On a signal: the namespaces go with the process, which must end by `exit` for that.
  process.once('exit', () => manifests.delete());
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => process.exit(status));
  }
  let cluster: Cluster | undefined;
  try {
    cluster = await Cluster.create(options['proxy-mode'] ?? 'nftables', manifests);
    await play(cluster, options.keep === true);
    await cluster.delete();
    const left = readdirSync('/run/netns').filter((name) => name.startsWith(`kpt-${process.pid}-`));
    claim('nothing is left on this machine', left.length === 0, left.join(', '));
    console.log(
      `\nEverything above was checked. It took ${((performance.now() - startMs) / 1000).toFixed(1)} s.`,
    );
    return 0;
  } catch (error) {
    console.error(`\nThe demo stops here.\n${error instanceof ClaimError ? error.message : String(error)}`);
    return 1;
  } finally {
    if (options.verbose === true) {
      for (const line of cluster?.daemons.flatMap(({ log }) => log) ?? [])
        console.error(JSON.stringify(line));
    }
    await cluster?.delete();
  }
}

process.exitCode = await main();
