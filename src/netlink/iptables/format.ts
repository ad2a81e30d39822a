// A rule as iptables-save prints it and iptables-restore reads it: options in the order of libxtables' own printing
// (save_rule_details, then the `save` function of each match and target).

import { type Ip, type IpFamily, ipBytes } from '../../model/ip.ts';
import { formatProbability } from './probability.ts';
import type {
  AddressMatch,
  AddressTypes,
  InterfaceMatch,
  IptablesRule,
  MaskedMark,
  Match,
  PortRange,
  Target,
  Unknown,
} from './rule.ts';

/**
 * The line of `iptables-save` for the rule, `-A CHAIN …`, without its count. What this program has no words for is what it
 * was read from: text, or expressions in brackets, so that different rules are different lines; iptables-restore refuses
 * brackets.
 */
export function formatIptablesRule(chain: string, rule: IptablesRule, family: IpFamily): string {
  const { source, destination, inInterface, outInterface, protocol, matches, target } = rule;
  let line = `-A ${chain}`;
  if (source) line += formatAddress('-s', source);
  if (destination) line += formatAddress('-d', destination);
  if (inInterface) line += formatInterface('-i', inInterface);
  if (outInterface) line += formatInterface('-o', outInterface);
  if (protocol) line += `${not(protocol.isInverted)} -p ${protocol.name}`;
  for (const match of matches) line += formatMatch(match, rule, family);
  if (target) line += formatTarget(target, family);
  return line;
}

const not = (isInverted: boolean): string => (isInverted ? ' !' : '');

function formatAddress(option: string, { cidr, isInverted }: AddressMatch): string {
  return cidr.prefix === 0 && !isInverted
    ? ''
    : `${not(isInverted)} ${option} ${formatIp(cidr.ip)}/${cidr.prefix}`;
}

function formatInterface(option: string, { name, isInverted }: InterfaceMatch): string {
  return `${not(isInverted)} ${option} ${name}`;
}

/** As inet_ntop of glibc: the last 32 bits dotted in addresses that embed an IPv4 address. */
function formatIp(ip: Ip): string {
  if (!ip.startsWith('::')) return ip;
  const bytes = ipBytes(ip);
  const leadingZeros = bytes.findIndex((byte) => byte !== 0);
  const isMapped = leadingZeros === 10 && bytes[10] === 0xff && bytes[11] === 0xff;
  const isCompatible = leadingZeros === 12 || leadingZeros === 13;
  return isMapped || isCompatible ? `::${isMapped ? 'ffff:' : ''}${bytes.slice(12).join('.')}` : ip;
}

function formatMatch(match: Match, rule: IptablesRule, family: IpFamily): string {
  switch (match.kind) {
    case 'comment':
      return ` -m comment --comment${quote(match.text)}`;
    case 'ports': {
      const { sourcePorts, destinationPorts } = match;
      return ` -m ${rule.protocol?.name}${formatPorts('--sport', sourcePorts)}${formatPorts('--dport', destinationPorts)}`;
    }
    case 'addrtype':
      return ` -m addrtype${formatTypes('--src-type', match.source)}${formatTypes('--dst-type', match.destination)}`;
    case 'conntrack':
      return ` -m conntrack${not(match.isInverted)} --ctstate ${match.states.join(',')}`;
    case 'mark':
      return ` -m mark${not(match.isInverted)} --mark ${formatMark(match)}`;
    case 'statistic':
      return ` -m statistic --mode random${not(match.isInverted)} --probability ${formatProbability(match.probability)}`;
    case 'recent':
      return ` -m recent${formatRecent(match, family)}`;
    case 'nfacct':
      // Two blanks, as iptables prints them.
      return ` -m nfacct --nfacct-name ${quote(match.name)}`;
    case 'physdev':
      return ` -m physdev${formatPhysdev(match)}`;
    case 'unknown':
      return formatUnknown('-m', match);
  }
}

function formatPorts(option: string, ports: PortRange | undefined): string {
  if (ports === undefined) return '';
  const { first, last, isInverted } = ports;
  return `${not(isInverted)} ${option} ${first === last ? first : `${first}:${last}`}`;
}

function formatTypes(option: string, side: AddressTypes | undefined): string {
  return side === undefined ? '' : `${not(side.isInverted)} ${option} ${side.types.join(',')}`;
}

function formatMark({ value, mask }: MaskedMark): string {
  return mask === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

const WHOLE_ADDRESS = {
  4: '255.255.255.255',
  6: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
} as const;

function formatRecent(
  { operation, name, seconds, isReaping, side }: Extract<Match, { readonly kind: 'recent' }>,
  family: IpFamily,
): string {
  return (
    ` --${operation}${seconds === 0 ? '' : ` --seconds ${seconds | 0}`}${isReaping ? ' --reap' : ''}` +
    ` --name ${name} --mask ${WHOLE_ADDRESS[family]} ${side === 'source' ? '--rsource' : '--rdest'}`
  );
}

function formatPhysdev(match: Extract<Match, { readonly kind: 'physdev' }>): string {
  const flag = (option: string, wanted: boolean | undefined) =>
    wanted === undefined ? '' : `${not(!wanted)} --physdev-${option}`;
  const named = (option: string, of: InterfaceMatch | undefined) =>
    of === undefined ? '' : `${not(of.isInverted)} --physdev-${option} ${of.name}`;
  return (
    flag('is-in', match.isIn) +
    named('in', match.inInterface) +
    flag('is-out', match.isOut) +
    named('out', match.outInterface) +
    flag('is-bridged', match.isBridged)
  );
}

function formatTarget(target: Target, family: IpFamily): string {
  switch (target.kind) {
    case 'jump':
      return ` -j ${target.chain}`;
    case 'goto':
      return ` -g ${target.chain}`;
    case 'ACCEPT':
    case 'DROP':
    case 'RETURN':
      return ` -j ${target.kind}`;
    case 'MARK':
      return ` -j MARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
    case 'DNAT': {
      const ip = formatIp(target.address);
      if (target.port === 0) return ` -j DNAT --to-destination ${ip}`;
      return ` -j DNAT --to-destination ${family === 4 ? ip : `[${ip}]`}:${target.port}`;
    }
    case 'MASQUERADE':
      return ` -j MASQUERADE${target.isFullyRandom ? ' --random-fully' : ''}`;
    case 'REJECT':
      return ` -j REJECT --reject-with ${target.reason}`;
    case 'unknown':
      return formatUnknown('-j', target);
  }
}

function formatUnknown(option: '-m' | '-j', { name, expressions, text }: Unknown): string {
  if (text !== undefined) return ` ${text}`;
  const printed = JSON.stringify(expressions, (key, value: unknown) => {
    if (typeof value === 'bigint') return `${value}`;
    return key === 'info' ? Buffer.from(value as string, 'latin1').toString('hex') : value;
  });
  return ` ${option} ${name} ${printed}`;
}

/** xtables_save_string: what is more than a word is quoted, and the quotes and backslashes in it escaped. */
function quote(text: string): string {
  return /^[-\w]+$/.test(text) ? ` ${text}` : ` "${text.replace(/["'\\]/g, '\\$&')}"`;
}
