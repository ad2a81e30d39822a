// What must be reached, by number of Services; for 5 endpoints per Service.

export const TARGETS = {
  coldSec: { 10000: 1, 50000: 5 },
  /** How many times faster than nft loads kube-proxy's layout. */
  coldRatio: { 10000: 10 },
  startSec: { 10000: 4 },
  /** One endpoint changed. */
  changeP50Ms: { 10000: 2 },
  changeP99Ms: { 10000: 10 },
  /** p50 at that size over p50 at a thousand. */
  changeGrowth: { 50000: 1.5 },
  /** Set-up of a connection, p50 at that size over p50 at a hundred. */
  connectGrowth: { 30000: 1.1 },
  /** With not one write, at any size. */
  restartSec: { 10000: 1.5 },
  rssMb: { 10000: 160, 50000: 350 },
} satisfies Record<string, Readonly<Record<number, number>>>;

export const TARGET_ENDPOINTS = 5;

export function targetOf(
  name: keyof typeof TARGETS,
  services: number,
  endpoints: number,
): number | undefined {
  const limits: Readonly<Record<number, number>> = TARGETS[name];
  return endpoints === TARGET_ENDPOINTS ? limits[services] : undefined;
}
