// A cursor over an unknown value: reads fields by type, and when one is wrong notes its path, the rule and the value.
// Reading never throws and only ever sees own properties. A null is an absent field, as in the Kubernetes API.

import type { Built, Warning } from './built.ts';
import { type Cidr, type Ip, parseCidr, parseIp } from './ip.ts';
import type { Protocol } from './types.ts';

/** An object of 100,000 bad entries is told in this many lines. */
const MAX_WARNINGS = 20;

// RFC 1123 names as k8s.io/apimachinery validates them. They end up in rules and on terminals, so nothing else may pass.
const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;

interface Findings {
  failure: string | undefined;
  readonly warnings: Warning[];
  warningCount: number;
}

/** A value inside an object, and the way to it. */
export class Field {
  /** undefined when absent. */
  readonly value: unknown;
  readonly #findings: Findings;
  readonly #parent: Field | undefined;
  readonly #step: string | number;

  private constructor(value: unknown, findings: Findings, parent: Field | undefined, step: string | number) {
    this.value = value ?? undefined;
    this.#findings = findings;
    this.#parent = parent;
    this.#step = step;
  }

  /** The value to start from; `path` is where it lies when that is not the top of what a human sees. */
  static root(value: unknown, path = ''): Field {
    const root = new Field(value, { failure: undefined, warnings: [], warningCount: 0 }, undefined, path);
    if (root.value === undefined) root.fail('must be an object');
    return root;
  }

  /** The first failure among all the fields read from this root, or else `value` with the warnings. */
  built<T>(value: T): Built<T> {
    const { failure, warnings, warningCount } = this.#findings;
    if (failure !== undefined) return { kind: 'invalid', code: 'INVALID_FIELD', reason: failure };
    const untold = warningCount - warnings.length;
    if (untold === 0) return { kind: 'built', value, warnings };
    const rest = { code: 'SKIPPED_FIELD', reason: `${untold} more entries are skipped like these` };
    return { kind: 'built', value, warnings: [...warnings, rest] };
  }

  /** `spec.ports[0].name` */
  get path(): string {
    if (this.#parent === undefined) return String(this.#step);
    const before = this.#parent.path;
    if (typeof this.#step === 'number') return `${before}[${this.#step}]`;
    if (!/^\w+$/.test(this.#step)) return `${before}[${describeValue(this.#step)}]`;
    return before === '' ? this.#step : `${before}.${this.#step}`;
  }

  /** A field of an object; absent when the object is. */
  at(key: string): Field {
    return new Field(this.#own(key), this.#findings, this, key);
  }

  /** True when an object has the field, even if it is null: what counts for labels is that they are there. */
  has(key: string): boolean {
    return this.#own(key) !== undefined;
  }

  /** The names of an object's fields, in its order; none when it is absent. */
  keys(): string[] {
    const { value } = this;
    if (value === undefined) return [];
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.keys(value);
    this.fail('must be an object');
    return [];
  }

  /** The entries of a list; none when it is absent. */
  items(): Field[] {
    const { value } = this;
    if (value === undefined) return [];
    if (Array.isArray(value)) return Array.from(value, (one, i) => new Field(one, this.#findings, this, i));
    this.fail('must be a list');
    return [];
  }

  /** A string, '' when absent. */
  text(): string {
    if (typeof this.value === 'string') return this.value;
    if (this.value !== undefined) this.fail('must be a string');
    return '';
  }

  /** A DNS label of at most 63 characters; `absent` when there is none, which is a failure unless given. */
  label(absent?: string): string {
    return this.#name(LABEL, 'must be a DNS label of at most 63 characters', absent);
  }

  /** A DNS subdomain of at most 253 characters. */
  subdomain(): string {
    return this.#name(SUBDOMAIN, 'must be a DNS subdomain of at most 253 characters');
  }

  /** An integer from `min` to `max`; `absent` when there is none, which is a failure unless given. */
  integer(min: number, max: number, absent?: number): number {
    if (this.value === undefined && absent !== undefined) return absent;
    if (Number.isInteger(this.value) && (this.value as number) >= min && (this.value as number) <= max) {
      return this.value as number;
    }
    this.fail(`must be an integer from ${min} to ${max}`);
    return min;
  }

  boolean(absent: boolean): boolean {
    if (typeof this.value === 'boolean') return this.value;
    if (this.value !== undefined) this.fail('must be true or false');
    return absent;
  }

  /** One of a few words; `absent` when there is none, which is a failure unless given. */
  oneOf<const T extends string>(words: readonly [T, ...T[]], absent?: NoInfer<T>): T {
    if (absent !== undefined && (this.value === undefined || this.value === '')) return absent;
    const word = words.find((one) => one === this.value);
    if (word === undefined) this.fail(`must be one of ${words.join(', ')}`);
    return word ?? words[0];
  }

  /** TCP when absent. */
  protocol(): Protocol {
    return this.oneOf(['TCP', 'UDP', 'SCTP'], 'TCP');
  }

  /** An address; undefined, with a failure, when this is not one. */
  ip(): Ip | undefined {
    const ip = typeof this.value === 'string' ? parseIp(this.value) : undefined;
    if (ip === undefined) this.fail('must be an IP address');
    return ip;
  }

  /** An address; undefined, with a warning, when this is not one. */
  ipOrSkip(): Ip | undefined {
    const ip = typeof this.value === 'string' ? parseIp(this.value) : undefined;
    if (ip === undefined) this.skip('must be an IP address');
    return ip;
  }

  /** A network; undefined, with a warning, when this is not one. */
  cidrOrSkip(): Cidr | undefined {
    const cidr = typeof this.value === 'string' ? parseCidr(this.value.trim()) : undefined;
    if (cidr === undefined) this.skip('must be a CIDR such as 192.0.2.0/24');
    return cidr;
  }

  /** Notes that this value is wrong, and with it the whole object. The first failure is the one that is told. */
  fail(rule: string): void {
    this.#findings.failure ??= this.#complaint(rule);
  }

  /** Notes that this entry is left out of the object. */
  skip(rule: string): void {
    this.warn('SKIPPED_FIELD', rule, 'skipped');
  }

  /** Notes that this value is wrong, and what stands for it. */
  warn(code: string, rule: string, outcome: string): void {
    if (this.#isWorthTelling()) this.#tell(code, `${this.#complaint(rule)}; ${outcome}`);
  }

  /** Notes something about this value that may not be meant. */
  remark(code: string, words: string): void {
    if (this.#isWorthTelling()) this.#tell(code, `${this.path}: ${words}`);
  }

  #isWorthTelling(): boolean {
    return this.#findings.warningCount++ < MAX_WARNINGS;
  }

  #tell(code: string, reason: string): void {
    this.#findings.warnings.push({ code, reason });
  }

  #own(key: string): unknown {
    const { value } = this;
    if (value === undefined) return undefined;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    }
    this.fail('must be an object');
    return undefined;
  }

  #name(pattern: RegExp, rule: string, absent?: string): string {
    if (absent !== undefined && (this.value === undefined || this.value === '')) return absent;
    if (typeof this.value === 'string' && pattern.test(this.value)) return this.value;
    this.fail(rule);
    return '';
  }

  #complaint(rule: string): string {
    const { path } = this;
    return `${path === '' ? '' : `${path}: `}${rule}, got ${describeValue(this.value)}`;
  }
}

/** A value in a few words, never more than a line. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value !== 'string') return typeof value === 'function' ? 'a function' : String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}
