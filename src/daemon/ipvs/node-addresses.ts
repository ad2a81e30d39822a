// The addresses of this node on which node ports are served in ipvs mode, as they are at any moment.

import type { Ip } from '../../model/ip.ts';
import { MESSAGE_FLAG, type NetlinkMessage } from '../../netlink/message.ts';
import { encodeAnyAddress } from '../../netlink/rtnetlink/address.ts';
import { AddressTable } from '../../netlink/rtnetlink/address-table.ts';
import { encodeLink } from '../../netlink/rtnetlink/link.ts';
import {
  RTM_GETADDR,
  RTM_GETLINK,
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_LINK,
} from '../../netlink/rtnetlink/uapi.ts';
import { DUMMY_DEVICE } from './dummy-device.ts';
import { type RtnetlinkEvent, RtnetlinkSocket } from './rtnetlink-socket.ts';

const GROUPS = [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR];

/** After a loss or a failure. Addresses by the thousand are being written then, and each listing has them all. */
const RELIST_AFTER_MS = 1000;

export interface NodeAddressesOptions {
  /** The device whose addresses are not the node's: kube-ipvs0 unless given. */
  readonly excludedDevice?: string;
  readonly relistAfterMs?: number;
  /** Called after each change, not for the first listing. Must not throw. */
  readonly onChange: (addresses: readonly Ip[]) => void;
  /** Called for each failure to list again after a loss; it is tried until it succeeds. And once changes are no longer told. Must not throw. */
  readonly onError: (error: Error) => void;
}

export class NodeAddresses {
  readonly #options: NodeAddressesOptions;
  readonly #excludedDevice: string;
  readonly #listing = new RtnetlinkSocket();
  #events: RtnetlinkSocket | undefined;
  #table: AddressTable;
  /** What came since the listing that is under way began. */
  #meanwhile: NetlinkMessage[] | undefined;
  #current: readonly Ip[] = [];
  #relist: NodeJS.Timeout | undefined;
  #isAnnouncing = false;
  #isClosed = false;

  private constructor(options: NodeAddressesOptions) {
    this.#options = options;
    this.#excludedDevice = options.excludedDevice ?? DUMMY_DEVICE;
    this.#table = new AddressTable(this.#excludedDevice);
  }

  /** Lists the addresses and follows their changes until it is closed. Rejects with KernelError, DecodeError. */
  static async watch(options: NodeAddressesOptions): Promise<NodeAddresses> {
    const watched = new NodeAddresses(options);
    try {
      watched.#events = new RtnetlinkSocket(GROUPS, (event) => watched.#hear(event));
      await watched.#list();
      watched.#current = watched.#sorted();
      return watched;
    } catch (error) {
      watched.close();
      throw error;
    }
  }

  /** Sorted; no loopback, no IPv6 link-local, nothing of the excluded device. */
  get current(): readonly Ip[] {
    return this.#current;
  }

  /** Idempotent; nothing is called back afterwards. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#relist);
    this.#events?.close();
    this.#listing.close();
  }

  #hear(event: RtnetlinkEvent): void {
    if (event.kind === 'overrun') {
      this.#listAgain();
      return;
    }
    if (event.kind === 'error') {
      this.#options.onError(event.error);
      return;
    }
    this.#meanwhile?.push(event.message);
    this.#apply(event.message);
  }

  #apply(message: NetlinkMessage): void {
    try {
      if (this.#table.apply(message)) this.#announce();
    } catch (error) {
      this.#options.onError(error as Error);
      this.#listAgain();
    }
  }

  /** What came meanwhile is applied on top: where it is older than the listing, it leads to what the listing says. */
  async #list(): Promise<void> {
    const meanwhile: NetlinkMessage[] = [];
    this.#meanwhile = meanwhile;
    try {
      const table = new AddressTable(this.#excludedDevice);
      const links = await this.#dump(RTM_GETLINK, encodeLink({ index: 0 }), 'list devices');
      const addresses = await this.#dump(RTM_GETADDR, encodeAnyAddress(), 'list addresses');
      for (const message of [...links, ...addresses, ...meanwhile]) table.apply(message);
      this.#table = table;
    } finally {
      this.#meanwhile = undefined;
    }
  }

  async #dump(type: number, payload: Uint8Array, operation: string): Promise<readonly NetlinkMessage[]> {
    const messages = await this.#listing.request(type, payload, MESSAGE_FLAG.dump, operation);
    if (messages.some(({ flags }) => (flags & MESSAGE_FLAG.dumpInterrupted) !== 0)) this.#listAgain();
    return messages;
  }

  #listAgain(): void {
    if (this.#isClosed || this.#relist !== undefined) return;
    this.#relist = setTimeout(async () => {
      this.#relist = undefined;
      if (this.#meanwhile !== undefined) {
        this.#listAgain();
        return;
      }
      try {
        await this.#list();
        this.#announce();
      } catch (error) {
        if (this.#isClosed) return;
        this.#options.onError(error as Error);
        this.#listAgain();
      }
    }, this.#options.relistAfterMs ?? RELIST_AFTER_MS);
  }

  /** Once for all that comes in one turn, and only if there is a difference. */
  #announce(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    setImmediate(() => {
      this.#isAnnouncing = false;
      if (this.#isClosed) return;
      const addresses = this.#sorted();
      if (addresses.join() === this.#current.join()) return;
      this.#current = addresses;
      this.#options.onChange(addresses);
    });
  }

  #sorted(): Ip[] {
    return this.#table.addresses().sort();
  }
}
