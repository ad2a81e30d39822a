// The matches that iptables-nft writes in expressions of nf_tables: ports of TCP and UDP, and the packet's mark.

import { InternalError } from '../../errors.ts';
import type { Expression } from '../nftables/expression.ts';
import { applyMask, compare, compareRange, loadMeta, loadPayload, type Test } from './expressions.ts';
import { encodeXtPorts, type PortProtocol } from './match.ts';
import type { IptablesRule, Match, PortRange } from './rule.ts';

type Mark = Extract<Match, { readonly kind: 'mark' }>;
type Ports = Extract<Match, { readonly kind: 'ports' }>;

const LOAD_MARK = loadMeta('mark');
const LOAD_PORTS = loadPayload('transport', 0, 4);
const LOAD_SOURCE_PORT = loadPayload('transport', 0, 2);
const LOAD_DESTINATION_PORT = loadPayload('transport', 2, 2);
const WHOLE_MARK = 0xffffffff;

/** Appends the test to `expressions`. */
export function encodeMark(expressions: Expression[], { value, mask, isInverted }: Mark): void {
  expressions.push(LOAD_MARK);
  if (mask !== WHOLE_MARK) expressions.push(applyMask(host32(mask)));
  expressions.push(compare(isInverted ? 'neq' : 'eq', host32(value)));
}

export function decodeMark({ loaded, mask, op, from, to }: Test): Mark | undefined {
  const isMark = 'key' in loaded && loaded.key === 'mark' && from.length === 4 && to === undefined;
  if (!isMark || (op !== 'eq' && op !== 'neq') || (mask !== undefined && mask.length !== 4)) return undefined;
  return {
    kind: 'mark',
    value: fromHost32(from),
    mask: mask === undefined ? WHOLE_MARK : fromHost32(mask),
    isInverted: op === 'neq',
  };
}

/** A mark is in the machine's order in its register. */
function host32(value: number): string {
  return Buffer.from(Uint32Array.of(value).buffer).toString('latin1');
}

function fromHost32(data: string): number {
  return new DataView(Uint8Array.from(data, (char) => char.charCodeAt(0)).buffer).getUint32(0, IS_LITTLE);
}

const IS_LITTLE = host32(1).charCodeAt(0) === 1;

/** Appends the tests to `expressions`: of TCP and UDP natively, unless there are none; else a match of iptables. */
export function encodePorts(
  expressions: Expression[],
  match: Ports,
  protocol: IptablesRule['protocol'],
): void {
  const name = protocol?.name ?? 'all';
  if (protocol?.isInverted || !hasPorts(name)) {
    throw new InternalError(`ports in a rule of protocol ${protocol?.isInverted ? '! ' : ''}${name}`);
  }
  const { sourcePorts, destinationPorts } = match;
  if (name === 'sctp' || (sourcePorts === undefined && destinationPorts === undefined)) {
    expressions.push(encodeXtPorts(name, match));
  } else if (isPlain(sourcePorts) && isPlain(destinationPorts)) {
    expressions.push(LOAD_PORTS, compare('eq', be16(sourcePorts.first) + be16(destinationPorts.first)));
  } else {
    if (sourcePorts) expressions.push(LOAD_SOURCE_PORT, comparePorts(sourcePorts));
    if (destinationPorts) expressions.push(LOAD_DESTINATION_PORT, comparePorts(destinationPorts));
  }
}

const hasPorts = (name: string): name is PortProtocol => name === 'tcp' || name === 'udp' || name === 'sctp';

/** One port, not 0: a pair of such is compared at once. */
function isPlain(ports: PortRange | undefined): ports is PortRange {
  return ports !== undefined && ports.first === ports.last && ports.first !== 0 && !ports.isInverted;
}

function comparePorts({ first, last, isInverted }: PortRange): Expression {
  if (first === last) return compare(isInverted ? 'neq' : 'eq', be16(first));
  if (first === 0 && last < MAX_PORT) return compare(isInverted ? 'gt' : 'lte', be16(last));
  return compareRange(isInverted ? 'neq' : 'eq', be16(first), be16(last));
}

const MAX_PORT = 0xffff;

const be16 = (value: number): string => String.fromCharCode(value >> 8, value & 0xff);
const fromBe16 = (data: string, at = 0): number => (data.charCodeAt(at) << 8) | data.charCodeAt(at + 1);

/** One side, or both; undefined if the test is about something else. */
export function decodePorts({ loaded, mask, op, from, to }: Test): Ports | undefined {
  if ('key' in loaded || loaded.base !== 'transport' || mask !== undefined) return undefined;
  const isInverted = op === 'neq';
  const port = (at: number): PortRange => ({
    first: fromBe16(from, at),
    last: fromBe16(from, at),
    isInverted,
  });
  if (loaded.offset === 0 && from.length === 4 && to === undefined && (op === 'eq' || isInverted)) {
    // Not equal in 1.8.9 is `! --sport … ! --dport …`, though it matches more than that.
    return { kind: 'ports', sourcePorts: port(0), destinationPorts: port(2) };
  }
  const ports = from.length === 2 ? decodeRange(op, fromBe16(from), to) : undefined;
  if (ports === undefined) return undefined;
  if (loaded.offset === 0) return { kind: 'ports', sourcePorts: ports };
  return loaded.offset === 2 ? { kind: 'ports', destinationPorts: ports } : undefined;
}

function decodeRange(op: Test['op'], port: number, to: string | undefined): PortRange | undefined {
  const range = (first: number, last: number): PortRange | undefined =>
    first <= last ? { first, last, isInverted: op === 'neq' } : undefined;
  if (to !== undefined) return to.length === 2 ? range(port, fromBe16(to)) : undefined;
  switch (op) {
    case 'lt':
      return range(0, port - 1);
    case 'lte':
      return range(0, port);
    case 'gt':
      return range(port + 1, MAX_PORT);
    case 'gte':
      return range(port, MAX_PORT);
    default:
      return range(port, port);
  }
}
