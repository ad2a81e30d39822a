import { expect, it } from 'vitest';
import { buildSettings, type SettingsResult } from '../../src/config/settings.ts';
import { createLog } from '../../src/daemon/log.ts';
import { Reloader } from '../../src/daemon/reloader.ts';
import { KernelError } from '../../src/errors.ts';

const resultOf = (flags: Readonly<Record<string, string>>): SettingsResult =>
  buildSettings(
    Object.entries(flags).map(([name, text]) => ({ name, spelled: `--${name}`, text })),
    'host',
  );

/** A reloader that reads what `now` has, and what it did. */
function scripted() {
  const script = {
    now: resultOf({}),
    failure: undefined as Error | undefined,
    /** Called while a reload is under way. */
    meanwhile: () => {},
    /** Until when the file is being read. */
    reading: Promise.resolve() as Promise<void>,
    done: [] as string[],
    lines: [] as Record<string, unknown>[],
  };
  const log = createLog({
    format: 'json',
    verbosity: 0,
    isTty: false,
    destination: { write: (text) => script.lines.push(JSON.parse(text)) },
  });
  const reloader = new Reloader({
    settings: script.now.settings!,
    load: async () => {
      await script.reading;
      return script.now;
    },
    apply: async (settings, _, { changed }) => {
      script.meanwhile();
      await new Promise(setImmediate);
      if (script.failure !== undefined) throw script.failure;
      script.done.push(`apply ${changed.join(',')} ${settings.verbosity}`);
    },
    onEnd: (refusal) => script.done.push(refusal === undefined ? 'ok' : `refused: ${refusal}`),
    log,
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
  return { script, reloader, settle };
}

it('compares with what was applied last, not with what was refused', async () => {
  const { script, reloader, settle } = scripted();
  for (const [flags, failure] of [
    [{ v: '1' }, undefined],
    [{ v: '2' }, new KernelError('EPERM', 1, 'add table')],
    [{ v: '2', 'masquerade-all': 'x' }, undefined],
    [{ v: '1' }, undefined],
    [{ v: '3', 'hostname-override': 'other' }, undefined],
    [{ v: '3' }, undefined],
  ] as const) {
    Object.assign(script, { now: resultOf(flags), failure });
    reloader.request();
    await settle();
  }
  expect(script.done).toEqual([
    'apply verbosity 1',
    'ok',
    'refused: add table: EPERM',
    'refused: --masquerade-all: must be true or false, got "x"',
    'apply  1',
    'ok',
    'refused: takes a restart: another value of hostnameOverride',
    'apply verbosity 3',
    'ok',
  ]);
  expect(script.lines.filter(({ level }) => level === 'error').map(({ errors }) => errors)).toEqual([
    ['add table: EPERM'],
    ['--masquerade-all: must be true or false, got "x"'],
    ['takes a restart: another value of hostnameOverride'],
  ]);
});

it('what is asked for while one runs is one more after it', async () => {
  const { script, reloader, settle } = scripted();
  let isFirst = true;
  script.meanwhile = () => {
    if (!isFirst) return;
    isFirst = false;
    script.now = resultOf({ v: '2' });
    reloader.request();
    reloader.request();
  };
  reloader.request();
  await settle();
  expect(script.done).toEqual(['apply  0', 'ok', 'apply verbosity 2', 'ok']);
});

it('closing waits for the one under way, and starts none', async () => {
  const { script, reloader } = scripted();
  script.meanwhile = () => reloader.request();
  reloader.request();
  await new Promise(setImmediate);
  await reloader.close();
  expect(script.done).toEqual(['apply  0', 'ok']);
});

it('closing does not wait for a file that takes for ever, and what it says then counts no more', async () => {
  const { script, reloader, settle } = scripted();
  let read: () => void = () => {};
  script.reading = new Promise((resolve) => {
    read = resolve;
  });
  reloader.request();
  await reloader.close();
  read();
  await settle();
  expect(script.done).toEqual([]);
});
