// The modes that the behaviour table is run for. A mode adds itself here and nowhere else.

import { buildSettings, type Settings } from '../../src/config/settings.ts';
import { frontendSettings, surroundingsOf } from '../../src/daemon/run.ts';
import { Desired } from '../../src/mode/nftables/desired.ts';
import { planFullSync } from '../../src/mode/nftables/full-sync.ts';
import { nftFamily } from '../../src/mode/nftables/names.ts';
import { planFrontend } from '../../src/mode/nftables/planned-frontend.ts';
import { elementTransaction } from '../../src/mode/nftables/transaction.ts';
import { Store } from '../../src/model/store.ts';
import type { ServiceKey } from '../../src/model/types.ts';
import type { NftRequest } from '../../src/netlink/nftables/request.ts';
import type { Frontend } from '../../src/vip/frontend.ts';
import type { Surroundings } from '../../src/vip/surroundings.ts';
import { VipTable } from '../../src/vip/vip-table.ts';
import { LISTED, upserts } from '../support/in-process-proxy.ts';
import { rulesetOf } from './nft-ruleset.ts';
import { FAMILIES } from './objects.ts';
import type { Cluster, ModeName, Outcome, Packet } from './row.ts';
import { traceNftables } from './trace-nftables.ts';
import { outcomeOf } from './traced-outcome.ts';
import { isNodeAddress } from './world.ts';

export interface Mode {
  readonly name: ModeName;
  /** Tells what becomes of packets to a cluster, from what the mode would write for it. */
  tracer(cluster: Cluster): (packet: Packet) => Outcome;
}

export const MODES: readonly Mode[] = [
  {
    name: 'nftables',
    tracer(cluster) {
      const requests = nftablesRequests(vipsOf(cluster));
      const rulesets = new Map(FAMILIES.map((family) => [family, rulesetOf(requests, nftFamily(family))]));
      const node = { isLocal: isNodeAddress };
      return (packet) => outcomeOf(traceNftables(rulesets.get(packet.family)!, packet, node), packet.family);
    },
  },
];

/** What every mode is given: the product of source, model and vip. */
interface Vips {
  readonly settings: Settings;
  readonly frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>;
  readonly surroundings: Surroundings;
}

function vipsOf({ objects, flags }: Cluster): Vips {
  const settings = settingsOf(flags);
  const store = new Store();
  store.apply([...LISTED, ...upserts(...objects)]);
  const table = new VipTable(frontendSettings(settings));
  const frontends = table.refresh(store, store.serviceKeys());
  return { settings, frontends, surroundings: surroundingsOf(settings, store, table) };
}

function settingsOf(flags: readonly string[]): Settings {
  const given = flags.map((spelled) => {
    const [name = '', text] = spelled.slice(2).split('=');
    return { name, spelled, text };
  });
  const { settings, errors } = buildSettings(given, '');
  if (settings === undefined) throw new Error(errors.join('\n'));
  return settings;
}

/** All that a first sync writes to an empty kernel. */
function nftablesRequests({ settings, frontends, surroundings }: Vips): readonly NftRequest[] {
  const desired = new Desired();
  desired.update(
    new Map(
      [...frontends].map(([service, list]) => [service, list.map((one) => planFrontend(one, () => []))]),
    ),
  );
  desired.updateSurroundings(surroundings);
  const rules = { masqueradeBit: settings.masqueradeBit, localPods: surroundings.localPods };
  const wait = () => {
    throw new Error('nothing to wait for on an empty kernel');
  };
  const { structure, elements } = planFullSync(desired, FAMILIES, rules, new Map(), new Set(), wait);
  return [...structure, ...elementTransaction([...elements]).requests];
}
