// What each command does once its flags are read: drive one part of the program and say what came of it.

import type { EffectiveConfig } from '../config/effective-config.ts';
import type { FlagValues } from '../config/flag.ts';
import type { LogFormat, ProxyMode } from '../config/flags.ts';
import { printable } from '../config/printable.ts';
import type { Settings } from '../config/settings.ts';
import type { FoundTable } from '../daemon/inspect.ts';
import type { TunableLog } from '../daemon/log.ts';
import type { RunOptions } from '../daemon/run.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import type { CLEANUP_FLAGS, TABLE_FLAGS } from './command-flags.ts';
import { formatJson, formatTable, formatYaml, selectRows, sortRows } from './format-table.ts';
import type { Io } from './io.ts';
import type { Parts } from './parts.ts';

/** The log of a daemon, or (`isOneShot`) of a command: then text, and only warnings unless -v asks for more. */
async function openLog(
  io: Io,
  format: LogFormat,
  verbosity: number,
  { isOneShot }: { isOneShot: boolean },
): Promise<TunableLog> {
  const { createLog } = await import('../daemon/log.ts');
  return createLog({
    format: isOneShot && format === 'auto' ? 'text' : format,
    verbosity: isOneShot ? verbosity - 1 : verbosity,
    isTty: io.isTty,
    destination: io.stderr,
  });
}

export async function runDaemon(
  parts: Parts,
  io: Io,
  settings: Settings,
  warnings: readonly string[],
  options: RunOptions,
): Promise<number> {
  const log = await openLog(io, settings.logFormat, settings.verbosity, { isOneShot: false });
  for (const warning of warnings) log.warn(warning);
  return parts.runDaemon(settings, log, options);
}

/** `--init-only`. */
export async function initNode(
  parts: Parts,
  io: Io,
  settings: Settings,
  warnings: readonly string[],
): Promise<number> {
  const log = await openLog(io, settings.logFormat, settings.verbosity, { isOneShot: false });
  for (const warning of warnings) log.warn(warning);
  return parts.initNode(settings, log);
}

export async function printTable(
  parts: Parts,
  io: Io,
  flags: FlagValues<typeof TABLE_FLAGS>,
  filter: string | undefined,
): Promise<number> {
  const mode = flags['proxy-mode'];
  const log = await openLog(io, 'text', flags.v, { isOneShot: true });
  const found = await parts.readVipTable(mode, { iptablesBackend: flags['iptables-backend'] }, log);
  for (const other of found?.others ?? []) {
    io.stderr.write(
      `This is ${found!.mode} mode. There are rules of ${other} mode, too: --proxy-mode=${other} shows them.\n`,
    );
  }
  const rows = sortRows(selectRows(found?.rows ?? [], filter, flags.namespace));
  if (rows.length === 0) io.stderr.write(`No virtual IPs${whyNone(found, mode)}.\n`);
  io.stdout.write(await formatRows(rows, flags.output));
  return 0;
}

function whyNone(found: FoundTable | undefined, mode: ProxyMode | undefined): string {
  if (found === undefined) {
    const what =
      mode === undefined ? 'no rules of kproxy-ts, nor of kube-proxy,' : `no rules of ${mode} mode`;
    return `: there are ${what} in this network namespace; \`kproxy-ts --help\` shows how to start the daemon`;
  }
  return found.rows.length === 0 ? ': the table is there and empty' : ` match (of ${found.rows.length})`;
}

async function formatRows(rows: readonly VipTableRow[], output: string): Promise<string> {
  if (output === 'json') return formatJson(rows);
  if (output === 'yaml') return formatYaml(rows, (await import('js-yaml')).dump);
  return rows.length === 0 ? '' : formatTable(rows, output === 'wide');
}

/** 0 nothing to write, 1 something. */
export async function printDiff(
  parts: Parts,
  io: Io,
  settings: Settings,
  warnings: readonly string[],
): Promise<number> {
  const log = await openLog(io, settings.logFormat, settings.verbosity, { isOneShot: true });
  for (const warning of warnings) log.warn(warning);
  const { lines, problems } = await parts.planDiff(settings, log);
  for (const { subject, reason } of problems) {
    io.stderr.write(`kproxy-ts: ${printable(`${subject}: ${reason}`)}\n`);
  }
  io.stdout.write(lines.map((line) => `${printable(line)}\n`).join(''));
  io.stderr.write(lines.length === 0 ? 'Nothing to write.\n' : `${lines.length} to write.\n`);
  return lines.length === 0 ? 0 : 1;
}

/** What could be removed is, and told, before the first failure of the rest is thrown. */
export async function cleanUp(
  parts: Parts,
  io: Io,
  flags: FlagValues<typeof CLEANUP_FLAGS>,
): Promise<number> {
  const log = await openLog(io, flags['logging-format'], flags.v, { isOneShot: true });
  const { removed, kept, failures } = await parts.cleanUp(
    {
      iptablesBackend: flags['iptables-backend'],
      includesKubeProxy: flags['include-kube-proxy'],
      excludedCidrs: flags['ipvs-exclude-cidrs'],
    },
    log,
  );
  io.stdout.write(removed.map((name) => `removed ${printable(name)}\n`).join(''));
  if (removed.length === 0 && failures.length === 0) io.stdout.write('Nothing to remove.\n');
  io.stderr.write(kept.map((name) => `kept ${printable(name)}\n`).join(''));
  if (failures[0] !== undefined) throw failures[0];
  return 0;
}

/** A file that is there is replaced as a whole, or not at all. Throws ConfigError. */
export async function writeConfig(io: Io, config: EffectiveConfig, path: string): Promise<number> {
  const { dump } = await import('js-yaml');
  const { writeFileAtomically } = await import('../config/write-file.ts');
  await writeFileAtomically(path, dump(config));
  io.stderr.write(`Wrote the configuration to ${printable(path)}.\n`);
  return 0;
}
