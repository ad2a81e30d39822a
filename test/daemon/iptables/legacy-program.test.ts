// Programs run to their end, whatever they do.

import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../src/daemon/iptables/legacy-program.ts';

const sh = (script: string, options?: Parameters<typeof runProgram>[1]) =>
  runProgram(['sh', '-c', script], options);

async function linesOf(script: string, input?: Iterable<string>): Promise<string[]> {
  const lines: string[] = [];
  const onLine = (line: string) => lines.push(line);
  await sh(script, { onLine, ...(input !== undefined && { input }) });
  return lines;
}

describe('a program', () => {
  it('gets its input and gives its lines, however large', async () => {
    const wanted = Array.from({ length: 50_000 }, (_, i) => `-A KUBE-SVC-${i} -m comment --comment "ä${i}"`);
    function* input() {
      for (const line of wanted) yield `${line}\n`;
    }
    expect(await linesOf('cat', input())).toEqual(wanted);
  });

  it('whose last line does not end gives it', async () => {
    expect(await linesOf('printf "a\\n\\nb"')).toEqual(['a', '', 'b']);
    expect(await linesOf('printf "a\\n"')).toEqual(['a']);
  });

  it('tells its status and what it complains of, in bounds', async () => {
    expect(await sh('echo no >&2; exit 3')).toEqual({ status: 3, stderr: 'no' });
    const { stderr } = await sh('head -c 1000000 /dev/zero | tr "\\0" x >&2');
    expect(stderr).toHaveLength(65_536);
    expect(await sh('kill -9 $$')).toEqual({ status: -1, stderr: '' });
  });

  it('that does not read its input is judged by its status', async () => {
    const input = Array.from({ length: 1000 }, () => 'x'.repeat(10_000));
    expect(await sh('exec <&-; exit 0', { input })).toMatchObject({ status: 0 });
    expect(await sh('exit 2', { input })).toMatchObject({ status: 2 });
  });

  it('that does not end is TOOL_TIMEOUT', async () => {
    await expect(runProgram(['sleep', '60'], { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'TOOL_TIMEOUT',
    });
  });

  it('that is not there is TOOL_MISSING, one that cannot run is TOOL_FAILED', async () => {
    await expect(runProgram(['no-such-program'])).rejects.toMatchObject({ code: 'TOOL_MISSING' });
    await expect(runProgram(['/etc/passwd'], { input: ['x'] })).rejects.toMatchObject({
      code: 'TOOL_FAILED',
    });
  });

  it('does not get half of an input that fails as if it were all', async () => {
    function* input() {
      yield 'x'.repeat(100_000);
      throw new RangeError('made by the input');
    }
    await expect(sh('cat >/dev/null; exit 0', { input: input() })).rejects.toThrow(RangeError);
  });

  it('is found where system programs are, and speaks English', async () => {
    expect(await linesOf('echo "$PATH" "$LC_ALL"')).toEqual([
      expect.stringMatching(/:\/usr\/local\/sbin:\/usr\/sbin:\/sbin C$/),
    ]);
  });
});
