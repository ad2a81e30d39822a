// What iptables mode needs of a kernel: its tables read as plain chains, and plans carried out. nf_tables and the legacy
// tables each have their own way.

import type { Delta } from '../../mode/iptables/desired.ts';
import type { SharedPlaces } from '../../mode/iptables/full-sync.ts';
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

export interface IptablesTables {
  /** All families are about to be observed: changes of others from now on count for `hasChanged`. */
  begin(): Promise<void>;
  /**
   * All chains of the tables this mode writes to, in any order; may be read once. With them comes what `apply` needs to
   * carry out a plan made from them. Throws KernelError.
   */
  observe(family: IpFamily): Promise<Iterable<CountedChain>>;
  /** Carries out a plan; `shared` is known only for a plan made from an observation. Throws KernelError. */
  apply(family: IpFamily, delta: Delta, shared?: readonly SharedPlaces[]): Promise<Applied>;
  /** Whether somebody else may have changed our chains since `begin`. */
  hasChanged(): Promise<boolean>;
  close(): void;
}
