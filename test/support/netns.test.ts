// The namespaces themselves: made fast, private, and gone whatever happens to the process that made them.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { runCommand } from './netns/command.ts';
import { isRunning, Netns, removeStaleNetns } from './netns/netns.ts';
import { connect, NODE, NodeTopology } from './netns/topology.ts';

let topology: NodeTopology | undefined;
const makers = new Set<ChildProcess>();

afterEach(async () => {
  for (const maker of makers) maker.kill('SIGTERM');
  await topology?.delete();
  topology = undefined;
});

const PODS = [1, 2, 3, 4, 5].map((n) => ({
  name: `pod-${n}`,
  ip: `10.1.0.${10 + n}`,
  ip6: `fd00:10:1::${10 + n}`,
}));

function existing(names: readonly string[]): string[] {
  return readdirSync('/run/netns').filter((name) => names.includes(name));
}

test('a node, a client and five pods take less than 1.5 s and leave nothing', async () => {
  const start = performance.now();
  topology = await NodeTopology.create(PODS);
  const tookMs = performance.now() - start;
  const names = topology.namespaces.map((netns) => netns.name);
  expect(existing(names)).toHaveLength(7);
  expect(tookMs).toBeLessThan(1500);
  await topology.delete();
  expect(existing(names)).toEqual([]);
});

test('everybody reaches everybody in both families at once, and nobody the outside', async () => {
  topology = await NodeTopology.create(PODS.slice(0, 2));
  await topology.pod('pod-1').agent().serve({ protocol: 'tcp', port: 80, name: 'pod-1' });
  await topology.node.agent().serve({ protocol: 'udp', port: 53, name: 'node', address: NODE.ip });
  for (const from of [topology.client, topology.node, topology.pod('pod-2')]) {
    for (const host of ['10.1.0.11', 'fd00:10:1::11']) {
      const reply = await from.agent().probe({ protocol: 'tcp', host, port: 80 });
      expect(reply).toMatchObject({ outcome: 'reply', server: 'pod-1' });
    }
  }
  const target = { protocol: 'udp', host: NODE.ip, port: 53 } as const;
  const reply = await topology.pod('pod-2').agent().probe(target);
  expect(reply).toMatchObject({ outcome: 'reply', server: 'node', peer: '10.1.0.12' });

  const outside = { protocol: 'tcp', host: '198.51.100.1', port: 80, timeoutMs: 1000 } as const;
  expect((await topology.client.agent().probe(outside)).outcome).toBe('unreachable');
});

test('the namespace of the tests is untouched', async () => {
  const observe = async () => [
    await runCommand(['ip', '-o', 'link']),
    await runCommand(['ip', '-o', 'address']),
    await runCommand(['ip', 'route']),
    await runCommand(['nft', 'list', 'ruleset']),
    await runCommand(['cat', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/default/accept_dad']),
  ];
  const before = await observe();
  topology = await NodeTopology.create(PODS.slice(0, 1));
  await topology.node.exec(['nft', 'add', 'table', 'ip', 'probe']);
  expect(await observe()).toEqual(before);
  await topology.delete();
  expect(await observe()).toEqual(before);
});

test('a command inside is killed when it takes too long', async () => {
  const netns = await Netns.create('slow');
  try {
    await expect(netns.exec(['sleep', '60'], { timeoutMs: 100 })).rejects.toThrow(
      'not finished after 100 ms',
    );
    expect(await netns.tryExec(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
      status: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  } finally {
    await netns.delete();
  }
});

test('a long-lived process inside ends with its namespace', async () => {
  const netns = await Netns.create('host');
  const child = netns.spawn(['sleep', '60']);
  await netns.delete();
  expect(child.signalCode).toBe('SIGKILL');
});

test('a namespace that cannot be set up is removed, and the error names the command', async () => {
  const [a, b] = await Promise.all([Netns.create('a'), Netns.create('b')]);
  const wrong = connect(
    { netns: a, device: 'eth0', addresses: ['300.0.0.1/24'] },
    { netns: b, device: 'eth0', addresses: [] },
  );
  await expect(wrong).rejects.toThrow(/ip -n .*300\.0\.0\.1/s);
  await Promise.all([a.delete(), b.delete()]);
  expect(existing([a.name, b.name])).toEqual([]);
});

/** A process of its own that makes a namespace with a `sleep` in it, prints the name and waits. */
async function startMaker(): Promise<{ name: string; end(signal: NodeJS.Signals): Promise<void> }> {
  const maker = fileURLToPath(new URL('./netns/maker.test-child.ts', import.meta.url));
  const register = new URL('../../scripts/register-typescript.mjs', import.meta.url).href;
  const child = spawn(process.execPath, ['--import', register, maker], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  makers.add(child);
  child.on('close', () => makers.delete(child));
  const [name] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return {
    name: name.trim(),
    end: async (signal) => {
      child.kill(signal);
      await once(child, 'close');
    },
  };
}

test.each(['SIGINT', 'SIGTERM'] as const)('%s removes what the process made', async (signal) => {
  const maker = await startMaker();
  expect(existing([maker.name])).toEqual([maker.name]);
  await maker.end(signal);
  expect(existing([maker.name])).toEqual([]);
});

test('what a crashed process made is removed by the next run, and what a living one made is not', async () => {
  const [crashed, living] = await Promise.all([startMaker(), startMaker()]);
  const [pid] = (await runCommand(['ip', 'netns', 'pids', crashed.name])).split('\n');
  await crashed.end('SIGKILL');
  expect(existing([crashed.name, living.name])).toHaveLength(2);

  expect(removeStaleNetns()).toContain(crashed.name);
  expect(existing([crashed.name, living.name])).toEqual([living.name]);
  await expect.poll(() => isRunning(Number(pid))).toBe(false);
  await living.end('SIGTERM');
});

test('commands of a shell run one after the other, and fail one by one', async () => {
  topology = await NodeTopology.create();
  const shell = topology.node.shell();
  const outputs = await Promise.allSettled([
    shell.run('ip -brief link show lo'),
    shell.run('cd /nowhere'),
    shell.run('cat; echo done'),
  ]);
  expect(outputs).toEqual([
    { status: 'fulfilled', value: expect.stringContaining('LOOPBACK') },
    {
      status: 'rejected',
      reason: expect.objectContaining({ message: expect.stringMatching(/^cd \/nowhere: exit status /) }),
    },
    { status: 'fulfilled', value: 'done' },
  ]);
  const late = expect(shell.run('exec sleep 60')).rejects.toThrow('exec sleep 60: the shell has ended');
  await topology.node.delete();
  await late;
  await expect(shell.run('true')).rejects.toThrow('true: the shell has ended');
});
