// What counts of flags and file. A flag that is given wins over the file, field by field. (kube-proxy drops every flag that has a
// field as soon as there is a file, even where the file has nothing to say.)

import { parseIp } from '../model/ip.ts';
import { type ConfigFile, fieldIn } from './fields.ts';
import type { Flags, GivenFlag } from './flag.ts';
import type { ProxyMode } from './flags.ts';

/** Each value that counts, flag by flag, those of the file under the name of the flag that they stand for. */
export function mergeGiven(
  flags: Flags,
  given: readonly GivenFlag[],
  file: ConfigFile | undefined,
  mode: ProxyMode,
): GivenFlag[] {
  const implied = [...given, ...impliedFlags(given, file)];
  return Object.entries(flags).flatMap(([name, { field, type }]) => {
    const ofFlags = implied.filter((flag) => flag.name === name);
    if (ofFlags.length > 0 && type.isAdded !== true) return ofFlags;
    const path = fieldIn(mode, field);
    const texts = path === undefined ? [] : (file?.fields.get(path) ?? []);
    return [...texts.map((text) => ({ name, spelled: path!, text })), ...ofFlags];
  });
}

const SERVERS = [
  { address: 'healthz-bind-address', port: 'healthz-port', field: 'healthzBindAddress', ip6: '[::]:10256' },
  { address: 'metrics-bind-address', port: 'metrics-port', field: 'metricsBindAddress', ip6: '[::1]:10249' },
] as const;

/**
 * What a flag or field says without naming it: the deprecated ports of servers (0 for none; else the port of an address
 * that has none), and the servers' addresses of a node that goes by an IPv6 one.
 */
export function impliedFlags(given: readonly GivenFlag[], file: ConfigFile | undefined): GivenFlag[] {
  const textOf = (name: string, field: string) =>
    given.findLast((flag) => flag.name === name)?.text ?? file?.fields.get(field)?.at(-1);
  const isIp6 = parseIp(textOf('bind-address', 'bindAddress') ?? '')?.includes(':') === true;
  return SERVERS.flatMap(({ address, port, field, ip6 }) => {
    const text = textOf(address, field);
    const portFlag = given.findLast((flag) => flag.name === port);
    if (portFlag?.text === '0') return { name: address, spelled: portFlag.spelled, text: 'none' };
    if (text === undefined) return isIp6 ? { name: address, spelled: '--bind-address', text: ip6 } : [];
    const host = parseIp(text);
    if (portFlag?.text === undefined || host === undefined) return [];
    const bracketed = host.includes(':') ? `[${host}]` : host;
    return { name: address, spelled: portFlag.spelled, text: `${bracketed}:${portFlag.text}` };
  });
}
