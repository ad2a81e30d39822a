// The modes that the behaviour table is run for. A mode adds itself here and nowhere else.

import type { Prober } from './judge.ts';
import type { ModeName, Outcome, Packet } from './row.ts';
import { TracedIptables } from './traced-iptables.ts';
import { TracedIpvs } from './traced-ipvs.ts';
import { TracedNftables } from './traced-nftables.ts';
import { TracedUserspace } from './traced-userspace.ts';

/** A node on which the daemon runs in one mode, and what becomes of packets to it: told from what the mode writes. */
export interface ModeTracer extends Prober {
  /** Settles when what these objects call for is in force; those of the last call that are not among them are gone. */
  show(objects: readonly object[]): Promise<void>;
  /** Lets time pass: what the mode had put off is done. Between two calls of `show` there is none. */
  wait(seconds: number): Promise<void>;
  /** What one connection would come to now. @throws when connections come to outcomes of several kinds. */
  chances(packet: Packet): Outcome;
  /** What many connections from one sender would come to. */
  character(packet: Packet): Outcome;
}

export interface Mode {
  readonly name: ModeName;
  /** A fresh node; `flags` are the daemon's. */
  tracer(flags: readonly string[]): ModeTracer;
}

export const MODES: readonly Mode[] = [
  { name: 'nftables', tracer: (flags) => new TracedNftables(flags) },
  { name: 'iptables', tracer: (flags) => new TracedIptables(flags) },
  { name: 'ipvs', tracer: (flags) => new TracedIpvs(flags) },
  { name: 'userspace', tracer: (flags) => new TracedUserspace(flags) },
];
