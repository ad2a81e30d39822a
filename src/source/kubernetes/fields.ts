// Reads an untyped YAML document field by field; every error names the file and the path of the field.

import { ConfigError } from '../../errors.ts';
import { isRecord } from './json.ts';

export class Fields {
  readonly #file: string;
  /** Path of this object in the document, '' at the top. */
  readonly path: string;
  readonly #values: Record<string, unknown>;

  /** @throws ConfigError when `value` is not an object. */
  constructor(file: string, path: string, value: unknown) {
    if (!isRecord(value)) throw new ConfigError(`${file}: ${path || 'document'}: must be an object`);
    this.#file = file;
    this.path = path;
    this.#values = value;
  }

  /** undefined when absent, null or empty, as client-go treats them. */
  string(name: string): string | undefined {
    const value = this.#values[name] ?? '';
    if (typeof value !== 'string') this.fail(name, 'must be a string');
    return value === '' ? undefined : value;
  }

  requiredString(name: string): string {
    return this.string(name) ?? this.fail(name, 'is missing');
  }

  boolean(name: string): boolean {
    const value = this.#values[name] ?? false;
    return typeof value === 'boolean' ? value : this.fail(name, 'must be true or false');
  }

  object(name: string): Fields | undefined {
    const value = this.#values[name] ?? undefined;
    return value === undefined ? undefined : new Fields(this.#file, this.#pathOf(name), value);
  }

  objects(name: string): Fields[] {
    return this.#array(name).map((value, i) => new Fields(this.#file, `${this.#pathOf(name)}[${i}]`, value));
  }

  strings(name: string): string[] {
    return this.#array(name).map((value, i) =>
      typeof value === 'string' ? value : this.fail(`${name}[${i}]`, 'must be a string'),
    );
  }

  /** The names of the fields that are present. */
  names(): string[] {
    return Object.keys(this.#values);
  }

  /** File and path of a field of this object, for messages. */
  fieldName(name: string): string {
    return `${this.#file}: ${this.#pathOf(name)}`;
  }

  /** @throws ConfigError naming file and field, always. */
  fail(name: string, reason: string): never {
    throw new ConfigError(`${this.fieldName(name)}: ${reason}`);
  }

  #array(name: string): unknown[] {
    const value = this.#values[name] ?? [];
    return Array.isArray(value) ? value : this.fail(name, 'must be a list');
  }

  #pathOf(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}
