// What iptables mode needs of a kernel: its tables read as plain chains, and plans carried out. nf_tables and the legacy
// tables each have their own way.

import type { Delta } from '../../mode/iptables/desired.ts';
import type { SharedPlaces } from '../../mode/iptables/full-sync.ts';
import type { ChainPlace } from '../../mode/iptables/planned-chain.ts';
import type { CountedChain } from '../../mode/iptables/rows.ts';
import type { IpFamily } from '../../model/ip.ts';
import type { ServiceKey } from '../../model/types.ts';

/** Something that the kernel refused; what was written with it is not in force. */
export interface IptablesRefusal {
  readonly error: Error;
  /** Whose rule it was, when it was one Service's. */
  readonly service: ServiceKey | undefined;
}

export interface Applied {
  readonly refusals: readonly IptablesRefusal[];
  /** Chains and rules written or deleted. */
  readonly writes: number;
  /** Transactions that took effect. */
  readonly transactions: number;
}

/** Ids of chains (`chainId`) by family. */
export type ChainsByFamily = ReadonlyMap<IpFamily, ReadonlySet<string>>;

export interface IptablesTables {
  /** All families are about to be observed: changes of others from now on count for `hasChanged`. */
  begin(): Promise<void>;
  /** All chains of the tables this mode writes to, in any order. Throws KernelError. */
  list(family: IpFamily): Promise<readonly ChainPlace[]>;
  /**
   * Reads all chains of these tables, or `only` some, and shows them to `see`, in any order; those that are not there are
   * left out. Each is of one moment, all together are not: between them others get their turn. Where `see` returns true,
   * what `apply` needs to edit the chain is kept until then, in addition to what earlier calls kept. Throws KernelError.
   */
  observe(
    family: IpFamily,
    see: (chain: CountedChain) => boolean,
    only?: readonly ChainPlace[],
  ): Promise<void>;
  /** Carries out a plan; `shared` is known only for a plan made from an observation. Throws KernelError. */
  apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied>;
  /** All families hold what they shall: from now on changes of others are to be noticed as they happen. Throws KernelError. */
  watch?(): Promise<void>;
  /** Whether somebody else may have changed our chains since `begin`. */
  hasChanged(): Promise<boolean>;
  /**
   * The chains that others have changed since `begin`, or the last call; 'all' where it is not known which. Without this it
   * never is.
   */
  takeChanged?(): Promise<ChainsByFamily | 'all'>;
  close(): void;
}
