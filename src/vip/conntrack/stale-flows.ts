// Which flows of the kernel's table are stale: ours, and answered by what may no longer answer. Pure.

import { familyOf, type Ip, type IpFamily, packIp } from '../../model/ip.ts';
import type { Protocol } from '../../model/types.ts';
import type { Flow } from '../../netlink/conntrack/flow.ts';
import type { FlowFilter } from '../../netlink/conntrack/request.ts';
import { frontendKey } from '../frontend.ts';
import { type FlowTarget, flowEnd } from './flow-target.ts';
import { isStaleEnd, type Pending } from './pending.ts';

/** linux/in.h */
export const IPPROTO = { TCP: 6, UDP: 17, SCTP: 132 } as const satisfies Record<Protocol, number>;

/** By port and packed address. */
type Destinations = Map<number, Map<string, Pending>>;

/** What decides besides the targets themselves. */
export interface FlowSituation {
  readonly nowMs: number;
  /**
   * Where node ports are served: addresses of this node. Unlike in kube-proxy, what passes through to the same port of
   * another host is not ours.
   */
  readonly nodePortAddresses: readonly Ip[];
  /** Whether any Service has the frontend of this `frontendKey`, be it one whose flows nobody looks at. */
  readonly isClaimed: (key: string) => boolean;
}

/** A part of the kernel's table. */
export interface FlowScope {
  readonly family: IpFamily;
  readonly filter: FlowFilter;
}

/** The destinations whose flows are looked at in one pass. */
export class FlowIndex {
  readonly #nowMs: number;
  /** By IPPROTO_*. */
  readonly #destinations = new Map<number, Readonly<Record<IpFamily, Destinations>>>();

  constructor(due: Iterable<Pending>, { nowMs, nodePortAddresses, isClaimed }: FlowSituation) {
    this.#nowMs = nowMs;
    for (const pending of due) {
      const { address, family } = pending.target;
      for (const one of address === undefined ? nodePortAddresses : [address]) {
        if (familyOf(one) === family && isServedBy(pending.target, one)) this.#add(pending, one);
      }
    }

    /** Whether flows to an address are the target's; an address's own frontend comes before a node port, as in the rules. */
    function isServedBy(target: FlowTarget, address: Ip): boolean {
      const { key, isRemoved } = target;
      if (target.address !== undefined && !isRemoved) return true;
      const keys = [frontendKey({ ...target, address })];
      if (nodePortAddresses.includes(address)) keys.push(frontendKey({ ...target, address: undefined }));
      // Once a frontend is gone its flows are ours as long as nobody else is served there.
      return keys.find(isClaimed) === (isRemoved ? undefined : key);
    }
  }

  /** What the kernel need list. */
  scopes(): FlowScope[] {
    return [...this.#destinations].flatMap(([protocol, byFamily]) =>
      ([4, 6] as const).flatMap((family): FlowScope[] => {
        const byPort = byFamily[family];
        const [destinationPort, ...otherPorts] = byPort.keys();
        if (destinationPort === undefined) return [];
        if (otherPorts.length > 0) return [{ family, filter: { protocol } }];
        const [destination, ...otherAddresses] = byPort.get(destinationPort)!.keys();
        if (otherAddresses.length > 0) return [{ family, filter: { protocol, destinationPort } }];
        return [{ family, filter: { protocol, destinationPort, destination: destination! } }];
      }),
    );
  }

  isStale({ family, original, reply }: Flow): boolean {
    const { protocol, destination, destinationPort } = original;
    if (destinationPort === undefined || reply.sourcePort === undefined) return false;
    const pending = this.#destinations.get(protocol)?.[family].get(destinationPort)?.get(destination);
    if (pending === undefined) return false;
    // A UDP flow from before the rules went to the virtual address itself. Once the frontend is gone that is right again:
    // the address may be that of a host which answers by itself. A TCP connection from before can only be to such a host.
    const isTranslated = reply.source !== destination || reply.sourcePort !== destinationPort;
    if (!isTranslated && (pending.target.isRemoved || pending.target.protocol === 'TCP')) return false;
    return isStaleEnd(pending, flowEnd(reply.source, reply.sourcePort), this.#nowMs);
  }

  #add(pending: Pending, address: Ip): void {
    const { family, protocol, port } = pending.target;
    const byFamily = this.#destinations.get(IPPROTO[protocol]) ?? { 4: new Map(), 6: new Map() };
    this.#destinations.set(IPPROTO[protocol], byFamily);
    const byAddress = byFamily[family].get(port) ?? new Map<string, Pending>();
    byFamily[family].set(port, byAddress.set(packIp(address), pending));
  }
}
