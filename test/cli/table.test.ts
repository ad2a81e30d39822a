import yaml from 'js-yaml';
import { describe, expect, it } from 'vitest';
import { formatTable, selectRows, sortRows } from '../../src/cli/format-table.ts';
import type { Parts } from '../../src/cli/parts.ts';
import type { ProxyMode } from '../../src/config/flags.ts';
import { KernelError } from '../../src/errors.ts';
import type { VipTableRow } from '../../src/vip/table-row.ts';
import { run } from './run.ts';

function backends(count: number, port: number, prefix = '10.1.0.') {
  return Array.from({ length: count }, (_, i) => ({ address: `${prefix}${i + 1}`, port }));
}

function row(service: string, address: string, port: number, rest: Partial<VipTableRow> = {}): VipTableRow {
  return {
    service,
    kind: 'ClusterIP',
    address,
    port,
    protocol: 'TCP',
    action: 'balance',
    backends: backends(1, 80),
    connections: 0n,
    ...rest,
  };
}

const ROWS = [
  row('kube-system/dns:dns', '10.96.0.10', 53, {
    protocol: 'UDP',
    backends: backends(2, 5353),
    connections: 7n,
  }),
  row('default/web:http', '*', 31906, {
    kind: 'NodePort',
    backends: backends(5, 80),
    connections: undefined,
  }),
  row('default/web:http', '10.107.48.55', 8080, {
    backends: backends(5, 80),
    connections: 12345678901234567890n,
  }),
  row('default/web:admin', '10.107.48.55', 443, { action: 'refuse', backends: [] }),
  row('default/v6', 'fd00::1', 80, { backends: backends(3, 80, 'fd00:1::') }),
  row('default/blocked', '10.96.9.9', 80, { kind: 'LoadBalancer', action: 'drop', backends: [] }),
];
const found = (rows: readonly VipTableRow[], others: readonly ProxyMode[] = []) => ({
  readVipTable: async () => ({ mode: 'nftables' as const, rows, others }),
});

it('prints one aligned line per virtual IP, by namespace, name and port', async () => {
  expect(await run(['table'], found(ROWS))).toEqual({
    code: 0,
    stderr: '',
    stdout: `\
SERVICE              VIP                    BACKENDS                                        CONNECTIONS
default/blocked      10.96.9.9:80/TCP       none (dropped)                                  0
default/v6           [fd00::1]:80/TCP       [fd00:1::1]:80, [fd00:1::2]:80, [fd00:1::3]:80  0
default/web:admin    10.107.48.55:443/TCP   none (refused)                                  0
default/web:http     10.107.48.55:8080/TCP  10.1.0.1:80, 10.1.0.2:80 +3 more                12345678901234567890
default/web:http     *:31906/TCP            10.1.0.1:80, 10.1.0.2:80 +3 more                -
kube-system/dns:dns  10.96.0.10:53/UDP      10.1.0.1:5353, 10.1.0.2:5353                    7
`,
  });
});

it('-o wide adds the kind and every backend', async () => {
  expect((await run(['table', 'web', '-o=wide'], found(ROWS))).stdout).toBe(`\
SERVICE            VIP                    KIND       CONNECTIONS           BACKENDS
default/web:admin  10.107.48.55:443/TCP   ClusterIP  0                     none (refused)
default/web:http   10.107.48.55:8080/TCP  ClusterIP  12345678901234567890  10.1.0.1:80, 10.1.0.2:80, 10.1.0.3:80, 10.1.0.4:80, 10.1.0.5:80
default/web:http   *:31906/TCP            NodePort   -                     10.1.0.1:80, 10.1.0.2:80, 10.1.0.3:80, 10.1.0.4:80, 10.1.0.5:80
`);
});

it('-o json and yaml give the same rows, in the same order, without losing digits', async () => {
  const fromJson = JSON.parse((await run(['table', '-ojson'], found(ROWS))).stdout);
  const fromYaml = yaml.load((await run(['table', '--output', 'yaml'], found(ROWS))).stdout);
  expect(fromYaml).toEqual(fromJson);
  expect(fromJson.map((entry: VipTableRow) => entry.port)).toEqual([80, 80, 443, 8080, 31906, 53]);
  expect(fromJson[3].connections).toBe('12345678901234567890');
  expect(fromJson[4]).not.toHaveProperty('connections');
  expect(fromJson[5]).toEqual({
    service: 'kube-system/dns:dns',
    kind: 'ClusterIP',
    address: '10.96.0.10',
    port: 53,
    protocol: 'UDP',
    action: 'balance',
    backends: [
      { address: '10.1.0.1', port: 5353 },
      { address: '10.1.0.2', port: 5353 },
    ],
    connections: 7,
  });
});

describe('selectRows', () => {
  it.each<[filter: string | undefined, namespace: string, ports: number[]]>([
    [undefined, '', [53, 31906, 8080, 443, 80, 80]],
    [undefined, 'kube-system', [53]],
    ['web', '', [31906, 8080, 443]],
    ['default/web', '', [31906, 8080, 443]],
    ['default/web:http', '', [31906, 8080]],
    ['web:admin', '', [443]],
    ['web', 'kube-system', []],
    ['other/web', '', []],
    ['we', '', []],
    ['10.107.48.55', '', [8080, 443]],
    ['010.107.048.055', '', [8080, 443]],
    ['10.107.48.55:8080', '', [8080]],
    ['10.107.48.55:8080/TCP', '', [8080]],
    ['10.107.48.55:8080/UDP', '', []],
    ['fd00:0:0::1', '', [80]],
    ['[fd00::1]', '', [80]],
    ['[fd00::1]:80', '', [80]],
    ['*:31906', '', [31906]],
    ['10.1.0.5', '', [31906, 8080]],
    ['10.1.0.1:5353', '', [53]],
    ['10.1.0.5', 'kube-system', []],
  ])('%s in namespace "%s"', (filter, namespace, ports) => {
    expect(selectRows(ROWS, filter, namespace).map(({ port }) => port)).toEqual(ports);
  });
});

it('an order that depends on nothing but the rows', () => {
  const tied = ['TCP', 'UDP'].flatMap((protocol) =>
    ['10.0.0.2', '10.0.0.1'].map((address) => row('a/b', address, 80, { protocol: protocol as 'TCP' })),
  );
  expect(sortRows(tied)).toEqual(sortRows([...tied].reverse()));
  expect(sortRows([row('a/b', '::', 443), row('a/b', '::', 80)]).map(({ port }) => port)).toEqual([80, 443]);
});

it('a hostile name cannot forge a line or move the cursor', async () => {
  const hostile = [
    row('default/a\nfake/row  1.2.3.4\u001b[2J\u009b\u202e', '10.0.0.1', 80, { action: 'x\n', backends: [] }),
  ];
  for (const output of ['table', 'wide', 'json', 'yaml']) {
    const { stdout } = await run(['table', '-o', output], found(hostile));
    expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    if (output !== 'json' && output !== 'yaml') expect(stdout.trimEnd().split('\n')).toHaveLength(2);
  }
});

describe('nothing to print is said on stderr, and no failure', () => {
  it('no table', async () => {
    const missing = { readVipTable: async () => undefined };
    const { code, stdout, stderr } = await run(['table'], missing);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toMatch(
      /^No virtual IPs: there are no rules of kproxy-ts, nor of kube-proxy, in this .*\n$/,
    );
    expect((await run(['table', '-o', 'json'], missing)).stdout).toBe('[]\n');
    expect((await run(['table', '--proxy-mode=iptables'], missing)).stderr).toMatch(
      /^No virtual IPs: there are no rules of iptables mode in this network namespace; .*\n$/,
    );
  });

  it('an empty table', async () => {
    const { stdout, stderr } = await run(['table'], found([]));
    expect({ stdout, stderr }).toEqual({
      stdout: '',
      stderr: 'No virtual IPs: the table is there and empty.\n',
    });
  });

  it('a filter that matches nothing', async () => {
    const { stdout, stderr } = await run(['table', 'nope'], found(ROWS));
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: 'No virtual IPs match (of 6).\n' });
  });

  it('other kernel errors are failures', async () => {
    const denied = () => Promise.reject(new KernelError('EPERM', 1, 'dump map services'));
    expect(await run(['table'], { readVipTable: denied })).toEqual({
      code: 1,
      stdout: '',
      stderr: 'kproxy-ts: dump map services: EPERM; run as root or with CAP_NET_ADMIN\n',
    });
  });
});

it('rules of another mode are told of, beside the table', async () => {
  const { code, stdout, stderr } = await run(['table'], found(ROWS, ['iptables']));
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr:
      'This is nftables mode. There are rules of iptables mode, too: --proxy-mode=iptables shows them.\n',
  });
  expect(stdout).toBe((await run(['table'], found(ROWS))).stdout);
});

it.each([
  [[], undefined, 'auto'],
  [['--proxy-mode='], undefined, 'auto'],
  [['--proxy-mode', 'iptables', '--iptables-backend=legacy'], 'iptables', 'legacy'],
])('reads the mode asked for: %j', async (flags, mode, iptablesBackend) => {
  const seen: unknown[] = [];
  const readVipTable: Parts['readVipTable'] = async (...args) => {
    seen.push(args.slice(0, 2));
    return undefined;
  };
  await run(['table', ...flags], { readVipTable });
  expect(seen).toEqual([[mode, { iptablesBackend }]]);
});

it('50,000 rows make as many lines', () => {
  const many = Array.from({ length: 50_000 }, (_, i) =>
    row(`ns-${i % 97}/service-${i}:http`, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 80, {
      backends: backends(5, 8080),
    }),
  );
  const text = formatTable(sortRows(selectRows(many, undefined, '')), false);
  expect(text.split('\n')).toHaveLength(50_002);
});
