// ipvs mode for one-shot commands. A kube-proxy has virtual servers on a device of the same name, which are told from ours
// by the gate that it does not have.

import { readFileSync } from 'node:fs';
import type { Settings } from '../../config/settings.ts';
import { type CleanupPlan, planCleanup } from '../../mode/ipvs/cleanup.ts';
import { connectionCounts } from '../../mode/ipvs/connections.ts';
import { Desired } from '../../mode/ipvs/desired.ts';
import { routed } from '../../mode/ipvs/direct-routing.ts';
import { formatChange } from '../../mode/ipvs/format.ts';
import { planFullSync } from '../../mode/ipvs/full-sync.ts';
import { GATE_TABLE, planGateFrontend } from '../../mode/ipvs/gate.ts';
import { ledgerOf } from '../../mode/ipvs/ledger.ts';
import { serverId } from '../../mode/ipvs/planned-server.ts';
import { vipTableRows } from '../../mode/ipvs/rows.ts';
import { type Cidr, cidrContains, type Ip } from '../../model/ip.ts';
import { formatVirtualServer } from '../../netlink/ipvs/format.ts';
import { isMarked, type TableEntry } from '../../netlink/ipvs/table.ts';
import type { VirtualServerKey } from '../../netlink/ipvs/virtual-server.ts';
import type { ConnectionCount } from '../../vip/connection-counts.ts';
import { frontendKey } from '../../vip/frontend.ts';
import type { VipTableRow } from '../../vip/table-row.ts';
import { ANSWERS_MS, type BackendUpdate } from '../backend.ts';
import { closeTables, planTableDiff, removeTables, tableText } from '../inspect-nftables.ts';
import type { CleanupOptions, CleanupReport, Inspector, LeaveOptions } from '../inspector.ts';
import { kernelFamilies } from '../interfaces.ts';
import { NftSession } from '../nft-session.ts';
import { DUMMY_DEVICE, DummyDevice } from './dummy-device.ts';
import { forgetFlows } from './forget-flows.ts';
import { IpvsSession } from './ipvs-session.ts';
import { NodeAddresses } from './node-addresses.ts';
import { pause, waitUntil } from './wait-until.ts';

export class IpvsInspector implements Inspector {
  readonly #gate = new NftSession(undefined, GATE_TABLE);

  async isPresent(): Promise<boolean> {
    return (await this.#gate.families()).length > 0;
  }

  async readVipTable(): Promise<VipTableRow[] | undefined> {
    const families = await this.#gate.families();
    if (families.length === 0) return undefined;
    const { observed } = await this.#gate.observe(families);
    return withIpvs(async (ipvs) => vipTableRows(observed, await ipvs.table()));
  }

  async readConnections(): Promise<ConnectionCount[] | undefined> {
    const families = await this.#gate.families();
    if (families.length === 0) return undefined;
    const { observed } = await this.#gate.observe(families);
    return withIpvs(async (ipvs) => connectionCounts(observed, await ipvs.table()));
  }

  async planDiff(
    { masqueradeBit, ipvs: rules }: Settings,
    { frontends, surroundings }: BackendUpdate,
  ): Promise<string[]> {
    const wanted = {
      frontends: new Map([...frontends].map(([service, list]) => [service, list.map(routed)] as const)),
      surroundings,
    };
    const hostAddresses = await listHostAddresses();
    const families = kernelFamilies();
    const desired = new Desired(rules.scheduler);
    desired.setHostAddresses(hostAddresses);
    if (wanted.surroundings !== undefined) desired.setNodePortCidrs(wanted.surroundings.nodePortCidrs);
    desired.update(
      new Map(
        [...wanted.frontends].map(([service, list]) => [
          service,
          list.filter(({ family }) => families.includes(family)),
        ]),
      ),
    );
    const { observed: gate } = await this.#gate.observe(families);
    const bound = await withDevice((device) => device.addresses());
    const boundAddresses = new Set(bound);
    const ownership = {
      boundAddresses,
      ours: ledgerOf(gate, hostAddresses),
      excludedCidrs: rules.excludedCidrs,
    };
    const table = await withIpvs((ipvs) => ipvs.table());
    const plans = [...planFullSync(desired, table, ownership)].map(({ plan }) => plan);
    const missing = [...desired.boundAddresses()].filter((address) => !boundAddresses.has(address));
    const unwanted = bound.filter((one) => !desired.isBound(one) && !isWithin(one, rules.excludedCidrs));
    const gateLines = planTableDiff(gate, wanted, {
      table: GATE_TABLE,
      masqueradeBit,
      planGate: (frontend, previous) =>
        planGateFrontend(frontend, previous, {
          inside: desired.insideTarget(frontendKey(frontend)),
          isBound: frontend.address !== undefined && desired.isBound(frontend.address),
          isRefused: false,
        }),
    });
    return [
      ...missing.map((address) => `+ address ${address} of ${DUMMY_DEVICE}`),
      ...plans.flatMap(({ first }) => first.map(formatChange)),
      ...gateLines,
      ...plans.flatMap(({ last }) => last.map(formatChange)),
      ...unwanted.map((address) => `- address ${address} of ${DUMMY_DEVICE}`),
    ];
  }

  /** Loads nothing into a kernel in which there is nothing to find. */
  async cleanUp(options: CleanupOptions): Promise<CleanupReport> {
    const { includesKubeProxy } = options;
    const families = await this.#gate.families();
    const hasDevice = hasDummyDevice();
    if (families.length === 0 && !hasDevice) return { removed: [], kept: [] };
    if (families.length === 0 && !includesKubeProxy) {
      const theirs = `device ${DUMMY_DEVICE} and its virtual servers: kube-proxy's`;
      return { removed: [], kept: [`${theirs}; --include-kube-proxy removes them`] };
    }
    const { servers, keptAddresses } = await this.#removeServers(families.length > 0, options);
    const removed = servers.map((server) => `virtual server ${formatVirtualServer(server)}`);
    if (hasDevice) removed.push(...(await removeAddresses(keptAddresses)));
    // Last: until then it tells what is ours.
    const tables = families.map((family) => ({ family, table: GATE_TABLE }));
    await removeTables(this.#gate, tables);
    const kept = keptAddresses.map((one) => `address ${one} of ${DUMMY_DEVICE}, and its virtual servers`);
    return { removed: [...removed, ...tables.map(tableText)], kept };
  }

  /**
   * The other mode translates before IPVS sees a packet. Virtual servers stay for the TCP connections that they have, which would be
   * cut with them; UDP goes the other way with its next packet.
   */
  async leave({ drainTimeoutMs, excludedCidrs, signal }: LeaveOptions): Promise<CleanupReport | undefined> {
    const families = await this.#gate.families();
    await closeTables(
      this.#gate,
      families.map((family) => ({ family, table: GATE_TABLE })),
    );
    // Where IPVS masquerades, an answer that is under way needs its flow.
    await pause(ANSWERS_MS, signal);
    const options = { includesKubeProxy: false, excludedCidrs };
    const { requests } = await withIpvs(async (ipvs) => this.#planRemoval(await ipvs.table(), true, options));
    await forgetFlows(requests.map(({ virtualServer }) => virtualServer));
    const hasEnded = await waitUntil(() => this.#isIdle(options), { timeoutMs: drainTimeoutMs, signal });
    return hasEnded ? this.cleanUp(options) : undefined;
  }

  close(): void {
    this.#gate.close();
  }

  /** No TCP connection goes through a virtual server of ours. */
  async #isIdle(options: CleanupOptions): Promise<boolean> {
    return withIpvs(async (ipvs) => {
      const table = await ipvs.table();
      const { requests } = await this.#planRemoval(table, true, options);
      const ours = new Set(requests.map(({ virtualServer }) => serverId(virtualServer)));
      return table.every(
        ({ server, realServers }) =>
          isMarked(server) || !ours.has(serverId(server)) || realServers.every(({ active }) => active === 0),
      );
    });
  }

  async #removeServers(
    hasGate: boolean,
    options: CleanupOptions,
  ): Promise<{ servers: VirtualServerKey[]; keptAddresses: readonly Ip[] }> {
    return withIpvs(async (ipvs) => {
      const { requests, keptAddresses } = await this.#planRemoval(await ipvs.table(), hasGate, options);
      const refused = (await ipvs.apply(requests)).find((error) => error !== undefined);
      if (refused !== undefined) throw refused;
      return { servers: requests.map(({ virtualServer }) => virtualServer), keptAddresses };
    });
  }

  async #planRemoval(
    table: readonly TableEntry[],
    hasGate: boolean,
    options: CleanupOptions,
  ): Promise<CleanupPlan> {
    const { observed } = await this.#gate.observe(hasGate ? kernelFamilies() : []);
    const boundAddresses = new Set(await withDevice((device) => device.addresses()));
    const ledger = hasGate ? ledgerOf(observed, await listHostAddresses()) : undefined;
    return planCleanup(table, { boundAddresses, ledger, ...options });
  }
}

/** The whole device, unless something on it is somebody else's; in words. */
async function removeAddresses(kept: readonly Ip[]): Promise<string[]> {
  return withDevice(async (device) => {
    if (kept.length === 0) {
      await device.delete();
      return [`device ${DUMMY_DEVICE}`];
    }
    await device.ensure();
    const remove = (await device.addresses()).filter((address) => !kept.includes(address));
    const [refusal] = await device.change({ add: [], remove });
    if (refusal !== undefined) throw refusal.error;
    return remove.map((address) => `address ${address} of ${DUMMY_DEVICE}`);
  });
}

function isWithin(address: Ip, cidrs: readonly Cidr[]): boolean {
  return cidrs.some((cidr) => cidrContains(cidr, address));
}

async function withIpvs<Result>(use: (ipvs: IpvsSession) => Promise<Result>): Promise<Result> {
  const ipvs = await IpvsSession.open();
  try {
    return await use(ipvs);
  } finally {
    ipvs.close();
  }
}

async function withDevice<Result>(use: (device: DummyDevice) => Promise<Result>): Promise<Result> {
  const device = new DummyDevice();
  try {
    return await use(device);
  } finally {
    device.close();
  }
}

/** Without asking for a driver, which the kernel would load. */
function hasDummyDevice(): boolean {
  const devices = readFileSync('/proc/net/dev', 'utf8').split('\n');
  return devices.some((line) => line.trim().startsWith(`${DUMMY_DEVICE}:`));
}

async function listHostAddresses(): Promise<readonly Ip[]> {
  const ignore = (): void => undefined;
  const addresses = await NodeAddresses.watch({ onChange: ignore, onError: ignore });
  try {
    return addresses.current;
  } finally {
    addresses.close();
  }
}
