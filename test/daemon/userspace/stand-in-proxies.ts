// Proxies that serve nobody: ports are handed out as the real ones hand them out, and what they are asked is on record.

import type { SyncFailure } from '../../../src/daemon/backend.ts';
import type { Bequest } from '../../../src/daemon/handover/bequest.ts';
import type { ProxyCounts } from '../../../src/daemon/userspace/proxies.ts';
import type { PortalProxies } from '../../../src/daemon/userspace/proxy-share.ts';
import { type Side, servedSides } from '../../../src/mode/userspace/offered-backends.ts';
import type { Portal } from '../../../src/mode/userspace/portals.ts';
import type { Ip, IpFamily } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import { type Frontend, frontendKey } from '../../../src/vip/frontend.ts';

export class StandInProxies implements PortalProxies {
  /** One for each call, in order: `update default/web`, `release`, `close`. */
  readonly calls: string[] = [];
  /** Services that it refuses. */
  readonly refuses = new Set<ServiceKey>();
  /** Of what it has, by family, side and protocol, UDP also by Frontend. */
  readonly ports = new Map<string, number>();
  #addresses: ReadonlyMap<IpFamily, Ip> = new Map();
  readonly #frontends = new Map<ServiceKey, readonly Frontend[]>();
  unansweredClients = 0;
  #nextPort = 40_000;
  #end: () => void = () => undefined;
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  async update(
    frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    addresses?: ReadonlyMap<IpFamily, Ip>,
  ): Promise<readonly SyncFailure[]> {
    this.calls.push(`update ${[...frontends.keys()].join()}`);
    this.#addresses = addresses ?? this.#addresses;
    const failures: SyncFailure[] = [];
    for (const [service, list] of frontends) {
      if (this.refuses.has(service)) {
        failures.push({ error: new Error('no port is free'), services: [service] });
        continue;
      }
      this.#frontends.set(service, list);
      for (const one of list) {
        for (const side of servedSides(one)) {
          const key = keyOf(one, side);
          if (!this.ports.has(key)) this.ports.set(key, this.#nextPort++);
        }
      }
    }
    return failures;
  }

  portal(frontend: Frontend, side: Side): Portal | undefined {
    const ip = this.#addresses.get(frontend.family);
    const port = this.ports.get(keyOf(frontend, side));
    const isServed = !this.refuses.has(frontend.service);
    return ip === undefined || port === undefined || !isServed ? undefined : { ip, port };
  }

  bequeath(): Bequest {
    this.calls.push('bequeath');
    return { facts: {}, fds: [] };
  }

  release(): void {
    this.calls.push('release');
    const all = [...this.#frontends.values()].flat();
    const used = new Set(all.flatMap((one) => servedSides(one).map((side) => keyOf(one, side))));
    for (const key of this.ports.keys()) if (!used.has(key)) this.ports.delete(key);
  }

  resetIf(): number {
    this.calls.push('reset');
    return 0;
  }

  unanswered(): number {
    return this.unansweredClients;
  }

  counts(): ProxyCounts {
    return { ports: [], descriptors: { used: 0, limit: 0 }, refusedForDescriptors: 0, strangers: 0 };
  }

  /** All that was established has ended. */
  end(): void {
    this.#end();
  }

  drain(): Promise<void> {
    this.calls.push('drain');
    return this.ended;
  }

  async close(): Promise<void> {
    this.calls.push('close');
  }
}

function keyOf(frontend: Frontend, side: Side): string {
  const { family, protocol } = frontend;
  return `${family} ${side} ${protocol === 'UDP' ? frontendKey(frontend) : protocol}`;
}
