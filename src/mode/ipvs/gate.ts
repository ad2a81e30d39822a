// A Frontend as the gate in front of IPVS sees it: the table of nftables mode, which lets in, keeps out, masquerades and
// refuses as it does there, but leaves the choice of a backend to the virtual server of the address that was dialled.

import { type Ip, packIp } from '../../model/ip.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';
import {
  hairpinsOf,
  type PlannedFrontend,
  type Previous,
  planFrontend,
} from '../nftables/planned-frontend.ts';
import type { InsideTarget } from './inside.ts';

/** Its table, once per family. */
export const GATE_TABLE = 'kproxy-ts-ipvs';

export interface GateFacts {
  /** Where this node and its pods are sent instead. */
  readonly inside: InsideTarget | undefined;
  /** The address is on our device. */
  readonly isBound: boolean;
  /** It has no virtual server, which the kernel refused. */
  readonly isRefused: boolean;
}

const NONE: readonly Backend[] = [];
const NO_SLOTS: readonly string[] = [];

export function planGateFrontend(
  frontend: Frontend,
  previous: Previous,
  { inside, isBound, isRefused }: GateFacts,
): PlannedFrontend {
  const { address, backends, insideBackends, kind, isDirect: _, schedulerFlags: __, ...rest } = frontend;
  const planned = planFrontend(
    {
      ...rest,
      kind,
      address,
      scheduler: 'random',
      affinityTimeoutSeconds: undefined,
      backends:
        backends.length === 0 || isRefused ? NONE : [virtual(address ?? ('0.0.0.0' as Ip), rest.port)],
      insideBackends:
        insideBackends === undefined || (inside === undefined && insideBackends.length > 0)
          ? undefined
          : inside === undefined
            ? NONE
            : [virtual(inside.address, inside.port)],
    },
    previous,
  );
  return {
    ...planned,
    slots: NO_SLOTS,
    boundIp: isBound && kind !== 'ClusterIP' ? packIp(address!) : undefined,
    hairpins: hairpinsOf(frontend),
  };
}

/** One slot: what it leads to matters inside only, where it is written. */
function virtual(ip: Ip, port: number): Backend {
  return { ip, port, isMaybeLocal: false, weight: 1 };
}
