// How the kernel is asked what it can do (preflight.ts). Nothing of what is made for that stays.

import { existsSync } from 'node:fs';
import { KernelError } from '../../errors.ts';
import type { Ip } from '../../model/ip.ts';
import type { VirtualServer } from '../../netlink/ipvs/virtual-server.ts';
import { NftConnection } from '../nft-connection.ts';
import { DummyDevice } from './dummy-device.ts';
import { IpvsSession } from './ipvs-session.ts';
import type { PreflightProbes } from './preflight.ts';

/** Code of the KernelError for a kernel that tracks no connections of IPVS. */
export const NO_CONNECTION_TRACKING = 'NO_CONNECTION_TRACKING';

/** There as soon as connections can be tracked at all, and as soon as those of IPVS can (CONFIG_IP_VS_NFCT). */
const TRACKING_FILES = ['/proc/sys/net/netfilter/nf_conntrack_max', '/proc/sys/net/ipv4/vs/conntrack'];

/** Of a device that is deleted at once. */
const PROBE_DEVICE = 'kproxy-ts-probe';

/** Of a network for documentation (RFC 5737); kube-proxy probes with port 20000. */
const PROBE_ADDRESS = '198.51.100.0' as Ip;
const PROBE_PORTS = [20_001, 20_002, 20_003] as const;

/** Opens its sockets when they are needed, and closes them. */
export const kernelProbes: PreflightProbes = {
  ipvs: () => withOpen(IpvsSession.open(), async () => undefined),
  scheduler: (name) => withOpen(IpvsSession.open(), (session) => probeScheduler(session, name)),
  dummyDevice: () =>
    withOpen(new DummyDevice(PROBE_DEVICE), async (device) => {
      await device.ensure();
      await device.delete();
    }),
  nftables: () => withOpen(new NftConnection(), async (connection) => void (await connection.generation())),
  async connectionTracking() {
    const missing = TRACKING_FILES.filter((file) => !existsSync(file));
    if (missing.length === 0) return;
    throw new KernelError(NO_CONNECTION_TRACKING, 0, 'track connections', `no ${missing.join(', no ')}`);
  },
};

/**
 * Adds a virtual server and deletes it: nothing else tells which schedulers there are, and the kernel loads one when it is
 * asked for. A virtual server that somebody has there is not touched.
 */
async function probeScheduler(session: IpvsSession, scheduler: string): Promise<void> {
  for (const port of PROBE_PORTS) {
    const virtualServer: VirtualServer = {
      family: 4,
      protocol: 'TCP',
      address: PROBE_ADDRESS,
      port,
      scheduler,
      flags: 0,
      persistenceSeconds: undefined,
      persistencePrefix: 32,
    };
    const [refusal] = await session.apply([{ kind: 'add virtual server', virtualServer }]);
    if (refusal?.code === 'EEXIST') continue;
    if (refusal !== undefined) throw refusal;
    const [left] = await session.apply([{ kind: 'delete virtual server', virtualServer }]);
    if (left !== undefined) throw left;
    return;
  }
  throw new KernelError('EEXIST', 17, `try scheduler ${scheduler}`, `${PROBE_ADDRESS} is in use`);
}

async function withOpen<T extends { close(): void }>(
  opening: T | Promise<T>,
  use: (opened: T) => Promise<void>,
): Promise<void> {
  const opened = await opening;
  try {
    await use(opened);
  } finally {
    opened.close();
  }
}
