// userspace mode under the tracer: the daemon from objects to portals over a kernel of the tracer's own, and behind them proxies that
// balance as the real ones do.

import { NftSession } from '../../src/daemon/nft-session.ts';
import { ProxyShare } from '../../src/daemon/userspace/proxy-share.ts';
import { UserspaceBackend } from '../../src/daemon/userspace/userspace-backend.ts';
import { isProxied, PORTAL_TABLE } from '../../src/mode/userspace/portals.ts';
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
import { ProxyState, TracedProxies } from './traced-proxies.ts';
import { PLACES } from './world.ts';

interface State {
  readonly rules: PacketState;
  readonly proxies: ProxyState;
  readonly fingerprint: string;
}

export class TracedUserspace extends TracedMode<State> {
  readonly #cluster: TracedCluster;
  readonly #kernel = new TracedKernel();
  #clients = new ProxyState();
  readonly #proxies = new TracedProxies((happening) => {
    this.#clients = this.#clients.after(happening);
  });
  readonly #backend: UserspaceBackend;

  constructor(flags: readonly string[]) {
    super();
    this.#cluster = new TracedCluster(['--proxy-mode=userspace', ...flags]);
    const { masqueradeBit, userspace } = this.#cluster.settings;
    this.#backend = new UserspaceBackend({
      share: new ProxyShare(new NftSession(this.#kernel, PORTAL_TABLE), this.#proxies),
      hostAddresses: {
        current: FAMILIES.map((family) => PLACES.node[family] as Ip),
        close: () => undefined,
      },
      families: FAMILIES,
      masqueradeBit,
      bindAddress: userspace.bindAddress,
      ownsTables: false,
    });
  }

  override async show(objects: readonly object[]): Promise<void> {
    const { failures } = await this.#backend.sync(this.#cluster.show(objects));
    if (failures[0] !== undefined) throw failures[0].error;
    await this.#backend.afterSync.settle(0, new Set());
  }

  override async wait(seconds: number): Promise<void> {
    this.#kernel.state.wait(seconds);
    this.#clients = this.#clients.after({ kind: 'wait', seconds });
    while (this.#backend.hasDeferred) {
      const { failures } = await this.#backend.flushDeferred();
      if (failures[0] !== undefined) throw failures[0].error;
    }
  }

  /** One more connection of this client; whose turn it is depends on all others. */
  override chances(packet: Packet): Outcome {
    const outcome = outcomeOf(this.#trace(packet, this.state, false), packet.family);
    if (isRepeated(outcome)) throw new Error(`one connection ${outcome.kind}`);
    return outcome;
  }

  /** Turns are by weight, and those of one client come between those of others: chance, unless it goes on with what it got. */
  override character(packet: Packet): Outcome {
    const first = this.#trace(packet, this.state, false);
    const outcome = outcomeOf(first, packet.family);
    if (!isProxied(packet)) return super.character(packet);
    if (outcome.kind !== 'reaches' || first.length === 1) return outcome;
    const isKept = first.every(({ state }) => this.#trace(packet, state, false).length === 1);
    if (!isKept) return outcome;
    return { kind: 'sticks', endpoints: outcome.endpoints, isAnew: false, like: undefined };
  }

  protected override get state(): State {
    return stateOf(this.#kernel.state, this.#clients);
  }

  protected override set state({ rules, proxies }: State) {
    this.#kernel.state = rules;
    this.#clients = proxies;
  }

  protected override trace(packet: Packet, state: State): Branch<State>[] {
    return this.#trace(packet, state, true);
  }

  #trace(packet: Packet, before: State, isTurnKnown: boolean): Branch<State>[] {
    const table = this.#kernel.table(packet.family === 4 ? 'ip' : 'ip6');
    const isLocal = (address: string): boolean => isLocalFor(packet, address);
    const { family, protocol, port, source } = packet;
    const ways = everyWay((choose): { fate: Fate; state: State } => {
      const rules = before.rules.fork();
      const fate = runNftables(table, rules, packet, { isLocal }, choose);
      if (fate.kind !== 'reaches' || !isProxied(packet))
        return { fate, state: stateOf(rules, before.proxies) };
      const dialled = { family, protocol, port, address: packet.destination as Ip };
      const client = fate.source === 'own' ? source : PLACES.node[family];
      const dial = { ...this.#proxies.ledTo(dialled, fate), client };
      const { ip: address, port: endpointPort } = before.proxies.replay().dial(dial, choose, isTurnKnown);
      return {
        fate: { kind: 'reaches', address, port: endpointPort, source: 'node' },
        state: stateOf(rules, before.proxies.after({ kind: 'dial', ...dial })),
      };
    });
    return ways.map(({ result, share }) => ({ ...result, share }));
  }
}

function stateOf(rules: PacketState, proxies: ProxyState): State {
  return {
    rules,
    proxies,
    get fingerprint() {
      return `${rules.fingerprint} ${proxies.fingerprint}`;
    },
  };
}
