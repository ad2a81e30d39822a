// The virtual addresses on the dummy device, which make packets to them come to IPVS.

import type { KernelError } from '../../errors.ts';
import { type Cidr, cidrContains, type Ip } from '../../model/ip.ts';
import type { Progress } from '../attempt.ts';

/** The device whose addresses are the virtual ones. All reject with KernelError. */
export interface IpvsDevice {
  /** Makes it if it is missing. */
  ensure(): Promise<void>;
  addresses(): Promise<readonly Ip[]>;
  /** Returns what was refused; what is there or gone already is not. */
  change(changes: {
    readonly add: readonly Ip[];
    readonly remove: readonly Ip[];
  }): Promise<readonly { readonly address: Ip; readonly error: KernelError }[]>;
  close(): void;
}

/** All reject with KernelError, that of the first address that was refused. */
export class BoundAddresses {
  readonly #device: IpvsDevice;
  readonly #isWanted: (address: Ip) => boolean;
  readonly #excludedCidrs: readonly Cidr[];
  /** On the device, as far as is known. */
  #bound = new Set<Ip>();

  constructor(device: IpvsDevice, isWanted: (address: Ip) => boolean, excludedCidrs: readonly Cidr[]) {
    this.#device = device;
    this.#isWanted = isWanted;
    this.#excludedCidrs = excludedCidrs;
  }

  /** On the device, as far as is known. */
  get known(): ReadonlySet<Ip> {
    return this.#bound;
  }

  /** Makes the device if it is missing. */
  ensure(): Promise<void> {
    return this.#device.ensure();
  }

  /** Finds out what is on the device. */
  async read(): Promise<void> {
    this.#bound = new Set(await this.#device.addresses());
  }

  /** Somebody has removed one. */
  async haveGone(): Promise<boolean> {
    const present = new Set(await this.#device.addresses());
    return [...this.#bound].some((address) => !present.has(address));
  }

  /** Adds what of these is wanted and missing. */
  async bind(addresses: Iterable<Ip>, progress: Progress): Promise<void> {
    const add = [...new Set(addresses)].filter(
      (address) => this.#isWanted(address) && !this.#bound.has(address),
    );
    await this.#change({ add, remove: [] }, progress);
  }

  /** Removes what of these is not wanted; of what a whole comparison finds, only what nobody else can have put there. */
  async unbind(addresses: Iterable<Ip>, progress: Progress): Promise<void> {
    const isTheirs = (address: Ip): boolean =>
      progress.isFull && this.#excludedCidrs.some((cidr) => cidrContains(cidr, address));
    const remove = [...new Set(addresses)].filter(
      (address) => this.#bound.has(address) && !this.#isWanted(address) && !isTheirs(address),
    );
    await this.#change({ add: [], remove }, progress);
  }

  close(): void {
    this.#device.close();
  }

  async #change(change: { add: readonly Ip[]; remove: readonly Ip[] }, progress: Progress): Promise<void> {
    if (change.add.length + change.remove.length === 0) return;
    const refusals = await this.#device.change(change);
    const refused = new Set(refusals.map(({ address }) => address));
    for (const address of change.add) if (!refused.has(address)) this.#bound.add(address);
    for (const address of change.remove) if (!refused.has(address)) this.#bound.delete(address);
    progress.writes += change.add.length + change.remove.length - refused.size;
    if (refusals[0] !== undefined) throw refusals[0].error;
  }
}
