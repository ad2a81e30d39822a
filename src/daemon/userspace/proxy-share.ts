// The proxies and the socket that owns the portals, which outlive a backend: other settings of this mode have another backend over
// the same ones.

import { setTimeout as sleep } from 'node:timers/promises';
import { KproxyError } from '../../errors.ts';
import { deleteTables } from '../../mode/nftables/cleanup.ts';
import { OWNED_PORTALS } from '../../mode/nftables/ownership.ts';
import { structureTransaction } from '../../mode/nftables/transaction.ts';
import type { Side } from '../../mode/userspace/offered-backends.ts';
import type { Portal } from '../../mode/userspace/portals.ts';
import { addTranslatingTables, translatingTable } from '../../mode/userspace/translating-table.ts';
import type { Ip, IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import { ANSWERS_MS, type SyncFailure } from '../backend.ts';
import { type Bequest, discard } from '../handover/bequest.ts';
import type { NftSession } from '../nft-session.ts';
import type { ProxyCounts } from './proxies.ts';

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
  portal(frontend: Frontend, side: Side): Portal | undefined;
  /** Lets go of what no Frontend uses since the last update. */
  release(): void;
  /** Gives away all that listens and all TCP connections. */
  bequeath(): Bequest;
  counts(): ProxyCounts;
  /** UDP clients that have asked since their last answer. */
  unanswered(): number;
  /** Resets TCP connections that are asked about. Returns how many. */
  resetIf(isUnwanted: (frontend: Frontend, backend: Backend) => boolean): number;
  /** Takes nobody new. Settles when all that is established has ended by itself. */
  drain(): Promise<void>;
  /** Cuts off what is left. */
  close(): Promise<void>;
}

/** Who was led here by the portals just before they went has to be accepted: a socket that is closed resets who waits there. */
const ARRIVAL_MS = 100;

const POLL_MS = 10;

export class ProxyShare {
  readonly session: NftSession;
  readonly proxies: PortalProxies;
  #holders = 0;
  #isWithdrawn = false;
  #isClosed = false;
  /** Of the table that has taken the place of the portals. */
  #translating: readonly IpFamily[] = [];

  constructor(session: NftSession, proxies: PortalProxies) {
    this.session = session;
    this.proxies = proxies;
  }

  /** What `bequeath` put together; nothing of it where that was another program's. */
  static parts({ facts, fds }: Bequest): { proxies: Bequest; session: number } | undefined {
    const session = fds.at(-1);
    if (session === undefined || !('proxies' in Object(facts))) {
      discard(fds);
      return undefined;
    }
    return { proxies: { facts: Object(facts).proxies, fds: fds.slice(0, -1) }, session };
  }

  /** False once nobody can hold it any more. */
  get isUsable(): boolean {
    return !this.#isWithdrawn;
  }

  /** Not one backend's alone. */
  get isShared(): boolean {
    return this.#holders > 1 || this.#isWithdrawn;
  }

  hold(): void {
    this.#holders++;
  }

  /** Closes all of it when it was the last holder. */
  letGo(): void {
    if (--this.#holders > 0) return;
    this.#isWithdrawn = true;
    this.#closeSession();
    void this.proxies.close();
  }

  /**
   * Deletes the portals, unless another backend holds them. Where no other rules of ours translate (`isFollowed`), something has to
   * until all that is established has ended. Never throws: what is not deleted goes with the socket that owns it, where the
   * kernel knows owners.
   */
  async withdraw(isFollowed: boolean): Promise<void> {
    if (this.#holders > 1 || this.#isWithdrawn) return;
    this.#isWithdrawn = true;
    try {
      const families = await this.session.families();
      const away = deleteTables(families, this.session.table);
      const isDone = !isFollowed && (await this.#replace(away, families));
      if (!isDone) await this.#commit(away);
    } catch (error) {
      if (!(error instanceof KproxyError)) throw error;
    }
    if (isFollowed) this.#closeSession();
  }

  /**
   * The proxies and the socket that owns the portals, for another process to go on with: the portals stay as they are. Throws
   * KernelError.
   */
  async bequeath(): Promise<Bequest> {
    const session = this.session.duplicateDescriptor();
    this.#isWithdrawn = true;
    const { facts, fds } = this.proxies.bequeath();
    return { facts: { proxies: facts }, fds: [...fds, session] };
  }

  /**
   * To be called after `withdraw`. Settles when those who were led here before have been accepted, or over UDP answered, as far as
   * that takes no longer than a second, or `forMs`; at once while another backend has the proxies.
   */
  async answered(forMs: number = ANSWERS_MS): Promise<void> {
    if (this.#holders > 1) return;
    const startMs = performance.now();
    const leftMs = (ofMs: number): number => Math.min(ofMs, forMs) - (performance.now() - startMs);
    await sleep(leftMs(ARRIVAL_MS));
    while (this.proxies.unanswered() > 0 && leftMs(ANSWERS_MS) > 0) await sleep(POLL_MS);
  }

  /** Settles when nothing is under way, cut off after `forMs` if need be; at once while another backend has the proxies. */
  async drain(forMs: number | undefined): Promise<void> {
    if (this.#holders > 1) return;
    const startMs = performance.now();
    await this.answered(forMs);
    let timer: NodeJS.Timeout | undefined;
    const isOver = new Promise<void>((resolve) => {
      if (forMs !== undefined) timer = setTimeout(resolve, forMs - (performance.now() - startMs));
    });
    await Promise.race([this.proxies.drain(), isOver]);
    clearTimeout(timer);
    // Clients have to hear of it, which takes the translation of their addresses.
    await this.proxies.close();
    if (this.#translating.length > 0 && !this.#isClosed) {
      try {
        await this.#commit(deleteTables(this.#translating, translatingTable(process.pid)));
      } catch (error) {
        if (!(error instanceof KproxyError)) throw error;
      }
    }
    this.#closeSession();
  }

  /** Owned where the kernel can. */
  async #replace(away: readonly NftRequest[], families: readonly IpFamily[]): Promise<boolean> {
    for (const flags of [OWNED_PORTALS, 0]) {
      const tables = addTranslatingTables(families, translatingTable(process.pid), flags);
      if (!(await this.#commit([...tables, ...away]))) continue;
      this.#translating = families;
      return true;
    }
    return false;
  }

  async #commit(requests: readonly NftRequest[]): Promise<boolean> {
    const { refusals } = await this.session.commit(structureTransaction(requests));
    return refusals.length === 0;
  }

  #closeSession(): void {
    if (!this.#isClosed) this.session.close();
    this.#isClosed = true;
  }
}
