// A line of iptables-save as a rule: the inverse of format.ts. Read as libxtables prints (save_rule_details, then the `save`
// function of each match and target), in any version from 1.4 on; quotes as iptables-restore takes them
// (add_param_to_argv). An option that there are no words for makes its match or target `unknown`, which carries its text.

import { DecodeError } from '../../errors.ts';
import { type Cidr, type Ip, type IpFamily, packIp, parseCidr, parseIp, unpackIp } from '../../model/ip.ts';
import { parseProbability } from './probability.ts';
import { PROTOCOLS, protocolName } from './protocol.ts';
import {
  ADDRESS_TYPES,
  type AddressTypes,
  CONNTRACK_STATES,
  type InterfaceMatch,
  type IptablesRule,
  type MaskedMark,
  type Match,
  type PortRange,
  REJECT_REASONS,
  type RuleProtocol,
  type Target,
  type Unknown,
} from './rule.ts';
import { isValued, OptionReader } from './save-options.ts';
import { isWord, type SaveWord, splitWords } from './save-words.ts';

export interface ParsedRule {
  readonly chain: string;
  readonly rule: IptablesRule;
}

type Draft = { -readonly [K in keyof IptablesRule]: IptablesRule[K] } & { matches: Match[] };

/**
 * Parses `-A CHAIN …`, with its count in brackets before it or without. `isChain` tells chains of the table from targets
 * that have no options, such as TRACE; unless given, all are chains. Throws DecodeError for what is no such line.
 */
export function parseIptablesRule(
  line: string,
  family: IpFamily,
  isChain: (name: string) => boolean = () => true,
): ParsedRule {
  const words = splitWords(line);
  const start = words[0] !== undefined && /^\[\d+:\d+\]$/.test(words[0].text) ? 1 : 0;
  const chain = words[start + 1]?.text;
  if (!isWord(words[start], '-A') || chain === undefined)
    throw new DecodeError(`'${line}'`, 0, 'not -A CHAIN …');
  const draft: Draft = { matches: [] };
  for (let at = start + 2; at < words.length; ) {
    const end = endOfOption(words, at);
    const option = words.slice(at, end);
    if (!takeHeader(draft, option, family)) takeExtension(draft, option, line, family, isChain);
    at = end;
  }
  return { chain, rule: draft };
}

const HEADER_OPTIONS: ReadonlySet<string> = new Set(['-s', '-d', '-i', '-o', '-p', '-f']);
const EXTENSION_OPTIONS: ReadonlySet<string> = new Set(['-m', '-j', '-g']);

/** Where the option that begins at `at` ends, with all that belongs to its extension. */
function endOfOption(words: readonly SaveWord[], at: number): number {
  const name = isWord(words[at], '!') ? at + 1 : at;
  // All but one of these options have a value, which may look like an option itself.
  let i = name + (isWord(words[name], '-f') ? 1 : 2);
  for (; i < words.length; i++) {
    const isInverted = isWord(words[i], '!');
    const next = words[isInverted ? i + 1 : i];
    if (next !== undefined && isTop(next)) return i;
    if (isValued(words[i]!)) i++;
  }
  return words.length;
}

function isTop({ text, isQuoted }: SaveWord): boolean {
  return !isQuoted && (HEADER_OPTIONS.has(text) || EXTENSION_OPTIONS.has(text));
}

/** Puts an option of the header into the draft. False for any other, and one that there are no words for. */
function takeHeader(draft: Draft, option: readonly SaveWord[], family: IpFamily): boolean {
  const isInverted = isWord(option[0], '!');
  const [name, value, ...rest] = isInverted ? option.slice(1) : option;
  if (value === undefined || rest.length > 0 || name === undefined || name.isQuoted) return false;
  switch (name.text) {
    case '-s':
      return takeAddress(draft, 'source', value.text, isInverted, family);
    case '-d':
      return takeAddress(draft, 'destination', value.text, isInverted, family);
    case '-i':
      return takeInterface(draft, 'inInterface', { name: value.text, isInverted });
    case '-o':
      return takeInterface(draft, 'outInterface', { name: value.text, isInverted });
    case '-p': {
      const protocol = parseProtocol(value.text);
      if (protocol === undefined || draft.protocol !== undefined) return false;
      draft.protocol = { name: protocol, isInverted };
      return true;
    }
    default:
      return false;
  }
}

function takeAddress(
  draft: Draft,
  side: 'source' | 'destination',
  text: string,
  isInverted: boolean,
  family: IpFamily,
): boolean {
  const cidr = parseNetwork(text, family);
  if (cidr === undefined || draft[side] !== undefined) return false;
  // All addresses: what goes without saying.
  if (cidr.prefix > 0 || isInverted) draft[side] = { cidr, isInverted };
  return true;
}

function takeInterface(draft: Draft, side: 'inInterface' | 'outInterface', match: InterfaceMatch): boolean {
  if (draft[side] !== undefined) return false;
  if (match.name !== '+' || match.isInverted) draft[side] = match;
  return true;
}

/** Matches and targets, known or not; and everything else, which then is an unknown match. */
function takeExtension(
  draft: Draft,
  option: readonly SaveWord[],
  line: string,
  family: IpFamily,
  isChain: (name: string) => boolean,
): void {
  const [kind, name, ...rest] = option;
  const options = name === undefined ? undefined : OptionReader.of(rest);
  if (isWord(kind, '-m')) {
    const match = options && parseMatch(name!.text, options, draft, family);
    draft.matches.push(match !== undefined && options?.isUnderstood ? match : unknown(option, line));
    return;
  }
  if ((isWord(kind, '-j') || isWord(kind, '-g')) && draft.target === undefined) {
    const target = options && parseTarget(kind!.text, name!.text, options, family, isChain);
    draft.target = target !== undefined && options?.isUnderstood ? target : unknown(option, line);
    return;
  }
  draft.matches.push(unknown(option, line));
}

function unknown(option: readonly SaveWord[], line: string): Unknown {
  const [first, second = first] = isWord(option[0], '!') ? option.slice(1) : option;
  const name = first !== undefined && EXTENSION_OPTIONS.has(first.text) ? second : first;
  const text = line.slice(option[0]!.start, option.at(-1)!.end);
  return { kind: 'unknown', name: name?.text ?? '!', expressions: [], text };
}

/** undefined when there are no words for it; what is left in `options` are options that there are no words for. */
function parseMatch(name: string, options: OptionReader, draft: Draft, family: IpFamily): Match | undefined {
  switch (name) {
    case 'comment': {
      const text = options.plain('comment', asIs);
      return text === undefined ? undefined : { kind: 'comment', text };
    }
    case 'tcp':
    case 'udp':
    case 'sctp': {
      const { protocol, matches } = draft;
      const isOurs = protocol?.name === name && !protocol.isInverted;
      if (!isOurs || matches.some(({ kind }) => kind === 'ports')) return undefined;
      const sourcePorts = ports(options, 'sport');
      const destinationPorts = ports(options, 'dport');
      return {
        kind: 'ports',
        ...(sourcePorts && { sourcePorts }),
        ...(destinationPorts && { destinationPorts }),
      };
    }
    case 'addrtype': {
      const source = addressTypes(options, 'src-type');
      const destination = addressTypes(options, 'dst-type');
      return { kind: 'addrtype', ...(source && { source }), ...(destination && { destination }) };
    }
    case 'conntrack': {
      const states = options.value('ctstate', listOf(CONNTRACK_STATES));
      return states && { kind: 'conntrack', states: states.value, isInverted: states.isInverted };
    }
    case 'mark': {
      const mark = options.value('mark', parseMark);
      return mark && { kind: 'mark', ...mark.value, isInverted: mark.isInverted };
    }
    case 'statistic': {
      if (options.plain('mode', asIs) !== 'random') return undefined;
      const probability = options.value('probability', parseProbability);
      return (
        probability && {
          kind: 'statistic',
          probability: probability.value,
          isInverted: probability.isInverted,
        }
      );
    }
    case 'recent':
      return parseRecent(options, family);
    case 'nfacct': {
      const account = options.plain('nfacct-name', asIs);
      return account === undefined ? undefined : { kind: 'nfacct', name: account };
    }
    case 'physdev': {
      const [inInterface, outInterface] = [interfaceOf(options, 'in'), interfaceOf(options, 'out')];
      const [isIn, isOut] = [options.flag('physdev-is-in'), options.flag('physdev-is-out')];
      const isBridged = options.flag('physdev-is-bridged');
      return {
        kind: 'physdev',
        ...(inInterface && { inInterface }),
        ...(outInterface && { outInterface }),
        ...(isIn !== undefined && { isIn }),
        ...(isOut !== undefined && { isOut }),
        ...(isBridged !== undefined && { isBridged }),
      };
    }
    default:
      return undefined;
  }
}

const RECENT_OPERATIONS = ['set', 'rcheck', 'update', 'remove'] as const;

function parseRecent(options: OptionReader, family: IpFamily): Match | undefined {
  const operation = RECENT_OPERATIONS.find((one) => options.has(one));
  const name = options.plain('name', asIs);
  const seconds = options.plain('seconds', parseSeconds) ?? 0;
  const isReaping = options.has('reap');
  // Versions before 1.4.20 have no mask, which then is that of one address.
  const mask = options.plain('mask', (text) => parseAddress(text, family));
  const isWhole = mask === undefined || /^\xff+$/.test(packIp(mask));
  const [isSource, isDestination] = [options.has('rsource'), options.has('rdest')];
  if (operation === undefined || name === undefined || !isWhole || isSource === isDestination)
    return undefined;
  return { kind: 'recent', operation, name, seconds, isReaping, side: isSource ? 'source' : 'destination' };
}

function parseTarget(
  option: string,
  name: string,
  options: OptionReader,
  family: IpFamily,
  isChain: (name: string) => boolean,
): Target | undefined {
  if (option === '-g') return isChain(name) ? { kind: 'goto', chain: name } : undefined;
  switch (name) {
    case 'ACCEPT':
    case 'DROP':
    case 'RETURN':
      return { kind: name };
    case 'MARK': {
      const mark = options.plain('set-xmark', parseMark);
      return mark && { kind: 'MARK', ...mark };
    }
    case 'DNAT': {
      const destination = options.plain('to-destination', (text) => parseDestination(text, family));
      return destination && { kind: 'DNAT', ...destination };
    }
    case 'MASQUERADE':
      return { kind: 'MASQUERADE', isFullyRandom: options.has('random-fully') };
    case 'REJECT': {
      const reason = options.plain('reject-with', (text) => REJECT_REASONS.find((one) => one === text));
      return reason && { kind: 'REJECT', reason };
    }
    default:
      return isChain(name) ? { kind: 'jump', chain: name } : undefined;
  }
}

const asIs = (text: string): string => text;

function ports(options: OptionReader, option: string): PortRange | undefined {
  const range = options.value(option, parsePorts);
  return range && { ...range.value, isInverted: range.isInverted };
}

function parsePorts(text: string): { first: number; last: number } | undefined {
  const parts = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  if (parts === null) return undefined;
  const [first, last] = [Number(parts[1]), Number(parts[2] ?? parts[1])];
  return last <= 65535 && first <= last ? { first, last } : undefined;
}

function addressTypes(options: OptionReader, option: string): AddressTypes | undefined {
  const types = options.value(option, listOf(ADDRESS_TYPES));
  return types && { types: types.value, isInverted: types.isInverted };
}

/** Words of `all` with commas between them, in the order of `all`. */
function listOf<T extends string>(all: readonly T[]): (text: string) => readonly T[] | undefined {
  return (text) => {
    const parts = text.split(',');
    const found = all.filter((one) => parts.includes(one));
    return found.length === parts.length ? found : undefined;
  };
}

function interfaceOf(options: OptionReader, side: 'in' | 'out'): InterfaceMatch | undefined {
  const name = options.value(`physdev-${side}`, asIs);
  return name && { name: name.value, isInverted: name.isInverted };
}

/** `0x4000/0x4000`, `0x5`: of all bits. */
function parseMark(text: string): MaskedMark | undefined {
  const parts = /^(0x[\da-f]{1,8})(?:\/(0x[\da-f]{1,8}))?$/i.exec(text);
  return parts === null ? undefined : { value: Number(parts[1]), mask: Number(parts[2] ?? 0xffffffff) };
}

/** Of 32 bits, which iptables prints as signed. */
function parseSeconds(text: string): number | undefined {
  return /^-?\d{1,10}$/.test(text) ? Number(text) >>> 0 : undefined;
}

function parseProtocol(text: string): RuleProtocol | undefined {
  const number = /^\d{1,3}$/.test(text)
    ? Number(text)
    : (Object.hasOwn(PROTOCOLS, text) && PROTOCOLS[text]) || 0;
  return number > 0 && number < 256 ? protocolName(number) : undefined;
}

/** `10.0.0.0/8`, `10.0.0.1`; a mask with gaps is undefined. */
function parseNetwork(text: string, family: IpFamily): Cidr | undefined {
  const [, address, prefixText] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const ip = address === undefined ? undefined : parseAddress(address, family);
  if (ip === undefined) return undefined;
  const all = family === 4 ? 32 : 128;
  const prefix = Number(prefixText ?? all);
  if (prefix > all) return undefined;
  const cidr = prefix === all ? undefined : parseCidr(`${ip}/${prefix}`);
  return cidr?.family === family ? cidr : { ip, prefix, family };
}

/** Unlike in Kubernetes, an address that IPv6 maps to IPv4 is one of IPv6. */
function parseAddress(text: string, family: IpFamily): Ip | undefined {
  if (text.includes(':') !== (family === 6)) return undefined;
  const ip = parseIp(text);
  if (ip === undefined || family === 4 || ip.includes(':')) return ip;
  return unpackIp(`${'\0'.repeat(10)}\xff\xff${packIp(ip)}`);
}

/** `10.1.0.5`, `10.1.0.5:80`, `[fd00::5]:80` */
function parseDestination(text: string, family: IpFamily): { address: Ip; port: number } | undefined {
  const parts = (family === 4 ? /^([\d.]+)(?::(\d{1,5}))?$/ : /^\[?([\da-f:.]+?)(?:\]:(\d{1,5}))?$/i).exec(
    text,
  );
  if (parts === null || text.startsWith('[') !== (family === 6 && parts[2] !== undefined)) return undefined;
  const address = parseAddress(parts[1]!, family);
  const port = Number(parts[2] ?? 0);
  return address === undefined || port > 65535 ? undefined : { address, port };
}
