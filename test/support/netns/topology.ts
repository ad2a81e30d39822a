// A node, a client outside and pods, as namespaces joined by veth pairs, the way a routed CNI (ptp, Calico) joins them:
// each pod hangs on its own routed link, and the gateway address is on the node's end of every one of them. A pod may
// hang on a bridge instead, as the bridge CNI has it; it is routed all the same, even to others on the bridge.
//
//   client ── eth0 ─────────── eth0 ── node ── pod0 ── eth0 ── pod 10.1.0.11
//        192.168.50.2   192.168.50.10   │ └── pod1 ── eth0 ── pod 10.1.0.12
//                                  10.1.0.1 on each

import { Netns } from './netns.ts';

/** One end of a link: the namespace, the name of its device, addresses as CIDRs, routes as `ip route add` takes them. */
export interface LinkEnd {
  readonly netns: Netns;
  readonly device: string;
  readonly addresses: readonly string[];
  readonly routes?: readonly string[];
}

/** Joins two namespaces by a veth pair; addresses and routes work as soon as the promise settles. */
export async function connect(a: LinkEnd, b: LinkEnd): Promise<void> {
  await a.netns.ip(`link add ${a.device} type veth peer name ${b.device} netns ${b.netns.name}`);
  for (const { netns, device, addresses, routes = [] } of [a, b]) {
    await netns.ip(
      ...addresses.map(
        (address) => `address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`,
      ),
      `link set ${device} up`,
      ...routes.map((route) => `route add ${route}`),
    );
  }
}

/** Addresses of the topology; manifests used with it say the same. */
export const NODE = { ip: '192.168.50.10', ip6: 'fd00:50::10' } as const;
export const CLIENT = { ip: '192.168.50.2', ip6: 'fd00:50::2' } as const;
/** The node's address towards its pods. */
export const GATEWAY = { ip: '10.1.0.1', ip6: 'fd00:10:1::1' } as const;
export const POD_CIDR = '10.1.0.0/24';
export const POD_CIDR6 = 'fd00:10:1::/64';
const SERVICE_CIDRS = ['10.96.0.0/12', '203.0.113.0/24', 'fd00:10:96::/112'];

export interface PodSpec {
  readonly name: string;
  /** Within POD_CIDR. */
  readonly ip: string;
  /** Within POD_CIDR6. */
  readonly ip6?: string;
  /** Bridge of the node to hang on, made when it is the first there; unless given, the pod has a link of its own. */
  readonly bridge?: string;
}

/** The node on which a daemon may run, a client outside of it, and pods. */
export class NodeTopology {
  readonly node: Netns;
  readonly client: Netns;
  readonly #podsByName = new Map<string, Netns>();
  readonly #bridges = new Map<string, Promise<void>>();
  #links = 0;

  private constructor(node: Netns, client: Netns) {
    this.node = node;
    this.client = client;
  }

  static async create(pods: readonly PodSpec[] = []): Promise<NodeTopology> {
    const [node, client] = await Promise.all([Netns.create('node'), Netns.create('client')]);
    const topology = new NodeTopology(node, client);
    try {
      await topology.#joinClient();
      await Promise.all(pods.map((pod) => topology.addPod(pod)));
    } catch (error) {
      await topology.delete();
      throw error;
    }
    return topology;
  }

  /** Adds a pod and returns its namespace. */
  async addPod({ name, ip, ip6, bridge }: PodSpec): Promise<Netns> {
    const device = `pod${this.#links++}`;
    const pod = await Netns.create(name);
    this.#podsByName.set(name, pod);
    // A node tells pods on one bridge that they are neighbours, by ICMPv6 redirects that it cannot be kept from sending. A pod that heeds
    // them answers its client past the node, which then translates nothing.
    await pod.sysctl({ 'net.ipv6.conf.default.accept_redirects': 0 });
    const families = ip6 === undefined ? [4] : [4, 6];
    const [own, gateway] = [
      [`${ip}/32`, `${ip6}/128`],
      [`${GATEWAY.ip}/32`, `${GATEWAY.ip6}/128`],
    ].map((addresses) => addresses.slice(0, families.length)) as [string[], string[]];
    const defaults = [`default via ${GATEWAY.ip}`, `::/0 via ${GATEWAY.ip6}`].slice(0, families.length);
    if (bridge !== undefined) await this.#makeBridge(bridge);
    await connect(
      bridge === undefined
        ? { netns: this.node, device, addresses: gateway, routes: own.map((cidr) => `${cidr} dev ${device}`) }
        : { netns: this.node, device, addresses: [] },
      {
        netns: pod,
        device: 'eth0',
        addresses: own,
        routes: [...gateway.map((cidr) => `${cidr} dev eth0`), ...defaults],
      },
    );
    if (bridge !== undefined)
      await this.node.ip(
        `link set ${device} master ${bridge}`,
        // Where bridged packets pass NAT (br_netfilter), what a pod sends to itself goes back out by its own port.
        `link set ${device} type bridge_slave hairpin on`,
        ...own.map((cidr) => `route add ${cidr} dev ${bridge}`),
      );
    return pod;
  }

  /** Settles when it is there, whoever made it. */
  #makeBridge(bridge: string): Promise<void> {
    const made =
      this.#bridges.get(bridge) ??
      this.node.ip(
        `link add ${bridge} type bridge`,
        `address add ${GATEWAY.ip}/32 dev ${bridge}`,
        `address add ${GATEWAY.ip6}/128 dev ${bridge} nodad`,
        `link set ${bridge} up`,
      );
    this.#bridges.set(bridge, made);
    return made;
  }

  /** The namespace of a pod added before. */
  pod(name: string): Netns {
    const pod = this.#podsByName.get(name);
    if (pod === undefined) throw new Error(`no pod named ${name}`);
    return pod;
  }

  get namespaces(): readonly Netns[] {
    return [this.node, this.client, ...this.#podsByName.values()];
  }

  /** Ends every process inside and removes every namespace. Idempotent. */
  async delete(): Promise<void> {
    await Promise.all(this.namespaces.map((netns) => netns.delete()));
  }

  async #joinClient(): Promise<void> {
    await this.node.sysctl({
      'net.ipv4.ip_forward': 1,
      'net.ipv6.conf.all.forwarding': 1,
      // Hairpin traffic leaves by the link it came from, which is no mistake of the pod.
      'net.ipv4.conf.all.send_redirects': 0,
      'net.ipv4.conf.default.send_redirects': 0,
    });
    const outside = [...SERVICE_CIDRS, POD_CIDR, POD_CIDR6];
    await connect(
      {
        netns: this.node,
        device: 'eth0',
        addresses: [`${NODE.ip}/24`, `${NODE.ip6}/64`],
        // Without a default route the node itself could not dial a virtual IP: routing comes before NAT.
        routes: [`default via ${CLIENT.ip}`, `::/0 via ${CLIENT.ip6}`],
      },
      {
        netns: this.client,
        device: 'eth0',
        addresses: [`${CLIENT.ip}/24`, `${CLIENT.ip6}/64`],
        routes: outside.map((cidr) => `${cidr} via ${cidr.includes(':') ? NODE.ip6 : NODE.ip}`),
      },
    );
  }
}
