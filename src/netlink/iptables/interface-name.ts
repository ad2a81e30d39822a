// Names of interfaces with iptables' wildcard: `eth0` is that one, `cali+` all that begin with `cali`.

import { InternalError } from '../../errors.ts';
import { MAX_INTERFACE_NAME_BYTES } from './rule.ts';
import { fromUtf8, toUtf8 } from './utf8.ts';

const IFNAMSIZ = 16;
/** What iptables compares with for `! -i +`, which is never: no interface can have a slash in its name. */
const NO_INTERFACE = 'INVAL/D\0';

/** How nf_tables compares the name of a packet's interface with it. A name that is empty or too long is an InternalError. */
export function comparisonOf(name: string, isInverted: boolean): { op: 'eq' | 'neq'; data: string } {
  const bytes = toUtf8(name);
  if (bytes === '' || bytes.length > MAX_INTERFACE_NAME_BYTES || (bytes === '+' && !isInverted)) {
    throw new InternalError(`no interface name: '${name}'`);
  }
  if (bytes === '+') return { op: 'eq', data: NO_INTERFACE };
  const data = bytes.endsWith('+') ? bytes.slice(0, -1) : `${bytes}\0`;
  return { op: isInverted ? 'neq' : 'eq', data };
}

/** The name that is compared with; undefined for none that iptables could have meant. */
export function nameOf(op: string, data: string): { name: string; isInverted: boolean } | undefined {
  if (op !== 'eq' && op !== 'neq') return undefined;
  if (op === 'eq' && data === NO_INTERFACE) return { name: '+', isInverted: true };
  const end = data.indexOf('\0');
  const bytes = end < 0 ? `${data}+` : data.slice(0, end);
  const isName = bytes !== '' && bytes !== '+' && bytes.length < IFNAMSIZ;
  if (!isName || (end >= 0 && /[^\0]/.test(data.slice(end)))) return undefined;
  const name = fromUtf8(bytes);
  return name === undefined ? undefined : { name, isInverted: op === 'neq' };
}

/** Which bytes of a name the kernel's xt_physdev compares. */
export function interfaceMask(name: string): string {
  const { length } = toUtf8(name);
  const count = length === 0 ? 0 : name.endsWith('+') ? length - 1 : length + 1;
  return '\xff'.repeat(count) + '\0'.repeat(IFNAMSIZ - count);
}
