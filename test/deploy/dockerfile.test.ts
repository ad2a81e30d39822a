// The Dockerfile, as far as it can be checked without an engine: its instructions, what it copies, and whether what it copies runs.

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tryCommand } from '../support/netns/command.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

interface Instruction {
  readonly name: string;
  readonly text: string;
}

interface Stage {
  readonly name: string;
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

/** https://docs.docker.com/reference/dockerfile/ */
const KNOWN = ['FROM', 'RUN', 'WORKDIR', 'COPY', 'ENV', 'ENTRYPOINT'];

function parse(text: string): Stage[] {
  const lines = text.replace(/^\s*#.*\n/gm, '').replace(/\\\n\s*/g, '');
  const stages: { name: string; from: string; instructions: Instruction[] }[] = [];
  for (const line of lines.split('\n').filter((one) => one.trim() !== '')) {
    const [, name = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    expect(KNOWN, line).toContain(name);
    if (name === 'FROM') {
      const [, from = '', as = ''] = /^(\S+) AS (\S+)$/.exec(rest) ?? [];
      expect(as, line).not.toBe('');
      stages.push({ name: as, from, instructions: [] });
    } else stages.at(-1)!.instructions.push({ name, text: rest });
  }
  return stages;
}

const stages = parse(readFileSync(path.join(ROOT, 'deploy/Dockerfile'), 'utf8'));
const stage = (name: string): Stage => stages.find((one) => one.name === name)!;
const named = (of: Stage, name: string): string[] =>
  of.instructions.filter((one) => one.name === name).map(({ text }) => text);

interface Copy {
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

const copies = (of: Stage): Copy[] =>
  named(of, 'COPY').map((text) => {
    const words = text.split(' ');
    const from = words[0]!.startsWith('--from=') ? words.shift()!.slice('--from='.length) : undefined;
    return { from, sources: words.slice(0, -1), target: words.at(-1)! };
  });

test('stages come before they are copied from, and the one without a shell is the last', () => {
  for (const [i, one] of stages.entries()) {
    const before = stages.slice(0, i).map(({ name }) => name);
    for (const { from } of copies(one)) if (from !== undefined) expect(before).toContain(from);
  }
  expect(stages.at(-1)!.name).toBe('kproxy-ts');
  expect(stages.at(-1)!.from).toContain('distroless');
  expect(named(stages.at(-1)!, 'RUN')).toEqual([]);
});

test('what is copied from the repository is there and not ignored', () => {
  const ignored = readFileSync(path.join(ROOT, 'deploy/Dockerfile.dockerignore'), 'utf8').trim().split('\n');
  expect(ignored[0]).toBe('**');
  const letIn = ignored.slice(1).map((line) => line.replace(/^!/, ''));
  const sources = stages.flatMap((one) =>
    copies(one).flatMap(({ from, sources: some }) => (from === undefined ? some : [])),
  );
  for (const source of sources) {
    expect(existsSync(path.join(ROOT, source)), source).toBe(true);
    expect(
      letIn.some((one) => source === one || source.startsWith(`${one}/`)),
      source,
    ).toBe(true);
  }
  expect(
    letIn.filter((one) => !sources.some((source) => source === one || one.startsWith(`${source}/`))),
  ).toEqual([]);
});

test('scripts that are run are scripts of the package', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const asked = named(stage('build'), 'RUN').flatMap((text) => [...text.matchAll(/npm run (\S+)/g)]);
  for (const [, script] of asked) expect(Object.keys(scripts)).toContain(script);
});

test('the program of the image runs, with nothing but what was copied', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'kproxy-image-'));
  try {
    for (const { from, sources, target } of copies(stage('program'))) {
      expect(from).toBe('build');
      for (const source of sources) {
        expect(source).toBe(target);
        const part = source.replace('/app/', '');
        // Modules are many, and the same.
        if (part === 'node_modules') symlinkSync(path.join(ROOT, part), path.join(folder, part));
        else cpSync(path.join(ROOT, part), path.join(folder, part), { recursive: true });
      }
    }
    for (const name of ['tools', 'kproxy-ts']) {
      const [entry] = named(stage(name), 'ENTRYPOINT').map((text) => JSON.parse(text) as [string, string]);
      expect(copies(stage(name))).toEqual([{ from: 'program', sources: ['/app'], target: '/app' }]);
      expect(entry![1]).toBe('/app/bin/kproxy-ts');
    }
    const program = path.join(folder, 'bin/kproxy-ts');
    const shown = await tryCommand([process.execPath, program, '--version']);
    expect(shown).toEqual({ status: 0, stdout: `kproxy-ts v${version}\n`, stderr: '' });
    const loaded = await tryCommand([
      process.execPath,
      '-e',
      `console.log(typeof require(${JSON.stringify(path.join(folder, 'native/load.cjs'))}).loadAddon())`,
    ]);
    expect(loaded).toEqual({ status: 0, stdout: 'object\n', stderr: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
