// userspace mode for one-shot commands: the portals are in the kernel, what is behind them in the daemon that runs.

import type { Settings } from '../../config/settings.ts';
import { PORTAL_TABLE, planPortal } from '../../mode/userspace/portals.ts';
import { proxyAddresses } from '../../mode/userspace/proxy-addresses.ts';
import { portalRows } from '../../mode/userspace/rows.ts';
import { shownPortals } from '../../mode/userspace/shown-portals.ts';
import type { ConnectionCount } from '../../vip/connection-counts.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import type { BackendUpdate } from '../backend.ts';
import { planTableDiff, removeTables, tableConnections, tableText } from '../inspect-nftables.ts';
import type { CleanupReport, Inspector } from '../inspector.ts';
import { interfaceAddresses, kernelFamilies } from '../interfaces.ts';
import { NftSession } from '../nft-session.ts';

export class UserspaceInspector implements Inspector {
  readonly #session = new NftSession(undefined, PORTAL_TABLE);

  async isPresent(): Promise<boolean> {
    return (await this.#session.families()).length > 0;
  }

  async readVipTable(): Promise<VipTableRow[] | undefined> {
    const { observed } = await this.#session.observe(await this.#session.families());
    return observed.size === 0 ? undefined : portalRows(observed);
  }

  readConnections(): Promise<ConnectionCount[] | undefined> {
    return tableConnections(this.#session);
  }

  async planDiff({ masqueradeBit, userspace }: Settings, update: BackendUpdate): Promise<string[]> {
    const { observed } = await this.#session.observe(kernelFamilies());
    const addresses = proxyAddresses({
      bindAddress: userspace.bindAddress,
      nodeAddresses: update.surroundings?.nodeAddresses ?? [],
      hostAddresses: interfaceAddresses(),
    });
    const portalOf = shownPortals(observed, addresses);
    return planTableDiff(observed, update, {
      table: PORTAL_TABLE,
      masqueradeBit,
      planPortal: (frontend, previous) => planPortal(frontend, previous, portalOf),
    });
  }

  async cleanUp(): Promise<CleanupReport> {
    const tables = (await this.#session.families()).map((family) => ({ family, table: PORTAL_TABLE }));
    await removeTables(this.#session, tables);
    return { removed: tables.map(tableText), kept: [] };
  }

  close(): void {
    this.#session.close();
  }
}
