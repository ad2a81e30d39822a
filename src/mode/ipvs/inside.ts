// Where this node and its pods are sent that get more backends than others do (externalTrafficPolicy Local). A virtual
// server is the same for whoever dials it, so that they get another one: that of the cluster IP where it leads to the same
// backends, or else one that nobody can dial, at a port of the cluster IP which no Service has.

import { isDeepEqual } from '../../model/deep-equal.ts';
import type { Ip } from '../../model/ip.ts';
import { type Frontend, frontendKey } from '../../vip/frontend.ts';
import { type PlannedServer, planServer } from './planned-server.ts';

export interface InsideTarget {
  readonly address: Ip;
  readonly port: number;
}

export interface Inside {
  /** By `frontendKey`; missing for a frontend without an inside, or without backends there. */
  readonly targets: ReadonlyMap<string, InsideTarget>;
  /** Virtual servers for it that no Frontend asks for. */
  readonly servers: readonly PlannedServer[];
}

const NOTHING: Inside = { targets: new Map(), servers: [] };
const LAST_PORT = 65535;

/** For all Frontends of a Service. One whose cluster IP is another Service's has nowhere to send them: it has no inside. */
export function planInside(frontends: readonly Frontend[], defaultScheduler: string): Inside {
  const wanted = frontends.filter(({ insideBackends = [] }) => insideBackends.length > 0);
  if (wanted.length === 0) return NOTHING;
  const targets = new Map<string, InsideTarget>();
  const servers = new Map<string, PlannedServer>();
  const taken = new Set(frontends.map(frontendKey));
  for (const frontend of wanted) {
    const { family, protocol, displayName, insideBackends = [] } = frontend;
    const ofFamily = frontends.filter((one) => one.kind === 'ClusterIP' && one.family === family);
    const same = ofFamily.find((one) => one.protocol === protocol && one.displayName === displayName);
    if (same !== undefined && isDeepEqual(same.backends, insideBackends)) {
      targets.set(frontendKey(frontend), { address: same.address!, port: same.port });
      continue;
    }
    const address = (same ?? ofFamily[0])?.address;
    if (address === undefined) continue;
    const name = `${family} ${protocol} ${displayName}`;
    let server = servers.get(name);
    if (server === undefined) {
      let port = LAST_PORT;
      while (taken.has(frontendKey({ address, family, protocol, port }))) port--;
      taken.add(frontendKey({ address, family, protocol, port }));
      const { isDirect: _, ...plain } = frontend;
      server = planServer({ ...plain, address, port, backends: insideBackends }, defaultScheduler);
      servers.set(name, server);
    }
    targets.set(frontendKey(frontend), { address, port: server.port });
  }
  return { targets, servers: [...servers.values()] };
}
