// The proxies and the socket that owns the portals, which outlive a backend: other settings of this mode have another backend over
// the same ones.

import { KproxyError } from '../../errors.ts';
import type { Portal, PortalSide } from '../../mode/userspace/portals.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';
import type { SyncFailure } from '../backend.ts';
import { removeTables } from '../inspect-nftables.ts';
import type { NftSession } from '../nft-session.ts';

/** What the portals need of the proxies. */
export interface PortalProxies {
  /**
   * Takes all Frontends of each changed Service (none: removed), and new addresses. When it settles, what new portals need
   * listens. Never throws for what the system refuses.
   */
  update(
    frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>,
    addresses?: ReadonlyMap<IpFamily, Ip>,
  ): Promise<readonly SyncFailure[]>;
  portal(frontend: Frontend, side: PortalSide): Portal | undefined;
  /** Lets go of what no Frontend uses since the last update. */
  release(): void;
  /** Takes nobody new. Settles when all that is established has ended by itself. */
  drain(): Promise<void>;
  /** Cuts off what is left. */
  close(): Promise<void>;
}

export class ProxyShare {
  readonly session: NftSession;
  readonly proxies: PortalProxies;
  #holders = 0;
  #isWithdrawn = false;

  constructor(session: NftSession, proxies: PortalProxies) {
    this.session = session;
    this.proxies = proxies;
  }

  /** False once nobody can hold it any more. */
  get isUsable(): boolean {
    return !this.#isWithdrawn;
  }

  hold(): void {
    this.#holders++;
  }

  /** Closes all of it when it was the last holder. */
  letGo(): void {
    if (--this.#holders > 0) return;
    if (!this.#isWithdrawn) this.session.close();
    this.#isWithdrawn = true;
    void this.proxies.close();
  }

  /**
   * Deletes the portals, unless another backend holds them. The kernel does so by itself with the socket that owns them, where it
   * knows owners.
   */
  async withdraw(): Promise<void> {
    if (this.#holders > 1 || this.#isWithdrawn) return;
    this.#isWithdrawn = true;
    try {
      const { table } = this.session;
      const families = await this.session.families();
      await removeTables(
        this.session,
        families.map((family) => ({ family, table })),
      );
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
    } finally {
      this.session.close();
    }
  }

  /** Settles when nothing is under way, after `forMs` at the latest; at once while another backend has the proxies. */
  async drain(forMs: number | undefined): Promise<void> {
    if (this.#holders > 1) return;
    let timer: NodeJS.Timeout | undefined;
    const isOver = new Promise<void>((resolve) => {
      if (forMs !== undefined) timer = setTimeout(resolve, forMs);
    });
    await Promise.race([this.proxies.drain(), isOver]);
    clearTimeout(timer);
  }
}
