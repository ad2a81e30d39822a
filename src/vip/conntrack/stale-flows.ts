// Which flows of the kernel's table are stale: ours, and answered by what may no longer answer. Pure.

import { familyOf, type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { Flow } from '../../netlink/conntrack/flow.ts';
import type { FlowFilter } from '../../netlink/conntrack/request.ts';
import { frontendKey } from '../frontend.ts';
import { type FlowTarget, flowEnd } from './flow-target.ts';

const IPPROTO_UDP = 17;

/** By port and packed address. */
type Destinations = Map<number, Map<string, FlowTarget>>;

/** The destinations whose flows are looked at in one pass. */
export class FlowIndex {
  readonly #destinations: Readonly<Record<IpFamily, Destinations>> = { 4: new Map(), 6: new Map() };

  /**
   * `targets` are looked at, as they are in `byKey` if there. Node ports are served on `nodePortAddresses` of this node:
   * unlike in kube-proxy, what passes through to the same port of another host is not ours.
   */
  constructor(
    targets: Iterable<FlowTarget>,
    byKey: ReadonlyMap<string, FlowTarget>,
    nodePortAddresses: readonly Ip[],
  ) {
    for (const target of targets) {
      const { family, address, port } = target;
      const addresses = address === undefined ? nodePortAddresses : [address];
      for (const one of addresses) {
        if (familyOf(one) !== family) continue;
        this.#add(family, one, port, ownerOf(one, port) ?? target);
      }
    }

    /** Who is served at an address: its own frontend comes before a node port, as in the rules. */
    function ownerOf(address: Ip, port: number): FlowTarget | undefined {
      const at = { family: familyOf(address), port, protocol: 'UDP' } as const;
      const isNodePortAddress = nodePortAddresses.includes(address);
      return (
        byKey.get(frontendKey({ ...at, address })) ??
        (isNodePortAddress ? byKey.get(frontendKey({ ...at, address: undefined })) : undefined)
      );
    }
  }

  /** What the kernel need list, undefined when nothing of the family. */
  filter(family: IpFamily): FlowFilter | undefined {
    const byPort = this.#destinations[family];
    const [port, ...otherPorts] = byPort.keys();
    if (port === undefined) return undefined;
    const [address, ...otherAddresses] = byPort.get(port)!.keys();
    if (otherPorts.length > 0) return { protocol: IPPROTO_UDP };
    if (otherAddresses.length > 0) return { protocol: IPPROTO_UDP, destinationPort: port };
    return { protocol: IPPROTO_UDP, destinationPort: port, destination: address! };
  }

  isStale({ family, original, reply }: Flow): boolean {
    const { destination, destinationPort } = original;
    if (original.protocol !== IPPROTO_UDP || destinationPort === undefined) return false;
    const target = this.#destinations[family].get(destinationPort)?.get(destination);
    if (target === undefined || reply.sourcePort === undefined) return false;
    // A flow from before the rules went to the virtual address itself. Once the frontend is gone that is right again:
    // the address may be that of a host which answers by itself.
    const isTranslated = reply.source !== destination || reply.sourcePort !== destinationPort;
    if (target.isRemoved && !isTranslated) return false;
    return !target.endpoints.has(flowEnd(reply.source, reply.sourcePort));
  }

  #add(family: IpFamily, address: Ip, port: number, target: FlowTarget): void {
    const byPort = this.#destinations[family];
    const byAddress = byPort.get(port) ?? new Map<string, FlowTarget>();
    byPort.set(port, byAddress.set(packIp(address), target));
  }
}
