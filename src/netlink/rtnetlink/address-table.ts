// The addresses of a network namespace, kept up to date by the kernel's notifications: all but those of one device, loopback
// ones, and IPv6 link-local ones. These are the addresses on which kube-proxy serves node ports in ipvs mode
// (GetAllLocalAddressesExcept, pkg/proxy/ipvs).

import { type Ip, isLoopback } from '../../model/ip.ts';
import type { NetlinkMessage } from '../message.ts';
import { decodeAddress, interfaceIndexOf } from './address.ts';
import { decodeLink } from './link.ts';
import { RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK } from './uapi.ts';

/** fe80::/10 */
const LINK_LOCAL = /^fe[89ab]/;

export class AddressTable {
  readonly #excludedName: string;
  #excludedIndex: number | undefined;
  /** Of each device that has some: an address may be on several, and go from one. */
  readonly #byInterface = new Map<number, Set<Ip>>();

  constructor(excludedName: string) {
    this.#excludedName = excludedName;
  }

  /** Each once, in no order that means anything. */
  addresses(): Ip[] {
    return [...new Set([...this.#byInterface.values()].flatMap((addresses) => [...addresses]))];
  }

  /**
   * Takes in a message of a listing (links before addresses) or a notification, and tells whether `addresses` may have changed.
   * Throws DecodeError.
   */
  apply({ type, payload }: NetlinkMessage): boolean {
    switch (type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        return this.#applyLink(payload, type === RTM_NEWLINK);
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return this.#applyAddress(payload, type === RTM_NEWADDR);
      default:
        return false;
    }
  }

  #applyLink(payload: Uint8Array, isNew: boolean): boolean {
    const link = decodeLink(payload);
    if (link === undefined) return false;
    const { index, name } = link;
    if (isNew && name !== this.#excludedName) return false;
    if (isNew) this.#excludedIndex = index;
    else if (index === this.#excludedIndex) this.#excludedIndex = undefined;
    return this.#byInterface.delete(index);
  }

  #applyAddress(payload: Uint8Array, isNew: boolean): boolean {
    // The excluded device may have tens of thousands: not worth reading.
    if (interfaceIndexOf(payload) === this.#excludedIndex) return false;
    const found = decodeAddress(payload);
    if (found === undefined || isLoopback(found.address) || LINK_LOCAL.test(found.address)) return false;
    const { interfaceIndex, address } = found;
    const addresses = this.#byInterface.get(interfaceIndex) ?? new Set();
    if (!isNew) return addresses.delete(address);
    if (addresses.has(address)) return false;
    this.#byInterface.set(interfaceIndex, addresses.add(address));
    return true;
  }
}
