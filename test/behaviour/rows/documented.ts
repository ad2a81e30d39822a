// Where a mode is documented to differ from the others, and why.

import { isRepeated, type Outcome, type Statement } from '../row.ts';

type Exception = Pick<Statement, 'except'>;

/** `outcome` is what comes of being served. */
export function servedInIptablesMode(outcome: Outcome): Exception {
  const why = 'every local address serves node ports unless --nodeport-addresses says otherwise';
  return { except: [{ mode: 'iptables', outcome, why }] };
}

/** `outcome` is what comes of being served. */
export function servedOnLoopbackInIptablesMode(outcome: Outcome): Exception {
  const why = 'with --iptables-localhost-nodeports loopback addresses do, too; the kernel has no way in IPv6';
  return { except: [{ mode: 'iptables', families: [4], outcome, why }] };
}

/** In place of turns and hashes chance over the same endpoints, unless it comes to something else. */
export function byChanceInIptablesMode(outcome: Outcome, chance: Outcome = chanceOf(outcome)): Exception {
  const why = 'no match of iptables takes turns or hashes: its only scheduler is random';
  return { except: [{ mode: 'iptables', outcome: chance, why }] };
}

function chanceOf(outcome: Outcome): Outcome {
  return isRepeated(outcome) ? { kind: 'reaches', endpoints: outcome.endpoints } : outcome;
}

/** `outcome` is what sticking at each address by itself comes to. */
export function byAddressInNftablesMode(outcome: Outcome): Exception {
  const why = 'the map of clients is keyed by the address they dial: they stick at each one by itself';
  return { except: [{ mode: 'nftables', outcome, why }] };
}
