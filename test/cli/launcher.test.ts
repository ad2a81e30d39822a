// The real launcher in a real process. Where it matters what the program does, a scripted dist/ stands beside a copy of it.

import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = path.join(import.meta.dirname, '../..');

function execute(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { maxBuffer: 1e8 }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

/** Processor time that Node takes to run something. Other than time, it hardly depends on what else this machine does. */
async function cpuMs(...argv: string[]): Promise<number> {
  const tell = `process.on('exit', () => {
    const { user, system } = process.cpuUsage();
    process._rawDebug((user + system) / 1000);
  })`;
  const { stderr } = await execute(`--import=data:text/javascript,${encodeURIComponent(tell)}`, ...argv);
  return Number(stderr);
}

function launch(root: string, ...argv: string[]) {
  return execute(path.join(root, 'bin/kproxy-ts'), ...argv);
}

describe('the built program', () => {
  it('prints help with less than 100 ms of processor time more than Node itself takes', async () => {
    expect(existsSync(path.join(ROOT, 'dist/cli/main.js')), 'run `npm run build` first').toBe(true);
    const help = path.join(ROOT, 'bin/kproxy-ts');
    const moreMs: number[] = [];
    for (let i = 0; i < 5; i++) moreMs.push((await cpuMs(help, '--help')) - (await cpuMs('-e', '0')));
    expect(Math.min(...moreMs)).toBeLessThan(100);
    const { code, stdout, stderr } = await launch(ROOT, '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: kproxy-ts/);
  });

  it('hands its arguments over and exits with what main says', async () => {
    expect(await launch(ROOT, '--proxy-mode', 'x y')).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'kproxy-ts: --proxy-mode: must be nftables, iptables, ipvs or userspace, or ipvs,nftables, got "x y"\n',
    });
  });

  it('is silent when its reader leaves', async () => {
    const child = spawn(process.execPath, [path.join(ROOT, 'bin/kproxy-ts'), '--help']);
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('with another dist/', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'kproxy-ts-launcher-'));
    cpSync(path.join(ROOT, 'bin'), path.join(root, 'bin'), { recursive: true });
    writeFileSync(path.join(root, 'package.json'), '{ "type": "module" }');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  /** Gives the launcher a program of which `main` has this body. */
  function writeMain(body: string): void {
    mkdirSync(path.join(root, 'dist/cli'), { recursive: true });
    writeFileSync(
      path.join(root, 'dist/cli/main.js'),
      `export async function main(argv, io) { ${body} }
       export const reportCrash = (error, argv, io) => { io.stderr.write('crash: ' + error.message); return 1; };`,
    );
  }

  it('that is missing: says what to do', async () => {
    expect(await launch(root)).toEqual({
      code: 1,
      stdout: '',
      stderr: `kproxy-ts: not built; run \`npm ci && npm run build\` in ${root}\n`,
    });
  });

  it('whose packages are missing: one line', async () => {
    writeMain('');
    writeFileSync(path.join(root, 'dist/cli/main.js'), "import 'no-such-package';");
    const { code, stderr } = await launch(root);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^kproxy-ts: Cannot find package 'no-such-package'.*\n$/);
  });

  const A_LOT = 4_000_000;

  it('that prints a lot: loses nothing of it', async () => {
    writeMain(`io.stdout.write('x'.repeat(${A_LOT})); io.stderr.write('y'.repeat(${A_LOT})); return 3;`);
    const { code, stdout, stderr } = await launch(root);
    expect([code, stdout.length, stderr.length]).toEqual([3, A_LOT, A_LOT]);
  });

  it('that prints a lot to a reader who leaves: ends all the same', async () => {
    writeMain(`io.stdout.write('x'.repeat(${A_LOT})); return 3;`);
    const child = spawn(process.execPath, [path.join(root, 'bin/kproxy-ts')]);
    child.stdout.once('data', () => child.stdout.destroy());
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(3);
  });

  it('that leaves handles open: exits all the same', async () => {
    writeMain('setInterval(() => {}, 1000); return 3;');
    expect((await launch(root)).code).toBe(3);
  });

  it.each(['setImmediate(() => { throw new Error("lost") })', 'void Promise.reject(new Error("lost"))'])(
    'where nothing catches %s: is reported and ends the process',
    async (body) => {
      writeMain(`${body}; return new Promise(() => setInterval(() => {}, 1000));`);
      expect(await launch(root)).toEqual({ code: 1, stdout: '', stderr: 'crash: lost' });
    },
  );
});
