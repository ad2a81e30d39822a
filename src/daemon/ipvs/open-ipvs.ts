// ipvs mode's way into the kernel: what it needs of it, the settings of the namespace, and the backend.

import { release } from 'node:os';
import type { Settings } from '../../config/settings.ts';
import { KproxyError } from '../../errors.ts';
import { GATE_TABLE } from '../../mode/ipvs/gate.ts';
import { kernelFamilies } from '../interfaces.ts';
import type { Log } from '../log.ts';
import { NftSession } from '../nft-session.ts';
import { DummyDevice } from './dummy-device.ts';
import { IpvsBackend } from './ipvs-backend.ts';
import { IpvsSession } from './ipvs-session.ts';
import { setIpvsSysctls } from './ipvs-sysctls.ts';
import { NodeAddresses } from './node-addresses.ts';
import { findMissingSupport, missingSupportError } from './preflight.ts';
import { kernelProbes } from './preflight-probes.ts';

/** `onForeignChange` is called when addresses of this host have changed. Throws KproxyError where every sync would fail. */
export async function openIpvsBackend(
  { ipvs: rules, masqueradeBit }: Settings,
  log: Log,
  onForeignChange: () => void,
): Promise<IpvsBackend> {
  const opened: { close(): void }[] = [];
  const keep = <Part extends { close(): void }>(part: Part): Part => {
    opened.push(part);
    return part;
  };
  try {
    const missing = await findMissingSupport([rules.scheduler], kernelProbes);
    if (missing.length > 0) throw missingSupportError(missing);
    const table = keep(await IpvsSession.open());
    setIpvsSysctls({ strictArp: rules.isStrictArp, kernelRelease: release() });
    const { timeouts } = rules;
    if (timeouts.tcp + timeouts.tcpFin + timeouts.udp > 0) {
      await table.setTimeouts(timeouts).catch((error: unknown) => {
        if (!(error instanceof KproxyError)) throw error;
        log.warn({ err: error }, 'timeouts of IPVS stay as they are');
      });
    }
    const device = keep(new DummyDevice());
    await device.ensure();
    const hostAddresses = keep(
      await NodeAddresses.watch({
        onChange: onForeignChange,
        onError: (error) => log.warn({ err: error }, 'addresses of this node cannot be listed'),
      }),
    );
    const gateSession = keep(new NftSession(undefined, GATE_TABLE));
    await gateSession.generation();
    const families = kernelFamilies();
    return new IpvsBackend({ table, device, hostAddresses, gateSession, families, masqueradeBit, rules });
  } catch (error) {
    for (const part of opened) part.close();
    throw error;
  }
}
