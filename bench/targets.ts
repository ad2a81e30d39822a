// What must be reached in each mode, by number of Services; for 5 endpoints per Service.

import type { ClusterSize, Mode } from './engine.ts';

type Limits = Readonly<Record<number, number>>;

export interface Targets {
  readonly coldSec: Limits;
  /** How many times faster than the tool: nft with kube-proxy's layout, iptables-nft-restore or ipvsadm with the same rules. */
  readonly coldRatio: Limits;
  readonly startSec: Limits;
  /** One endpoint changed. */
  readonly changeP50Ms: Limits;
  readonly changeP99Ms: Limits;
  /** p50 at that size over p50 at a thousand. */
  readonly changeGrowth: Limits;
  /** Set-up of a connection, at that size over the same at a hundred. */
  readonly connectGrowth: Limits;
  readonly connectP99Growth: Limits;
  /** With not one write, at any size. */
  readonly restartSec: Limits;
  /** The longest turn of the event loop in a warm restart. */
  readonly restartTurnMs: Limits;
  readonly rssMb: Limits;
}

const TARGETS: Readonly<Record<Mode, Partial<Targets>>> = {
  nftables: {
    coldSec: { 10000: 1, 50000: 5 },
    coldRatio: { 10000: 10 },
    startSec: { 10000: 4 },
    changeP50Ms: { 10000: 2 },
    changeP99Ms: { 10000: 10 },
    changeGrowth: { 50000: 1.5 },
    connectGrowth: { 30000: 1.1 },
    restartSec: { 10000: 1.5 },
    rssMb: { 10000: 160, 50000: 350 },
  },
  iptables: {
    coldSec: { 5000: 3, 10000: 8 },
    coldRatio: { 10000: 8 },
    changeP50Ms: { 10000: 30 },
    changeP99Ms: { 10000: 100 },
    connectGrowth: { 10000: 1.3 },
    connectP99Growth: { 10000: 1.3 },
    restartTurnMs: { 10000: 50 },
    rssMb: { 10000: 220 },
  },
  'iptables-flat': {},
  ipvs: {
    coldRatio: { 5000: 3 },
  },
};

export const TARGET_ENDPOINTS = 5;

export function targetOf(
  mode: Mode,
  name: keyof Targets,
  { services, endpoints }: ClusterSize,
): number | undefined {
  return endpoints === TARGET_ENDPOINTS ? TARGETS[mode][name]?.[services] : undefined;
}
