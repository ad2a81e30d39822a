// The options of one match or target, `! --dport 80 --sport 53`, read by name. Failure is sticky: read all, then ask once.

import { isWord, type SaveWord } from './save-words.ts';

/** Options that are followed by a value whatever it looks like: a comment may be `-j`, and is printed without quotes. */
const VALUED: ReadonlySet<string> = new Set([
  '--comment',
  '--name',
  '--nfacct-name',
  '--physdev-in',
  '--physdev-out',
  '--log-prefix',
]);

interface Option {
  readonly isInverted: boolean;
  /** undefined for a flag. */
  readonly value: string | undefined;
}

export class OptionReader {
  readonly #left: Map<string, Option>;
  #hasFailed = false;

  private constructor(options: Map<string, Option>) {
    this.#left = options;
  }

  /** undefined for words that are not options with one value or none each, every one given once. */
  static of(words: readonly SaveWord[]): OptionReader | undefined {
    const options = new Map<string, Option>();
    for (let i = 0; i < words.length; ) {
      const isInverted = isWord(words[i], '!');
      if (isInverted) i++;
      const name = words[i++];
      if (name === undefined || !isName(name) || options.has(name.text)) return undefined;
      const next = words[i];
      const hasValue = next !== undefined && (isValued(name) || !(isName(next) || isWord(next, '!')));
      options.set(name.text, { isInverted, value: hasValue ? next.text : undefined });
      if (hasValue) i++;
    }
    return new OptionReader(options);
  }

  /** Whether all were read and none was other than expected. */
  get isUnderstood(): boolean {
    return !this.#hasFailed && this.#left.size === 0;
  }

  /** `--name value`, `! --name value`; undefined when it is not given, or `parse` has no words for it. */
  value<T>(
    name: string,
    parse: (text: string) => T | undefined,
  ): { readonly value: T; readonly isInverted: boolean } | undefined {
    const option = this.#take(name);
    if (option === undefined) return undefined;
    const value = option.value === undefined ? undefined : parse(option.value);
    if (value !== undefined) return { value, isInverted: option.isInverted };
    this.#hasFailed = true;
    return undefined;
  }

  /** `--name value`; inverted is other than expected. */
  plain<T>(name: string, parse: (text: string) => T | undefined): T | undefined {
    const read = this.value(name, parse);
    if (read?.isInverted) this.#hasFailed = true;
    return read?.value;
  }

  /** `--name`; inverted is other than expected. */
  has(name: string): boolean {
    const flag = this.flag(name);
    if (flag === false) this.#hasFailed = true;
    return flag === true;
  }

  /** True for `--name`, false for `! --name`. */
  flag(name: string): boolean | undefined {
    const option = this.#take(name);
    if (option === undefined) return undefined;
    if (option.value !== undefined) this.#hasFailed = true;
    return !option.isInverted;
  }

  #take(name: string): Option | undefined {
    const option = this.#left.get(`--${name}`);
    this.#left.delete(`--${name}`);
    return option;
  }
}

/** Whether the next word is its value, even one that is the name of an option. */
export function isValued({ text, isQuoted }: SaveWord): boolean {
  return !isQuoted && VALUED.has(text);
}

function isName({ text, isQuoted }: SaveWord): boolean {
  return !isQuoted && text.startsWith('--');
}
