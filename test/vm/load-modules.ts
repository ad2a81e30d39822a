// Before all tests, once: of two worlds that ask for a module at the same moment one would be told that the kernel has none, for busybox's
// modprobe does not wait for a module that is being loaded. Schedulers that only preflight.guest.ts asks for are left to it.

import { existsSync } from 'node:fs';
import { runCommand } from '../support/netns/command.ts';

/** The guest's (init.sh). Outside of it, where stage.ts lists the tests, nothing is loaded. */
const MODPROBE = '/run/bin/modprobe';
const MODULES = [
  ...['veth', 'bridge', 'dummy', 'ipip', 'sctp', 'nf_conntrack'],
  ...['ip_vs', 'ip_vs_rr', 'ip_vs_wrr', 'ip_vs_sh', 'ip_vs_mh'],
  ...['nf_tables', 'nft_chain_nat', 'nft_ct', 'nft_nat', 'nft_masq', 'nft_numgen', 'nft_hash'],
];

/** Called by vitest. */
export async function setup(): Promise<void> {
  if (!existsSync(MODPROBE)) return;
  for (const module of MODULES) await runCommand([MODPROBE, module], { timeoutMs: 30_000 });
}
