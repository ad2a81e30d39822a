// The output of iptables-save as chains, whose rules stay lines until they are asked for: most are nobody's business here,
// and a large cluster has 200,000.

import { DecodeError } from '../../errors.ts';

export interface SavedChain {
  readonly table: string;
  readonly name: string;
  /** Of a built-in chain; undefined for others. */
  readonly policy: string | undefined;
  /** `-A CHAIN …`, for parseIptablesRule. */
  readonly lines: readonly string[];
}

/**
 * All chains, in their order. What is neither complete nor in the grammar of iptables-save is a DecodeError that names the
 * line; the rest of a rule after its chain is not looked at.
 */
export function parseIptablesSave(lines: Iterable<string>): SavedChain[] {
  const saved: SavedChain[] = [];
  let table: string | undefined;
  let linesByChain = new Map<string, string[]>();
  let number = 0;
  const refuse = (line: string, reason: string): never => {
    throw new DecodeError(`line ${number} of iptables-save, '${line}'`, 0, reason);
  };
  for (const line of lines) {
    number++;
    const first = line.charAt(0);
    if (first === '' || first === '#') continue;
    if (first === '*') {
      if (table !== undefined) refuse(line, `table ${table} has no end`);
      table = line.slice(1);
      linesByChain = new Map();
    } else if (table === undefined) refuse(line, 'in no table');
    else if (line === 'COMMIT') table = undefined;
    else if (first === ':') {
      const [, name, policy] = CHAIN.exec(line) ?? refuse(line, 'not :CHAIN POLICY');
      if (linesByChain.has(name!)) refuse(line, 'there twice');
      const ofChain: string[] = [];
      linesByChain.set(name!, ofChain);
      saved.push({ table, name: name!, policy: policy === '-' ? undefined : policy, lines: ofChain });
    } else {
      const name = RULE.exec(line)?.[1] ?? refuse(line, 'not -A CHAIN …');
      const ofChain = linesByChain.get(name) ?? refuse(line, 'no such chain');
      ofChain.push(line);
    }
  }
  if (table !== undefined) refuse('', `table ${table} has no end`);
  return saved;
}

const CHAIN = /^:(\S+) (\S+)(?: \[\d+:\d+\])?\s*$/;
/** With its count before it, or without. */
const RULE = /^(?:\[\d+:\d+\] )?-A (\S+)/;
