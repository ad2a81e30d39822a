// ipvs mode under the tracer: the daemon from objects to what it asks of IPVS, and its gate from objects to bytes, over a
// kernel that is the tracer's own.

import { IpvsBackend } from '../../src/daemon/ipvs/ipvs-backend.ts';
import { NftSession } from '../../src/daemon/nft-session.ts';
import { GATE_TABLE } from '../../src/mode/ipvs/gate.ts';
import type { Ip } from '../../src/model/ip.ts';
import { type Branch, everyWay, type Fate } from './branch.ts';
import { FAMILIES } from './objects.ts';
import type { PacketState } from './packet-state.ts';
import { isRepeated, type Outcome, type Packet } from './row.ts';
import { runNftables } from './trace-nftables.ts';
import { TracedCluster } from './traced-cluster.ts';
import { TracedKernel } from './traced-kernel.ts';
import { isLocalFor, TracedMode } from './traced-mode.ts';
import { outcomeOf } from './traced-outcome.ts';
import { TracedDevice, TracedVirtualServers, VirtualServerState } from './traced-virtual-servers.ts';
import { NODE_ADDRESSES, sourceOf } from './world.ts';

interface State {
  readonly rules: PacketState;
  readonly servers: VirtualServerState;
  readonly fingerprint: string;
}

const HOST_ADDRESSES = NODE_ADDRESSES.flatMap((pair) => FAMILIES.map((family) => pair[family] as Ip));

export class TracedIpvs extends TracedMode<State> {
  readonly #cluster: TracedCluster;
  readonly #kernel = new TracedKernel();
  readonly #servers = new TracedVirtualServers();
  readonly #device = new TracedDevice();
  readonly #backend: IpvsBackend;
  #serverState = new VirtualServerState();
  #nowMs = 0;

  constructor(flags: readonly string[]) {
    super();
    this.#cluster = new TracedCluster(['--proxy-mode=ipvs', ...flags]);
    const { masqueradeBit, ipvs } = this.#cluster.settings;
    this.#backend = new IpvsBackend({
      table: this.#servers,
      device: this.#device,
      hostAddresses: { current: HOST_ADDRESSES, close: () => undefined },
      gateSession: new NftSession(this.#kernel, GATE_TABLE),
      families: FAMILIES,
      masqueradeBit,
      rules: ipvs,
      nowMs: () => this.#nowMs,
    });
  }

  override async show(objects: readonly object[]): Promise<void> {
    const { failures } = await this.#backend.sync(this.#cluster.show(objects));
    if (failures[0] !== undefined) throw failures[0].error;
  }

  override async wait(seconds: number): Promise<void> {
    this.#nowMs += seconds * 1000;
    this.#kernel.state.wait(seconds);
    this.#serverState.wait(seconds);
    const failures = [...(await this.#backend.afterSync.settle(this.#nowMs, new Set()))];
    while (this.#backend.hasDeferred) failures.push(...(await this.#backend.flushDeferred()).failures);
    if (failures[0] !== undefined) throw failures[0].error;
  }

  /** One more connection of this client; whose turn it is depends on all others. */
  override chances(packet: Packet): Outcome {
    const outcome = outcomeOf(this.#trace(packet, this.state, false), packet.family);
    if (isRepeated(outcome)) throw new Error(`one connection ${outcome.kind}`);
    return outcome;
  }

  protected override get state(): State {
    return stateOf(this.#kernel.state, this.#serverState);
  }

  protected override set state({ rules, servers }: State) {
    this.#kernel.state = rules;
    this.#serverState = servers;
  }

  protected override trace(packet: Packet, state: State): Branch<State>[] {
    return this.#trace(packet, state, true);
  }

  #trace(packet: Packet, before: State, isTurnKnown: boolean): Branch<State>[] {
    const table = this.#kernel.table(packet.family === 4 ? 'ip' : 'ip6');
    const isBound = (address: string): boolean => this.#device.bound.has(address as Ip);
    const isLocal = (address: string): boolean => isLocalFor(packet, address) || isBound(address);
    const { destination, from, family, protocol } = packet;
    // The node's own address is the one that it dials, unless the sender says otherwise.
    const isUsual = packet.source === sourceOf(from, destination, family);
    const isVirtualSource = from === 'node' && isUsual && isBound(destination);
    const sent = isVirtualSource ? { ...packet, source: destination } : packet;
    const ways = everyWay((choose) => {
      const rules = before.rules.fork();
      const servers = before.servers.fork();
      const fate = runNftables(table, rules, sent, { isLocal }, choose, (address, port) => {
        const traced = isLocal(address)
          ? this.#servers.at({ family, protocol, address: address as Ip, port })
          : undefined;
        if (traced === undefined) return undefined;
        const real = servers.schedule(traced, sent.source as Ip, choose, isTurnKnown);
        return real === undefined ? 'refused' : { address: real.address, port: real.port };
      });
      check(fate, isVirtualSource);
      return { fate, state: stateOf(rules, servers) };
    });
    return ways.map(({ result, share }) => ({ ...result, share }));
  }
}

/** Nobody else finds the way back to a virtual address of this node. */
function check(fate: Fate, isVirtualSource: boolean): void {
  if (fate.kind === 'reaches' && isVirtualSource && fate.source === 'own')
    throw new Error('a backend sees the virtual address');
}

function stateOf(rules: PacketState, servers: VirtualServerState): State {
  return {
    rules,
    servers,
    get fingerprint() {
      return `${rules.fingerprint} ${servers.fingerprint}`;
    },
  };
}
