// The device that makes virtual IPs addresses of this node, so that packets to them come to IPVS: `kube-ipvs0`, of kind dummy
// and left down, as kube-proxy has it. A down device's addresses are local all the same, and nothing is sent from it.

import { KernelError } from '../../errors.ts';
import { familyOf, type Ip, type IpFamily } from '../../model/ip.ts';
import { collectDump } from '../../netlink/dump.ts';
import { MESSAGE_FLAG } from '../../netlink/message.ts';
import {
  type AddressChange,
  decodeAddress,
  encodeAddressChange,
  encodeAddressDump,
  isHostAddress,
} from '../../netlink/rtnetlink/address.ts';
import { decodeLink, encodeLink, type Link } from '../../netlink/rtnetlink/link.ts';
import { RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK } from '../../netlink/rtnetlink/uapi.ts';
import { NETLINK_ROUTE, type NetlinkTransport, openNetlink } from '../netlink-socket.ts';
import { ROW_RECEIVE_BUFFER_BYTES, sendInRows } from './change-rows.ts';
import { RtnetlinkSocket } from './rtnetlink-socket.ts';

/** The name that kube-proxy uses, and operators know. */
export const DUMMY_DEVICE = 'kube-ipvs0';

/** Code of the KernelError that tells that the name is taken by a device of another kind. */
export const NOT_A_DUMMY = 'NOT_A_DUMMY';

/** How often a dump that somebody interrupts is begun anew. */
const MAX_ATTEMPTS = 8;

export interface AddressChanges {
  readonly add: readonly Ip[];
  readonly remove: readonly Ip[];
}

export interface AddressRefusal {
  readonly address: Ip;
  readonly error: KernelError;
}

export class DummyDevice {
  readonly #name: string;
  readonly #links: RtnetlinkSocket;
  readonly #transport: NetlinkTransport;
  #index = 0;
  #seq = 1;

  /** Throws KernelError when no socket can be had. */
  constructor(name = DUMMY_DEVICE) {
    this.#name = name;
    this.#links = new RtnetlinkSocket();
    this.#transport = openNetlink(NETLINK_ROUTE, { receiveBufferBytes: ROW_RECEIVE_BUFFER_BYTES });
  }

  /**
   * Makes the device unless it is there. Rejects with KernelError: with the code NOT_A_DUMMY where it is of another kind, and
   * EOPNOTSUPP where the kernel has no dummy driver.
   */
  async ensure(): Promise<void> {
    const link = (await this.#find()) ?? (await this.#create());
    if (link.kind !== 'dummy') {
      const kind = link.kind ?? 'hardware';
      throw new KernelError(NOT_A_DUMMY, 0, `use device ${this.#name}`, `it is of kind ${kind}`);
    }
    this.#index = link.index;
  }

  /** The host addresses (/32 and /128) on the device; none without it. Rejects with KernelError. */
  async addresses(): Promise<Ip[]> {
    const link = await this.#find();
    if (link === undefined) return [];
    return [...(await this.#list(link.index, 4)), ...(await this.#list(link.index, 6))];
  }

  /**
   * Removes and adds host addresses, all that can be, and tells what the kernel refused; what is there already or no longer is
   * no refusal. Needs `ensure` before: ENODEV when the device has gone since. Rejects with KernelError when the outcome is not
   * known.
   */
  async change({ add, remove }: AddressChanges): Promise<AddressRefusal[]> {
    const changes: AddressChange[] = [
      ...remove.map((address) => ({ kind: 'remove', address }) as const),
      ...add.map((address) => ({ kind: 'add', address }) as const),
    ];
    const failures = await sendInRows(
      this.#transport,
      changes,
      (count) => this.#takeSeq(count),
      (writer, change, seq, isAcked) => encodeAddressChange(writer, this.#index, change, seq, isAcked),
    );
    return failures.flatMap((failure, i) => {
      const { kind, address } = changes[i]!;
      if (failure === undefined || failure.code === (kind === 'add' ? 'EEXIST' : 'EADDRNOTAVAIL')) return [];
      const { code, errno, message } = failure;
      const operation = `${kind} address ${address} ${kind === 'add' ? 'to' : 'from'} ${this.#name}`;
      return [{ address, error: new KernelError(code, errno, operation, message) }];
    });
  }

  /** Deletes the device, and with it its addresses; without it, nothing. Rejects with KernelError, as `ensure` does. */
  async delete(): Promise<void> {
    if ((await this.#find()) === undefined) return;
    await this.ensure();
    await this.#request(RTM_DELLINK, { index: this.#index }, 0, `delete device ${this.#name}`);
  }

  /** Idempotent. */
  close(): void {
    this.#links.close();
    this.#transport.close();
  }

  async #find(): Promise<Link | undefined> {
    try {
      const answer = await this.#request(RTM_GETLINK, { name: this.#name }, 0, `find device ${this.#name}`);
      return answer[0] && decodeLink(answer[0].payload);
    } catch (error) {
      if (error instanceof KernelError && error.code === 'ENODEV') return undefined;
      throw error;
    }
  }

  async #create(): Promise<Link> {
    const operation = `make device ${this.#name}`;
    try {
      const flags = MESSAGE_FLAG.create | MESSAGE_FLAG.exclusive;
      await this.#request(RTM_NEWLINK, { name: this.#name, kind: 'dummy' }, flags, operation);
    } catch (error) {
      // Somebody else was faster.
      if (!(error instanceof KernelError) || error.code !== 'EEXIST') throw error;
    }
    const link = await this.#find();
    if (link === undefined) throw new KernelError('ENODEV', 19, operation, 'it is gone again');
    return link;
  }

  #request(type: number, request: Parameters<typeof encodeLink>[0], flags: number, operation: string) {
    return this.#links.request(type, encodeLink(request), flags, operation);
  }

  async #list(index: number, family: IpFamily): Promise<Ip[]> {
    const operation = `list IPv${family} addresses of ${this.#name}`;
    for (let attempt = 1; ; attempt++) {
      const seq = this.#takeSeq(1);
      const replies = await this.#transport.transact(encodeAddressDump(index, family, seq));
      const { messages, interrupted } = collectDump(replies, seq, operation);
      if (!interrupted) {
        const addresses = messages.flatMap(({ payload }) => decodeAddress(payload) ?? []);
        // A kernel without IPv6 answers with all that it has.
        const ours = addresses.filter((found) => isHostAddress(found) && familyOf(found.address) === family);
        return ours.map(({ address }) => address);
      }
      if (attempt === MAX_ATTEMPTS) throw new KernelError('EINTR', 4, operation);
    }
  }

  #takeSeq(count: number): number {
    if (this.#seq > 2 ** 31) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }
}
