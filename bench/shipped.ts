// The parts of the program that are measured, from dist/: what ships, not its sources, under the types of the sources.

/** A module of dist, by the path of its source. */
async function shipped<T>(path: string): Promise<T> {
  return (await import(new URL(`../dist/${path}.js`, import.meta.url).href)) as T;
}

export const { parseCidr } = await shipped<typeof import('../src/model/ip.ts')>('model/ip');
export const { Store } = await shipped<typeof import('../src/model/store.ts')>('model/store');
export const { VipTable } = await shipped<typeof import('../src/vip/vip-table.ts')>('vip/vip-table');
export const { NftSession } =
  await shipped<typeof import('../src/daemon/nft-session.ts')>('daemon/nft-session');
export const { NftablesBackend } =
  await shipped<typeof import('../src/daemon/nftables-backend.ts')>('daemon/nftables-backend');
export const { IpvsSession } =
  await shipped<typeof import('../src/daemon/ipvs/ipvs-session.ts')>('daemon/ipvs/ipvs-session');
export const { openIpvsBackend } =
  await shipped<typeof import('../src/daemon/ipvs/open-ipvs.ts')>('daemon/ipvs/open-ipvs');
export const { Proxies } =
  await shipped<typeof import('../src/daemon/userspace/proxies.ts')>('daemon/userspace/proxies');
export const { formerFrontend } = await shipped<typeof import('../src/daemon/userspace/proxies-bequest.ts')>(
  'daemon/userspace/proxies-bequest',
);
export const { SyncLoop } = await shipped<typeof import('../src/daemon/sync-loop.ts')>('daemon/sync-loop');
export const { NftConnection } =
  await shipped<typeof import('../src/daemon/nft-connection.ts')>('daemon/nft-connection');
export const { NftIptablesTables } = await shipped<typeof import('../src/daemon/iptables/nft-tables.ts')>(
  'daemon/iptables/nft-tables',
);
export const { IptablesBackend } = await shipped<typeof import('../src/daemon/iptables/iptables-backend.ts')>(
  'daemon/iptables/iptables-backend',
);
