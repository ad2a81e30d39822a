// What the sync loop needs of a mode: one way to bring the kernel to the virtual-IP table.

import type { Problem, ServiceKey } from '../model/types.ts';
import type { Frontend } from '../vip/frontend.ts';
import type { Surroundings } from '../vip/surroundings.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import type { ResetProxied } from './conntrack-reconciler.ts';
import type { Bequest } from './handover/bequest.ts';
import type { AfterSync } from './sync-loop.ts';
import type { ProxyCounts } from './userspace/proxies.ts';

/** What changed since the last call, whether or not that call succeeded. */
export interface BackendUpdate {
  /** All Frontends of each changed Service; an empty list removes the Service. */
  readonly frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>;
  /** All of them, when some may have changed. */
  readonly surroundings: Surroundings | undefined;
}

/** How a sync went. It was clean only if `failures` is empty. */
export interface SyncResult {
  /** Elements, rules, chains, sets and tables written or deleted. */
  readonly writes: number;
  /** Of the writes those that undo what others did, where that is known. */
  readonly repairs?: number;
  /** True when the kernel was read and compared as a whole. */
  readonly isFull: boolean;
  /** Commits it took. */
  readonly transactions: number;
  readonly failures: readonly SyncFailure[];
}

export interface SyncFailure {
  readonly error: Error;
  /** The Services that are not in force because of it, while all others are; empty when it concerns all. */
  readonly services: readonly ServiceKey[];
}

/** Of a mode whose rules lead to this process. They are of no use without it, and another mode's have to come before they go. */
export interface LivePortals {
  /** All Frontends of each Service that the rules may lead elsewhere since the last call. */
  takeMoved(): ReadonlyMap<ServiceKey, readonly Frontend[]>;
  /** Where its flows may lead, by `flowEnd`; undefined where they lead to endpoints, as in other modes. */
  endsOf(frontend: Frontend): ReadonlySet<string> | undefined;
  /** What the kernel does not know: the endpoints behind each row of its table. */
  completed(rows: readonly VipTableRow[]): readonly VipTableRow[];
  counts(): ProxyCounts;
  /** Resets TCP connections through proxies, by what was dialled and the endpoint that answered. */
  readonly resetIf: ResetProxied;
  /** Takes the rules back, so that nobody new is led here. `isFollowed`: other rules of ours are in force. Never throws. */
  withdraw(isFollowed: boolean): Promise<void>;
  /** To be called after that. Settles, soon, when all that was asked over UDP before has been answered. */
  answered(): Promise<void>;
  /** The same of all that goes on without them, after `forMs` at the latest. */
  drain(forMs?: number): Promise<void>;
  /**
   * In place of both: gives all of it away, for another process to go on with. Not to be called while another backend has it.
   * Throws KproxyError.
   */
  bequeath(): Promise<Bequest>;
  /** Another backend has what the rules lead to, too, or they lead there no more. */
  isShared(): boolean;
}

/** The longest that answers over UDP which are under way are waited for: some clients never get any. */
export const ANSWERS_MS = 1000;

export interface Backend {
  /** Applies an update on top of all earlier ones. Never throws for what the kernel refuses. */
  sync(update: BackendUpdate): Promise<SyncResult>;
  /** Forgets what the kernel is believed to hold, refusals included: the next sync reads it and tries everything. */
  distrust(): void;
  /** True when the kernel is not as it should be: changed by others (cheap: a generation id), or after refusals. */
  hasDrifted(): Promise<boolean>;
  /** True while a look at all that the kernel holds is under way, in pieces that a sync need not wait for. */
  readonly hasMore?: boolean;
  /** Takes the next of these pieces. Part of the sync sequence: never call concurrently with `sync`. */
  resume?(): Promise<SyncResult>;
  /** True while deletions wait that had to outlive their transaction. */
  readonly hasDeferred: boolean;
  /** Carries out deletions that have waited long enough. Part of the sync sequence: never call concurrently with `sync`. */
  flushDeferred(): Promise<SyncResult>;
  /**
   * Lets go of what is there for nothing and was so at the last call already. Called now and then, in the same sequence.
   */
  releaseUnused(): Promise<SyncResult>;
  /** What the mode itself has to do once rules are in force, when there is something. */
  readonly afterSync?: AfterSync;
  /** Missing where rules serve without this process. */
  readonly portals?: LivePortals;
  /** Services whose objects the kernel refused. */
  problems(): Problem[];
  close(): void;
}
