// One-shot looks at the kernel: the table as it is, what a daemon would change, and taking away what is ours.

import type { Settings } from '../config/settings.ts';
import { KernelError, KubeError } from '../errors.ts';
import { deleteTables } from '../mode/nftables/cleanup.ts';
import { Desired } from '../mode/nftables/desired.ts';
import type { ElementChange } from '../mode/nftables/element-change.ts';
import { formatChange, formatRequest } from '../mode/nftables/format.ts';
import { planFullSync } from '../mode/nftables/full-sync.ts';
import { nftFamily, TABLE } from '../mode/nftables/names.ts';
import { previousIn } from '../mode/nftables/observed.ts';
import { planFrontend } from '../mode/nftables/planned-frontend.ts';
import { vipTableRows } from '../mode/nftables/rows.ts';
import { structureTransaction } from '../mode/nftables/transaction.ts';
import { Store } from '../model/store.ts';
import type { Problem } from '../model/types.ts';
import type { VipTableRow } from '../vip/table-row.ts';
import { VipTable } from '../vip/vip-table.ts';
import { kernelFamilies } from './interfaces.ts';
import type { Log } from './log.ts';
import { NftSession } from './nft-session.ts';
import { openSource } from './open-source.ts';
import { frontendSettings, surroundingsOf } from './run.ts';

/** How long `diff` waits for a source to be listed. */
const LIST_TIMEOUT_MS = 60_000;

/** The virtual-IP table as the kernel holds it. Throws KernelError: ENOENT when there is no table of ours. */
export async function readVipTable(): Promise<VipTableRow[]> {
  return withSession(async (session) => {
    const { observed } = await session.observe(kernelFamilies());
    if (observed.size === 0) throw new KernelError('ENOENT', 2, `list table ${TABLE}`);
    return vipTableRows(observed);
  });
}

/** What a daemon with these settings would write now, deletions that it would put off included. */
export async function planDiff(
  settings: Settings,
  log: Log,
): Promise<{ lines: string[]; writes: number; problems: Problem[] }> {
  const store = await listOnce(settings, log);
  return withSession(async (session) => {
    const families = kernelFamilies();
    const { observed } = await session.observe(families);
    const table = new VipTable(frontendSettings(settings));
    const desired = new Desired();
    desired.learnShapeIds(observed);
    const previous = previousIn(observed);
    const planned = [...table.refresh(store, store.serviceKeys())].map(
      ([service, frontends]) =>
        [service, frontends.map((frontend) => planFrontend(frontend, previous))] as const,
    );
    desired.update(new Map(planned));
    const surroundings = surroundingsOf(settings, store, table);
    desired.updateSurroundings(surroundings);
    const later: ElementChange[] = [];
    const plan = planFullSync(
      desired,
      families,
      { masqueradeBit: settings.masqueradeBit, localPods: surroundings.localPods },
      observed,
      new Set(),
      (change) => later.push(change),
    );
    const lines = [
      ...plan.structure.map(formatRequest),
      ...Array.from(plan.elements, formatChange),
      ...later.map(formatChange),
      ...plan.strays.map(({ kind, family, name }) => `- ${nftFamily(family)} table ${TABLE} ${kind} ${name}`),
    ];
    return { lines, writes: lines.length, problems: [...store.problems(), ...table.problems()] };
  });
}

/** Deletes our tables and names them. */
export async function cleanup(log: Log): Promise<string[]> {
  return withSession(async (session) => {
    const families = await session.familiesWithTable();
    if (families.length === 0) return [];
    const { refusals } = await session.commit(structureTransaction(deleteTables(families)));
    if (refusals[0] !== undefined) throw refusals[0].error;
    log.debug({ families }, 'tables deleted');
    return families.map((family) => `table ${nftFamily(family)} ${TABLE}`);
  });
}

async function withSession<T>(use: (session: NftSession) => Promise<T>): Promise<T> {
  const session = new NftSession();
  try {
    return await use(session);
  } finally {
    session.close();
  }
}

/** Reads the source until all of it is listed. Throws ConfigError, KubeError. */
async function listOnce(settings: Settings, log: Log): Promise<Store> {
  const store = new Store();
  const source = await openSource(settings, log);
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => {
        reject(new KubeError(`${source.description}: not listed within ${LIST_TIMEOUT_MS / 1000} s`));
      }, LIST_TIMEOUT_MS);
      source
        .start((events) => {
          store.apply(events);
          if (store.isSynced && store.isListed('Node') && store.isListed('ServiceCIDR')) resolve();
        })
        .catch(reject);
    });
    return store;
  } finally {
    clearTimeout(timer);
    await source.stop();
  }
}
