// The program as a function: arguments in, exit code out. Only the launcher in bin/ touches the process.

import os from 'node:os';
import { CommanderError } from 'commander';
import { type GivenFlag, parseFlags } from '../config/flag.ts';
import { LOG_FLAGS } from '../config/flags.ts';
import { buildSettings, type SettingsResult } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import { CLEANUP_FLAGS, CONFIG_FILE_FLAGS, INSTEAD_FLAGS, TABLE_FLAGS } from './command-flags.ts';
import { type CommandLine, readCommandLine } from './command-line.ts';
import { cleanUp, initNode, printDiff, printTable, runDaemon, writeConfig } from './commands.ts';
import { reportFailure } from './failure.ts';
import type { Io } from './io.ts';
import { type Parts, parts as realParts } from './parts.ts';

/**
 * Runs `kproxy-ts` with the arguments after the program's name. Never rejects.
 * Exit codes: 0 success or a requested stop, 1 failure (`diff`: differences), 2 bad configuration (`diff`: any failure), 3
 * another daemon.
 */
export async function main(argv: readonly string[], io: Io, parts: Parts = realParts): Promise<number> {
  let line: CommandLine | undefined;
  try {
    line = readCommandLine(argv, io);
    return await runCommand(line, io, parts);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has printed help
    const exitCode = reportFailure(error, io.stderr, verbosityOf(line));
    return line?.command === 'diff' ? 2 : exitCode;
  }
}

/** For an exception that nothing caught: what to print, and the exit code. */
export function reportCrash(error: unknown, argv: readonly string[], io: Io): number {
  return reportFailure(error, io.stderr, verbosityOf(readCommandLine(argv, io)));
}

async function runCommand(line: CommandLine, io: Io, parts: Parts): Promise<number> {
  const { command, given, operands } = line;
  if (command === 'table') {
    const { values, errors } = parseFlags(TABLE_FLAGS, given);
    return refuse([...line.errors, ...errors], io) ?? printTable(parts, io, values, operands[0]);
  }
  if (command === 'cleanup') {
    const { values, errors } = parseFlags(CLEANUP_FLAGS, given);
    return refuse([...line.errors, ...errors], io) ?? cleanUp(parts, io, values);
  }
  const instead = parseFlags(INSTEAD_FLAGS, given);
  const at = parseFlags(CONFIG_FILE_FLAGS, given);
  const load = configLoader(given, at.values.config);
  const { settings, config, errors, warnings } = await load();
  if (command === 'run' && instead.values['include-kube-proxy'] && !instead.values.cleanup) {
    instead.errors.push('--include-kube-proxy: only with --cleanup');
  }
  const refused = refuse([...line.errors, ...at.errors, ...instead.errors, ...errors], io);
  if (refused !== undefined || settings === undefined || config === undefined) return refused ?? 2;
  if (command === 'diff') return printDiff(parts, io, settings, warnings);
  if (instead.values.version !== 'false') return printVersion(io, instead.values.version === 'raw');
  const configPath = instead.values['write-config-to'];
  if (configPath) return writeConfig(io, config, configPath);
  if (instead.values.cleanup) return cleanUp(parts, io, parseFlags(CLEANUP_FLAGS, given).values);
  if (instead.values['init-only']) return initNode(parts, io, settings, warnings);
  return runDaemon(parts, io, settings, warnings, {
    config,
    load,
    configPath: at.values.config || undefined,
  });
}

/** Settings as flags and file, which is read anew, say at the time of the call. */
function configLoader(given: readonly GivenFlag[], path: string | undefined): () => Promise<SettingsResult> {
  return async () => {
    // Loaded when needed: a parser of YAML.
    const file = path && (await (await import('../config/load-config.ts')).loadConfig(path));
    return buildSettings(given, os.hostname(), file || undefined);
  };
}

/** Prints every error and gives the exit code, or undefined when there is none. */
function refuse(errors: readonly string[], io: Io): number | undefined {
  for (const error of errors) io.stderr.write(`kproxy-ts: ${error}\n`);
  return errors.length === 0 ? undefined : 2;
}

function printVersion(io: Io, isRaw: boolean): number {
  const details = ` (node ${process.version}, ${os.type()} ${os.release()}, ${os.arch()})`;
  io.stdout.write(`kproxy-ts v${readVersion()}${isRaw ? details : ''}\n`);
  return 0;
}

/** -v, or 0 where there is none that can be read. */
function verbosityOf(line: CommandLine | undefined): number {
  const { values, errors } = parseFlags({ v: LOG_FLAGS.v }, line?.given ?? []);
  return errors.length === 0 ? values.v : 0;
}
