// The command line: commander knows the commands, options and help; values stay text for src/config to parse, so that one
// run reports every error. Go's spellings (spf13/pflag, as kube-proxy reads them) are accepted: `--flag`, `--flag=false`, `-v=4`.

import { Command, Option } from 'commander';
import type { Flag, Flags, GivenFlag } from '../config/flag.ts';
import { WITHOUT_EFFECT } from '../config/flags-without-effect.ts';
import { nearest } from '../config/nearest.ts';
import { quote } from '../config/printable.ts';
import { COMMAND_FLAGS, type CommandName } from './command-flags.ts';
import type { Io } from './io.ts';

const EXAMPLES = `
Examples:
  kproxy-ts --kubeconfig /etc/kubernetes/kube-proxy.conf --cluster-cidr 10.244.0.0/16
  kproxy-ts --source ./manifests        no API server: Services and EndpointSlices from a folder
  kproxy-ts diff --source ./manifests   what that would write, without writing it
  kproxy-ts table default/web -o wide   virtual IPs, backends and connections, as the kernel holds them
  kproxy-ts cleanup                     remove every rule of kproxy-ts

Exit status: 0 success or a requested stop, 1 failure, 2 a flag or setting that cannot be used,
3 another kproxy-ts serves this network namespace.
'kproxy-ts diff' exits with 0 when nothing would be written, 1 when something would, 2 on any failure.
`;

export interface CommandLine {
  readonly command: CommandName;
  readonly given: readonly GivenFlag[];
  readonly operands: readonly string[];
  readonly errors: readonly string[];
}

/** Reads the arguments after the program's name. Throws CommanderError after having printed help. */
export function readCommandLine(argv: readonly string[], io: Io): CommandLine {
  const given: GivenFlag[] = [];
  let chosen: { command: CommandName; rest: readonly string[] } = { command: 'run', rest: [] };
  const declare = (command: Command, name: CommandName) => {
    addFlags(command, COMMAND_FLAGS[name], given);
    command.helpOption('-h, --help', 'print this help and exit');
    command.configureHelp({ optionTerm: (option) => option.flags.replace(/\[(?!bool|raw)(.*)\]/, '<$1>') });
    command.allowUnknownOption().allowExcessArguments();
    command.action(() => {
      chosen = { command: name, rest: command.args };
    });
  };

  const program = new Command('kproxy-ts')
    .description(
      'Per-node service proxy for Kubernetes: makes virtual IPs work. Without a command it runs the daemon.',
    )
    .usage('[flags] | kproxy-ts <command> [flags]')
    .helpCommand(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => 110,
      getErrHelpWidth: () => 110,
    })
    .addHelpText('after', EXAMPLES);
  declare(program, 'run');
  declare(
    program
      .command('table')
      .description(
        'print the virtual-IP table as the kernel holds it; also that of a kube-proxy in iptables mode',
      )
      .argument('[filter]', 'namespace/name, name, or an IP (virtual or of a backend), with or without port'),
    'table',
  );
  declare(
    program.command('diff').description('print what the daemon would write, and write nothing'),
    'diff',
  );
  declare(
    program
      .command('cleanup')
      .description('remove exactly what kproxy-ts wrote to this kernel, in whatever mode'),
    'cleanup',
  );
  program.parse(goSpelling(argv), { from: 'user' });

  const unknown = chosen.rest.filter((argument) => argument.length > 1 && argument.startsWith('-'));
  const errors = [
    ...unknown.map(unknownFlag(chosen.command)),
    ...given
      .filter((flag) => !(flag.name in COMMAND_FLAGS[chosen.command]))
      .map((flag) => `${flag.spelled}: not a flag of "${chosen.command}"`),
  ];
  // What follows an unknown flag may be its value, so it says nothing about operands.
  const operands = unknown.length > 0 ? [] : chosen.rest;
  const excess = operands.slice(chosen.command === 'table' ? 1 : 0);
  const commands = program.commands.map((command) => command.name()).join(', ');
  errors.push(...excess.map((word) => `unexpected argument ${quote(word)} (commands: ${commands})`));
  return { command: chosen.command, given, operands, errors };
}

function addFlags(command: Command, flags: Flags, given: GivenFlag[]): void {
  const idle: string[] = [];
  for (const [name, flag] of Object.entries(flags)) {
    if (flag.isFieldOnly) continue;
    const isIdle = flag.group === WITHOUT_EFFECT;
    if (isIdle) idle.push(`  --${name}: ${flag.help}`);
    for (const spelling of [name, ...(flag.aliases ?? [])]) {
      const short = flag.short !== undefined && spelling === name ? `-${flag.short}, ` : '';
      // Optional for commander only: a missing value is then reported beside all other errors.
      const option = new Option(`${short}--${spelling} [${flag.type.hint}]`, describe(flag));
      command.addOption(option.helpGroup(flag.group).hideHelp(isIdle || spelling !== name));
      command.on(`option:${spelling}`, (text: string | null) =>
        given.push({ name, spelled: `--${spelling}`, text: text ?? undefined }),
      );
    }
  }
  if (idle.length > 0) command.addHelpText('after', `\n${WITHOUT_EFFECT}\n${idle.join('\n')}`);
}

function describe(flag: Flag): string {
  const parts = [flag.help];
  if (flag.aliases !== undefined) parts.push(`(also ${flag.aliases.map((name) => `--${name}`).join(', ')})`);
  if (flag.default !== '' && flag.default !== 'false') parts.push(`(default ${flag.default})`);
  if (flag.kubeProxy !== 'same') parts.push(`[kube-proxy: ${flag.kubeProxy}]`);
  return parts.join(' ');
}

/** Rewrites pflag's spellings to commander's: `_` in names, flags standing alone, `-v=4`. */
function goSpelling(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  const flags: Flags = COMMAND_FLAGS.run;
  return argv.map((argument, i) => {
    if (end >= 0 && i > end) return argument;
    const long = /^--([^=]+)(=.*)?$/s.exec(argument);
    if (long === null) return argument.replace(/^-([a-zA-Z])=(?=.)/s, '-$1');
    const name = long[1]!.replaceAll('_', '-');
    const bare = flags[name]?.type.bare;
    return `--${name}${long[2] ?? (bare === undefined ? '' : `=${bare}`)}`;
  });
}

function unknownFlag(command: CommandName): (argument: string) => string {
  const flags: Flags = COMMAND_FLAGS[command];
  const names = Object.entries(flags).flatMap(([name, flag]) =>
    flag.isFieldOnly ? [] : [name, ...(flag.aliases ?? [])],
  );
  return (argument) => {
    const spelled = argument.split('=', 1)[0]!;
    const suggestion = nearest(spelled.replace(/^-+/, ''), names);
    const hint = suggestion === undefined ? '' : `; did you mean --${suggestion}?`;
    return `${quote(spelled).slice(1, -1)}: unknown flag${hint}`;
  };
}
