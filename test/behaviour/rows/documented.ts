// Where a mode is documented to differ from the others, and why.

import { isRepeated, type Outcome, type Statement } from '../row.ts';

type Exception = Pick<Statement, 'except'>;

/** `outcome` is what comes of being served. */
export function servedUnlessToldOtherwise(outcome: Outcome): Exception {
  const why = 'every local address serves node ports unless --nodeport-addresses says otherwise';
  return { except: (['iptables', 'ipvs', 'userspace'] as const).map((mode) => ({ mode, outcome, why })) };
}

export function refusedInIpvsMode(): Exception {
  const why = 'virtual addresses are addresses of this node, which has nothing else to offer there';
  return { except: [{ mode: 'ipvs', outcome: { kind: 'refused' }, why }] };
}

/** `outcome` is what comes of being masqueraded. */
export function masqueradedInIpvsMode(outcome: Outcome): Exception {
  const why =
    'a node that dials an address of its own does so from that address, which leads nobody back to it';
  return { except: [{ mode: 'ipvs', outcome, why }] };
}

/** `outcome` is what comes of being served. */
export function servedOnLoopbackInIptablesMode(outcome: Outcome): Exception {
  const why = 'with --iptables-localhost-nodeports loopback addresses do, too; the kernel has no way in IPv6';
  return { except: [{ mode: 'iptables', families: [4], outcome, why }] };
}

/** In place of turns and hashes chance over the same endpoints, unless it comes to something else. Proxies do take turns, but do not hash. */
export function byChanceInIptablesMode(outcome: Outcome, chance: Outcome = chanceOf(outcome)): Exception {
  const why = 'no match of iptables takes turns or hashes: its only scheduler is random';
  const turns = {
    mode: 'userspace',
    protocols: ['TCP', 'UDP'],
    outcome: chance,
    why: 'proxies take turns',
  } as const;
  return {
    except: [{ mode: 'iptables', outcome: chance, why }, ...(outcome.kind === 'hashes' ? [turns] : [])],
  };
}

/** As `byChanceInIptablesMode`, where what ipvs mode comes to is `outcome`, too. */
export function nearlyEverywhereInIpvsMode(outcome: Outcome): Exception {
  const why =
    'the table of the kernel depends on the order in which endpoints were added, and on those that drain';
  return { except: [...byChanceInIptablesMode(outcome).except!, { mode: 'ipvs', outcome, why }] };
}

function chanceOf(outcome: Outcome): Outcome {
  return isRepeated(outcome) ? { kind: 'reaches', endpoints: outcome.endpoints } : outcome;
}

/** `outcome` is what sticking at each address by itself comes to. */
export function byAddressBeyondIptablesMode(outcome: Outcome): Exception {
  const why = 'clients are remembered by the address they dial: they stick at each one by itself';
  const inRules = (['nftables', 'ipvs'] as const).map((mode) => ({ mode, outcome, why }));
  return { except: [...inRules, { mode: 'userspace', protocols: ['SCTP'], outcome, why }] };
}
