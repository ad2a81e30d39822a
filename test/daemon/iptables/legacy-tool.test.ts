// Which program of iptables-legacy is taken, and what its answers mean.

import { describe, expect, it } from 'vitest';
import {
  type ProgramResult,
  type RunProgram,
  ToolError,
} from '../../../src/daemon/iptables/legacy-program.ts';
import { LegacyTool } from '../../../src/daemon/iptables/legacy-tool.ts';

/** A host with these programs: what each prints for --version. */
function host(versions: Readonly<Record<string, string>>, result: ProgramResult = { status: 0, stderr: '' }) {
  const calls: string[] = [];
  const run: RunProgram = async ([program = '', ...args], options) => {
    calls.push([program, ...args].join(' '));
    const version = versions[program];
    if (args[0] !== '--version') {
      calls.push(...(options?.input ?? []));
      return result;
    }
    if (version === undefined) throw new ToolError('TOOL_MISSING', `${program}: ENOENT`);
    options?.onLine?.(version);
    return { status: 0, stderr: '' };
  };
  return { run, calls };
}

describe('the tool', () => {
  it.each<[Readonly<Record<string, string>>, string]>([
    [
      { 'iptables-legacy': 'iptables v1.8.9 (legacy)', iptables: 'iptables v1.8.9 (nf_tables)' },
      'iptables-legacy v1.8.9',
    ],
    [{ 'iptables-legacy': 'iptables v1.8.10 (legacy)' }, 'iptables-legacy v1.8.10'],
    [{ iptables: 'iptables v1.8.4 (legacy)' }, 'iptables v1.8.4'],
    [{ iptables: 'iptables v1.6.2' }, 'iptables v1.6.2'],
    [{ iptables: 'iptables v1.10' }, 'iptables v1.10'],
  ])('of %o is %s', async (versions, description) => {
    expect((await LegacyTool.find(host(versions).run)).description).toBe(description);
  });

  it.each<[Readonly<Record<string, string>>, string]>([
    [{}, 'TOOL_MISSING'],
    [{ iptables: 'iptables v1.8.9 (nf_tables)' }, 'TOOL_MISSING'],
    [{ iptables: 'something else' }, 'TOOL_MISSING'],
    [{ iptables: 'iptables v1.6.1' }, 'TOOL_TOO_OLD'],
    [{ iptables: 'iptables v1.4.21' }, 'TOOL_TOO_OLD'],
    [{ 'iptables-legacy': 'iptables v1.6 (legacy)' }, 'TOOL_TOO_OLD'],
  ])('of %o is %s', async (versions, code) => {
    await expect(LegacyTool.find(host(versions).run)).rejects.toMatchObject({ code });
  });

  it('is called by the names of the family, the action and the version', async () => {
    for (const [name, version] of [
      ['iptables-legacy', 'iptables v1.8.9 (legacy)'],
      ['iptables', 'iptables v1.6.2'],
    ] as const) {
      const { run, calls } = host({ [name]: version });
      const tool = await LegacyTool.find(run);
      calls.length = 0;
      await tool.save(6, 'nat', () => undefined);
      await tool.restore(4, ['*nat', 'COMMIT']);
      expect(calls).toEqual([
        `${name.replace('ip', 'ip6')}-save -t nat`,
        `${name}-restore --noflush --wait 5`,
        '*nat\n',
        'COMMIT\n',
      ]);
    }
  });

  const answering = (status: number, stderr: string) =>
    LegacyTool.find(host({ 'iptables-legacy': 'iptables v1.8.9 (legacy)' }, { status, stderr }).run);

  it.each<[number, string, number]>([
    [1, 'iptables-restore: line 7 failed', 7],
    [
      2,
      "iptables-restore v1.8.9 (legacy): Couldn't load target `line 5 failed':No such file\n\nError occurred at line: 12\nTry",
      12,
    ],
  ])('that ends with status %i refuses a line: %s', async (status, stderr, number) => {
    expect(await (await answering(status, stderr)).restore(4, [])).toMatchObject({ number });
  });

  it.each<[number, string, string]>([
    [4, 'Another app is currently holding the xtables lock. Stopped waiting after 5s.', 'XTABLES_LOCK'],
    [3, "iptables-restore: can't initialize table", 'TOOL_FAILED'],
    [-1, '', 'TOOL_FAILED'],
  ])('that ends with status %i and says %s is %s', async (status, stderr, code) => {
    const tool = await answering(status, stderr);
    await expect(tool.restore(4, [])).rejects.toMatchObject({ code });
    await expect(tool.restore(4, [])).rejects.toThrow(/iptables-legacy v1\.8\.9/);
    await expect(tool.save(4, 'nat', () => undefined)).rejects.toMatchObject({ code });
  });
});
