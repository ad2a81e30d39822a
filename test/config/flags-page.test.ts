// docs/flags.md says what the declarations say. `npx vitest run test/config/flags-page.test.ts -u` writes it anew.

import { expect, it } from 'vitest';
import { COMMAND_FLAGS } from '../../src/cli/command-flags.ts';
import type { FieldPath, Flags } from '../../src/config/flag.ts';
import { WITHOUT_EFFECT } from '../../src/config/flags-without-effect.ts';

const flags: Flags = COMMAND_FLAGS.run;

const code = (text: string): string => (text === '' ? '' : `\`${text}\``);
const cell = (text: string): string => text.replaceAll('|', '\\|');

function fieldCell(field: FieldPath | undefined): string {
  if (typeof field !== 'object') return code(field ?? '');
  const modesByPath = new Map<string, string[]>();
  for (const [mode, path] of Object.entries(field)) {
    modesByPath.set(path, [...(modesByPath.get(path) ?? []), mode]);
  }
  return [...modesByPath].map(([path, modes]) => `${code(path)} (${modes.join(', ')})`).join('<br>');
}

it('docs/flags.md', async () => {
  const groups = new Map<string, string[]>();
  for (const [name, flag] of Object.entries(flags)) {
    const names = flag.isFieldOnly ? [] : [name, ...(flag.aliases ?? [])].map((one) => code(`--${one}`));
    const cells = [names.join('<br>'), fieldCell(flag.field), code(flag.default), flag.help];
    if (flag.group !== WITHOUT_EFFECT) cells.push(flag.kubeProxy);
    groups.set(flag.group, [...(groups.get(flag.group) ?? []), `| ${cells.map(cell).join(' | ')} |`]);
  }
  const sections = [...groups].map(([group, rows]) => {
    const isIdle = group === WITHOUT_EFFECT;
    const heading = [
      'Flag',
      'Field',
      'Default',
      isIdle ? 'Why' : 'Meaning',
      ...(isIdle ? [] : ['kube-proxy 1.36']),
    ];
    return `## ${group.replace(/:$/, '')}\n\n| ${heading.join(' | ')} |\n|${'---|'.repeat(heading.length)}\n${rows.join('\n')}\n`;
  });
  const page = `# Flags and fields

Every flag of the daemon and its field in the configuration file ([configuration.md](configuration.md)). Made from the declarations in
\`src/config\`; a test compares them.

${sections.join('\n')}`;
  await expect(page).toMatchFileSnapshot('../../docs/flags.md');
});
