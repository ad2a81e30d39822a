import { describe, expect, it } from 'vitest';
import { COMMAND_FLAGS } from '../../src/cli/command-flags.ts';
import type { Flags } from '../../src/config/flag.ts';
import type { Settings } from '../../src/config/settings.ts';
import { ConfigError, InternalError, KernelError, KubeError } from '../../src/errors.ts';
import { parseCidr } from '../../src/model/ip.ts';
import { run } from './run.ts';

/** The settings the daemon is started with. */
async function settingsOf(...argv: string[]): Promise<Settings> {
  let seen: Settings | undefined;
  const { code, stderr } = await run(argv, {
    runDaemon: async (settings) => {
      seen = settings;
      return 0;
    },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return seen!;
}

describe('spellings of kube-proxy are understood', () => {
  it.each<[argv: string[], expected: Partial<Settings>]>([
    [['--masquerade-all'], { masqueradeAll: true }],
    [['--masquerade-all=false'], { masqueradeAll: false }],
    [['--masquerade-all=T'], { masqueradeAll: true }],
    [['--masquerade_all'], { masqueradeAll: true }],
    [['--hostname-override', 'N1'], { nodeName: 'n1' }],
    [['--hostname-override=N1'], { nodeName: 'n1' }],
    [['--hostname_override=a_b=c'], { nodeName: 'a_b=c' }],
    [['-v=4'], { verbosity: 4 }],
    [['-v4'], { verbosity: 4 }],
    [['-v', '4'], { verbosity: 4 }],
    [['--v=4'], { verbosity: 4 }],
    [['--v', '1', '--v', '2'], { verbosity: 2 }],
    [['--masquerade-bit=3'], { masqueradeBit: 3 }],
    [['--sync-period', '5s', '--nftables-min-sync-period=1s'], { syncPeriodMs: 5000, minSyncPeriodMs: 1000 }],
    [['--detect-local-mode=NodeCIDR'], { detectLocal: { kind: 'NodeCIDR' } }],
    [
      ['--detect-local-mode', 'BridgeInterface', '--pod_bridge_interface=cni0'],
      { detectLocal: { kind: 'BridgeInterface', name: 'cni0' } },
    ],
    [['--allow-external-ips=false'], { allowedExternalIps: [] }],
    [['--allow-external-ips', 'false'], { allowedExternalIps: [] }],
    [['--cleanup=false', '--version=false'], {}],
  ])('%j', async (argv, expected) => {
    expect(await settingsOf(...argv)).toMatchObject(expected);
  });
});

describe('what cannot be used exits with 2, one line per error', () => {
  it.each<[argv: string[], ...errors: string[]]>([
    [['--cluster-cdir=10.0.0.0/8'], '--cluster-cdir: unknown flag; did you mean --cluster-cidr?'],
    [['--config', '/no/such.yaml'], '/no/such.yaml: cannot be read (ENOENT)'],
    [['--config'], '--config: needs a value (file)'],
    [['--masquerade-bt', '3'], '--masquerade-bt: unknown flag; did you mean --masquerade-bit?'],
    [['-x'], '-x: unknown flag'],
    [['--x\u001b[31m'], '--x\\u001b[31m: unknown flag'],
    [['serve'], 'unexpected argument "serve" (commands: table, diff, cleanup)'],
    [['cleanup', 'now'], 'unexpected argument "now" (commands: table, diff, cleanup)'],
    [['--cluster-cidr'], '--cluster-cidr: needs a value (cidrs)'],
    [['--cluster-cidr', '--masquerade-all'], '--cluster-cidr: needs a value (cidrs)'],
    [
      ['--iptables-masquerade-bit', '-1'],
      '--iptables-masquerade-bit: must be an integer from 0 to 31, got "-1"',
    ],
    [['--masquerade-bit=x'], '--masquerade-bit: must be an integer from 0 to 31, got "x"'],
    [['--masquerade-bit='], '--masquerade-bit: must be an integer from 0 to 31, got ""'],
    [['--version=1'], '--version: must be false or true or raw, got "1"'],
    [['--version', '--v=x'], '--v: must be an integer of at least 0, got "x"'],
    [
      ['--min-sync-period=2m'],
      '--min-sync-period: must not exceed --iptables-sync-period (30000 ms), got 120000 ms',
    ],
    [['table', '--source', 'm'], '--source: not a flag of "table"'],
    [['--source', 'm', 'cleanup'], '--source: not a flag of "cleanup"'],
    [['diff', '--cleanup'], '--cleanup: not a flag of "diff"'],
    [['diff', '--include-kube-proxy'], '--include-kube-proxy: not a flag of "diff"'],
    [['--include-kube-proxy'], '--include-kube-proxy: only with --cleanup'],
    [['cleanup', '--proxy-mode=iptables'], '--proxy-mode: not a flag of "cleanup"'],
    [
      ['table', '--proxy-mode=kernelspace'],
      '--proxy-mode: must be nftables or iptables or ipvs or userspace, got "kernelspace"',
    ],
    [['table', 'a', 'b'], 'unexpected argument "b" (commands: table, diff, cleanup)'],
    [['table', '-o', 'xml'], '--output: must be table or wide or json or yaml, got "xml"'],
    [
      ['--bogus', 'value', '--v=x', '--proxy-mode', 'kernelspace', '--foo'],
      '--bogus: unknown flag',
      '--foo: unknown flag',
      '--proxy-mode: must be nftables, iptables, ipvs or userspace, or ipvs,nftables, got "kernelspace"',
      '--v: must be an integer of at least 0, got "x"',
    ],
  ])('%j', async (argv, ...errors) => {
    expect(await run(argv)).toEqual({
      code: 2,
      stdout: '',
      stderr: errors.map((error) => `kproxy-ts: ${error}\n`).join(''),
    });
  });
});

describe('help', () => {
  it('mentions every flag, alias, command and an example', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const flags: Flags = COMMAND_FLAGS.run;
    for (const [name, { aliases = [], isFieldOnly }] of Object.entries(flags)) {
      if (isFieldOnly) continue;
      for (const spelling of [name, ...aliases]) expect(stdout).toContain(`--${spelling}`);
    }
    for (const words of ['table', 'diff', 'cleanup', 'kproxy-ts --source ./manifests', 'Exit status']) {
      expect(stdout).toContain(words);
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  it('of a command lists the flags it takes', async () => {
    const { code, stdout } = await run(['table', '-h']);
    expect(code).toBe(0);
    expect(stdout).toContain('--output <format>');
    expect(stdout).not.toContain('--source');
    expect((await run(['help', 'diff'])).stdout).toContain('--source <path>');
  });
});

it('--version', async () => {
  expect((await run(['--version'])).stdout).toMatch(/^kproxy-ts v\d+\.\d+\.\d+\S*\n$/);
  expect((await run(['--version=raw'])).stdout).toMatch(/^kproxy-ts v\S+ \(node v\S+, Linux \S+, \w+\)\n$/);
});

describe('running', () => {
  it('exits with what the daemon says', async () => {
    expect((await run([], { runDaemon: async () => 7 })).code).toBe(7);
  });

  it('warns in the log of a flag without effect', async () => {
    const { stderr } = await run(['--config-sync-period=1m'], { runDaemon: async () => 0 });
    expect(JSON.parse(stderr)).toMatchObject({
      level: 'warn',
      msg: expect.stringContaining('without effect'),
    });
  });

  it.each<[error: unknown, code: number, line: string]>([
    [new ConfigError('manifests ./x: no such folder'), 2, 'manifests ./x: no such folder'],
    [new KubeError('no\nroute'), 1, 'no\\u000aroute'],
    [new KernelError('EINVAL', 22, 'add map', 'bad key'), 1, 'add map: EINVAL (bad key)'],
    [new KernelError('EPERM', 1, 'add table'), 1, 'add table: EPERM; run as root or with CAP_NET_ADMIN'],
    [new InternalError('odd'), 1, 'unexpected error: odd (-v=4 shows the stack trace)'],
    [
      new TypeError('x is not a function'),
      1,
      'unexpected error: x is not a function (-v=4 shows the stack trace)',
    ],
    ['thrown text', 1, 'unexpected error: thrown text (-v=4 shows the stack trace)'],
  ])('%s is one line', async (error, code, line) => {
    const failing = { runDaemon: () => Promise.reject(error) };
    expect(await run([], failing)).toEqual({ code, stdout: '', stderr: `kproxy-ts: ${line}\n` });
  });

  it('-v=4 shows the stack trace, with causes', async () => {
    const error = new InternalError('odd', { cause: new Error('deeper') });
    const { stderr } = await run(['-v=4'], { runDaemon: () => Promise.reject(error) });
    expect(stderr).toMatch(/^kproxy-ts: unexpected error: odd\n.*\n {4}at /);
    expect(stderr).toContain('deeper');
  });
});

describe('diff', () => {
  const problems = [
    { subject: 'Service a/b', code: 'INVALID_FIELD', reason: 'spec.ports[0].port: bad\u0007' },
  ];

  it('exits with 1 and prints the differences', async () => {
    const lines = ['add element services 10.0.0.1', 'add chain \u001b[2J'];
    expect(await run(['diff'], { planDiff: async () => ({ lines, problems }) })).toEqual({
      code: 1,
      stdout: 'add element services 10.0.0.1\nadd chain \\u001b[2J\n',
      stderr: 'kproxy-ts: Service a/b: spec.ports[0].port: bad\\u0007\n2 to write.\n',
    });
  });

  it('exits with 0 when there are none', async () => {
    const planDiff = async () => ({ lines: [], problems: [] });
    expect(await run(['diff', '--source', 'm'], { planDiff })).toEqual({
      code: 0,
      stdout: '',
      stderr: 'Nothing to write.\n',
    });
  });

  it('takes its flags before and after its name', async () => {
    const seen: Settings[] = [];
    const planDiff = async (settings: Settings) => {
      seen.push(settings);
      return { lines: [], problems: [] };
    };
    await run(['--source', 'm', '--masquerade-all', 'diff', '-v', '1'], { planDiff });
    expect(seen).toMatchObject([{ source: { path: 'm' }, masqueradeAll: true, verbosity: 1 }]);
  });

  it('exits with 2 on any failure', async () => {
    const planDiff = () => Promise.reject(new KernelError('EPERM', 1, 'dump'));
    expect((await run(['diff'], { planDiff })).code).toBe(2);
  });
});

describe.each([[['cleanup']], [['--cleanup']], [['--cleanup', '--source', 'm']]])('%j', (argv) => {
  const result = { removed: [], kept: [], failures: [] };

  it('names what it removed, and what it did not', async () => {
    const removed = ['table ip kproxy-ts', 'iptables -t nat: 3 chains'];
    const kept = ["table ip kube-proxy: kube-proxy's\u001b[2J"];
    expect(await run(argv, { cleanUp: async () => ({ ...result, removed, kept }) })).toEqual({
      code: 0,
      stdout: 'removed table ip kproxy-ts\nremoved iptables -t nat: 3 chains\n',
      stderr: "kept table ip kube-proxy: kube-proxy's\\u001b[2J\n",
    });
  });

  it('says so when there is nothing', async () => {
    expect(await run(argv, { cleanUp: async () => result })).toMatchObject({
      code: 0,
      stdout: 'Nothing to remove.\n',
    });
  });

  it('names what it removed although not all could be', async () => {
    const failures = [new KernelError('EPERM', 1, 'list chains')];
    expect(
      await run(argv, { cleanUp: async () => ({ ...result, removed: ['table ip x'], failures }) }),
    ).toEqual({
      code: 1,
      stdout: 'removed table ip x\n',
      stderr: 'kproxy-ts: list chains: EPERM; run as root or with CAP_NET_ADMIN\n',
    });
    expect(await run(argv, { cleanUp: async () => ({ ...result, failures }) })).toMatchObject({
      code: 1,
      stdout: '',
    });
  });

  it.each([
    [[], { includesKubeProxy: false, iptablesBackend: 'auto', excludedCidrs: [] }],
    [['--include-kube-proxy'], { includesKubeProxy: true, iptablesBackend: 'auto', excludedCidrs: [] }],
    [
      ['--include-kube-proxy=false', '--iptables-backend=legacy', '--ipvs-exclude-cidrs=203.0.113.0/24'],
      { includesKubeProxy: false, iptablesBackend: 'legacy', excludedCidrs: [parseCidr('203.0.113.0/24')] },
    ],
  ])('%j', async (flags, expected) => {
    const seen: unknown[] = [];
    const cleanUp = async (options: unknown) => {
      seen.push(options);
      return result;
    };
    expect(await run([...argv, ...flags], { cleanUp })).toMatchObject({ code: 0, stderr: '' });
    expect(seen).toEqual([expected]);
  });
});

describe('--init-only', () => {
  it('sets the node up in place of running, with the settings of a daemon', async () => {
    const modes: string[] = [];
    const { code } = await run(['--init-only', '--proxy-mode=iptables'], {
      initNode: async ({ proxyMode }) => {
        modes.push(proxyMode);
        return 1;
      },
    });
    expect({ code, modes }).toEqual({ code: 1, modes: ['iptables'] });
  });
});
