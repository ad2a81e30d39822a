// What a flag is: the declaration that help, command-line options and parsing all come from, and the parsing itself.

import { ConfigError } from '../errors.ts';
import type { FieldForm } from './field-form.ts';
import type { ProxyMode } from './flags.ts';

/** How the text of a flag becomes a value. */
export interface FlagType<T> {
  /** What stands for the value in help. */
  readonly hint: string;
  /** The text meant when the flag stands alone (`--masquerade-all`); such a flag never takes the next argument. */
  readonly bare?: string;
  /** How the configuration file writes it; a string unless given. */
  readonly form?: FieldForm;
  /** What a flag says is added to what the file says, behind it, and does not replace it. */
  readonly isAdded?: boolean;
  /** The value of all occurrences in order, at least one. Throws ConfigError. */
  parse(texts: readonly string[]): T;
}

/**
 * Where the configuration file has a value: the path of a field of KubeProxyConfiguration, or of each mode's own. Those of
 * the mode that is in use count.
 */
export type FieldPath = string | Readonly<Partial<Record<ProxyMode, string>>>;

export interface Flag<T = unknown> {
  readonly type: FlagType<T>;
  /** As text: help shows it and the parser reads it. '' where the value is then "not given" or empty. */
  readonly default: string;
  /** One letter. */
  readonly short?: string;
  /** Other names with the same meaning. */
  readonly aliases?: readonly string[];
  /** Undefined when it can be said on the command line only. */
  readonly field?: FieldPath;
  /** There is no such flag: it can be said in the file only. */
  readonly isFieldOnly?: boolean;
  /** Heading in help. */
  readonly group: string;
  readonly help: string;
  /** `same`, or how kube-proxy 1.36 differs. */
  readonly kubeProxy: string;
}

/** Declarations by flag name, without dashes. */
export type Flags = Readonly<Record<string, Flag>>;

export type FlagValues<F extends Flags> = {
  readonly [N in keyof F]: F[N]['type'] extends FlagType<infer T> ? T : never;
};

/** One occurrence on the command line, or a value of the configuration file. */
export interface GivenFlag {
  readonly name: string;
  /** As the user wrote it, for messages: `--masquerade-bit`, `iptables.masqueradeBit`. */
  readonly spelled: string;
  /** Undefined when no value followed. */
  readonly text: string | undefined;
}

/** Of several occurrences every one must be valid and the last one counts, as in pflag. */
export function scalar<T>(hint: string, parse: (text: string) => T): FlagType<T> {
  return { hint, parse: (texts) => texts.map(parse).at(-1)! };
}

/** The value of every flag, or every error, each starting with the flag as it was spelled. */
export function parseFlags<F extends Flags>(
  flags: F,
  given: readonly GivenFlag[],
): { values: FlagValues<F>; errors: string[] } {
  const values: Record<string, unknown> = {};
  const errors: string[] = [];
  for (const [name, flag] of Object.entries(flags)) {
    const occurrences = given.filter((occurrence) => occurrence.name === name);
    const spelled = occurrences.at(-1)?.spelled ?? `--${name}`;
    const texts = occurrences.flatMap(({ text }) => text ?? []);
    if (texts.length < occurrences.length) {
      errors.push(`${spelled}: needs a value (${flag.type.hint})`);
      continue;
    }
    try {
      values[name] = flag.type.parse(texts.length === 0 ? [flag.default] : texts);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(`${spelled}: ${error.message}`);
    }
  }
  return { values: values as FlagValues<F>, errors };
}
