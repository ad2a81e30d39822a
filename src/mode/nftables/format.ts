// Planned changes as lines for humans: what `kproxy-ts diff` prints. `+` is written, `-` deleted, `~` replaced.

import { type IpFamily, unpackIp } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { ElementChange } from './element-change.ts';
import {
  ENDPOINT_SETS,
  formatPriority,
  intervalEndAddress,
  isIntervalSet,
  nftFamily,
  PICK_SETS,
  PICKED_SETS,
  protocolOf,
  SERVICE_SETS,
  type SetName,
  SHAPE_SETS,
  serviceValueParts,
  unpackHostU32,
  unpackPort,
} from './names.ts';
import { chainOfShapeId } from './shape.ts';

/** `+ ip services 10.96.0.10 . udp . 53 : pick-2 "kube-system/kube-dns:dns"` */
export function formatChange({ family, set, key, before, after }: ElementChange): string {
  const subject = `${nftFamily(family)} ${set} ${formatKey(family, set, key)}`;
  const values = [before, after]
    .filter((value) => value !== undefined && value !== '')
    .map((value) => formatValue(family, set, value!));
  const sign = before === undefined ? '+' : after === undefined ? '-' : '~';
  return `${sign} ${subject}${values.length === 0 ? '' : ` : ${values.join(' -> ')}`}`;
}

/** `+ ip chain pick-3 (2 rules)`; rules are told with their chain. */
export function formatRequest(request: NftRequest): string {
  const where = `${request.family} table ${request.table}`;
  switch (request.op) {
    case 'addTable':
      return `+ ${where}`;
    case 'deleteTable':
      return `- ${where}`;
    case 'addChain':
      return `+ ${where} chain ${request.chain}`;
    case 'deleteChain':
      return `- ${where} chain ${request.chain}`;
    case 'flushChain':
      return `- ${where} chain ${request.chain} rules`;
    case 'addRule':
      return `+ ${where} chain ${request.chain} rule [${request.expressions.map(({ kind }) => kind).join(' ')}]`;
    case 'deleteRule':
      return `- ${where} chain ${request.chain} rule ${request.handle}`;
    case 'addSet':
      return `+ ${where} set ${request.set}`;
    case 'deleteSet':
      return `- ${where} set ${request.set}`;
    case 'flushSet':
      return `- ${where} set ${request.set} elements`;
    case 'addElements':
      return `+ ${where} set ${request.set} ${request.elements.length} elements`;
    case 'deleteElements':
      return `- ${where} set ${request.set} ${request.elements.length} elements`;
  }
}

function formatKey(family: IpFamily, set: SetName, key: string): string {
  const length = family === 4 ? 4 : 16;
  if (isIntervalSet(set)) {
    const end = intervalEndAddress(key);
    return end === undefined ? formatIp(key) : `${formatIp(end)} (end of range)`;
  }
  if (set === 'cluster-ips' || set === 'bound-ips') return formatIp(key);
  if (set === 'hairpin') return `${formatIp(key.slice(0, length))} . ${formatIp(key.slice(length))}`;
  if (SHAPE_SETS.has(set)) return chainOfShapeId(key) ?? formatPriority(key);
  const hasAddress = !set.includes('nodeport');
  const rest = hasAddress ? key.slice(length) : key;
  const protocol = protocolOf(rest.charCodeAt(0))?.toLowerCase() ?? rest.charCodeAt(0);
  const words = [
    ...(hasAddress ? [formatIp(key.slice(0, length))] : []),
    protocol,
    unpackPort(rest.slice(4)),
  ];
  if (ENDPOINT_SETS.has(set) || PICK_SETS.has(set)) words.push(unpackHostU32(rest.slice(8)));
  if (PICKED_SETS.has(set)) words.push(formatPriority(rest.slice(8)));
  if (set === 'source-ranges') words.push(formatIp(rest.slice(8)));
  return words.join(' . ');
}

function formatValue(family: IpFamily, set: SetName, value: string): string {
  if (SERVICE_SETS.has(set)) {
    const { shapeId, comment } = serviceValueParts(value);
    return `${chainOfShapeId(shapeId) ?? `shape ${formatPriority(shapeId)}`} ${JSON.stringify(comment)}`;
  }
  if (PICK_SETS.has(set)) return formatPriority(value);
  if (ENDPOINT_SETS.has(set) || PICKED_SETS.has(set)) {
    const length = family === 4 ? 4 : 16;
    return `${formatIp(value.slice(0, length))} . ${unpackPort(value.slice(length))}`;
  }
  if (SHAPE_SETS.has(set)) return `goto ${value}`;
  if (set === 'source-ranges') return `to ${formatIp(value.slice(family === 4 ? -4 : -16))}`;
  return JSON.stringify(value);
}

/** Foreign elements may have keys of any length. */
function formatIp(packed: string): string {
  return packed.length === 4 || packed.length === 16 ? unpackIp(packed) : JSON.stringify(packed);
}
