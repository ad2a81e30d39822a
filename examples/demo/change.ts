// Chapters about change: endpoints that come and go under load, a daemon that stops and returns, and the end.

import { type Daemon, runKproxy } from '../../test/support/netns/daemon.ts';
import type { Agent } from '../../test/support/netns/traffic.ts';
import { type Cluster, VIP } from './cluster.ts';
import { claimAllAnswered, claimRefused, HOSTNAME, hasServers } from './reach.ts';
import { chapter, claim, formatCounts, formatMs, say, show, until } from './story.ts';

const SERVICE = 'hostname-svc';
const LEAVING = '10.1.0.13';

export async function playEndpointLeaves(cluster: Cluster): Promise<void> {
  const visitor = cluster.topology.pod('visitor').agent();
  chapter('An endpoint is taken away under load');
  say(
    'The visitor keeps dialling, four requests at a time, while hostname-3 is removed from the EndpointSlice. The pod ' +
      'itself still runs, as a pod does that is being shut down gracefully.',
  );
  const held = await holdTo('hostname-3', visitor);
  const load = await visitor.startLoad({ ...HOSTNAME, pauseMs: 2 });
  await until('requests are answered', async () => ((await load.peek()).outcomes.reply ?? 0) >= 200);
  cluster.manifests.keepEndpoints(SERVICE, (address) => address !== LEAVING);
  const text = 'hostname-3 gets no new connections';
  const tookMs = await until(text, async () => {
    const { servers } = await visitor.burst({ ...HOSTNAME, count: 60, concurrency: 4 });
    return servers['hostname-3'] === undefined;
  });
  claim(text, true, `within ${formatMs(tookMs)}, 60 test requests included`);
  const { total } = await load.peek();
  await until('the load goes on', async () => (await load.peek()).total >= total + 200);
  const tally = await load.stop();
  const failed = tally.total - (tally.outcomes.reply ?? 0);
  claim('no request of the load failed', failed === 0, `${failed} of ${tally.total}`);
  const { outcome, server, asked } = await held.release();
  claim(
    'a connection to hostname-3 that was there before goes on',
    outcome === 'reply' && server === 'hostname-3',
    `${asked} questions, the last: ${outcome}`,
  );
}

/** A connection to the virtual IP that happens to lead to `server`. */
async function holdTo(server: string, visitor: Agent): ReturnType<Agent['hold']> {
  for (;;) {
    const held = await visitor.hold({ ...HOSTNAME, intervalMs: 20 });
    if (held.first.server === server) return held;
    await held.release();
  }
}

export async function playLastEndpointLeaves(cluster: Cluster): Promise<void> {
  const visitor = cluster.topology.pod('visitor').agent();
  chapter('The last endpoint is taken away, and they all come back');
  cluster.manifests.keepEndpoints(SERVICE, () => false);
  await until('connections are refused', async () => (await visitor.probe(HOSTNAME)).outcome === 'refused');
  claimRefused(await visitor.probe(HOSTNAME));
  cluster.manifests.keepEndpoints(SERVICE, () => true);
  await until('connections work again', async () => (await visitor.probe(HOSTNAME)).outcome === 'reply');
  const tally = await visitor.burst({ ...HOSTNAME, count: 60 });
  claimAllAnswered(tally, 60);
  claim(
    'by all three again',
    hasServers(tally, ['hostname-1', 'hostname-2', 'hostname-3']),
    formatCounts(tally.servers),
  );
}

export async function playRestart(cluster: Cluster, daemon: Daemon): Promise<Daemon> {
  return cluster.mode === 'userspace' ? playProxiesGone(cluster, daemon) : playRulesStay(cluster, daemon);
}

async function playProxiesGone(cluster: Cluster, daemon: Daemon): Promise<Daemon> {
  const visitor = cluster.topology.pod('visitor').agent();
  chapter('The daemon stops, and its proxies with it');
  const held = await visitor.hold({ ...HOSTNAME, intervalMs: 20 });
  const stopping = daemon.stop('SIGTERM');
  await until('the rules are gone', async () => {
    const tables = await cluster.onNode('nft', 'list', 'tables');
    return !tables.includes('kproxy-ts-userspace\n');
  });
  const gone = await visitor.probe({ ...HOSTNAME, timeoutMs: 300 });
  claim(
    'its rules go first: nobody is led to a port where nobody listens',
    gone.outcome !== 'reply',
    gone.outcome,
  );
  const { outcome, asked } = await held.release();
  claim('a connection that was there goes on to its end', outcome === 'reply', `${asked} questions`);
  const status = await stopping;
  claim('then it ends cleanly', status === 0, `exit status ${status}`);
  const restarted = await cluster.startDaemon();
  claim(
    'started again, it serves',
    (await visitor.probe(HOSTNAME)).outcome === 'reply',
    formatMs(restarted.tookMs),
  );
  return restarted.daemon;
}

async function playRulesStay(cluster: Cluster, daemon: Daemon): Promise<Daemon> {
  const visitor = cluster.topology.pod('visitor').agent();
  chapter('The daemon stops, and traffic does not care');
  const status = await daemon.stop('SIGTERM');
  claim('SIGTERM ends it cleanly', status === 0, `exit status ${status}`);
  claimAllAnswered(await visitor.burst({ ...HOSTNAME, count: 60 }), 60);
  say('Started again, it reads what the kernel holds, compares, and has nothing to do.');
  const restarted = await cluster.startDaemon();
  claim(
    'it wrote nothing',
    restarted.line['writes'] === 0,
    `${restarted.line['writes']} writes, in force after ${formatMs(restarted.tookMs)}`,
  );
  return restarted.daemon;
}

export async function playCleanup(cluster: Cluster, daemon: Daemon): Promise<void> {
  chapter('Taking it all away again');
  await daemon.stop('SIGTERM');
  const { status, stdout, stderr } = await runKproxy(cluster.topology.node, ['cleanup']);
  show('kproxy-ts cleanup', stdout);
  claim('it succeeds', status === 0, stderr.trim());
  const tables = await cluster.onNode('nft', 'list', 'tables');
  show('nft list tables', tables);
  claim('no table is left', tables.trim() === '', tables.trim());
  const visitor = cluster.topology.pod('visitor').agent();
  const gone = await visitor.probe({ ...HOSTNAME, timeoutMs: 300 });
  claim(`${VIP.hostname} leads nowhere`, gone.outcome !== 'reply', gone.outcome);
}
