// What must be reached, by number of Services; for 5 endpoints per Service.

/** Milliseconds unless the name says otherwise. */
export const TARGETS = {
  cold: { 10000: 1000, 50000: 5000 },
  /** How many times faster than nft loads kube-proxy's layout. */
  coldRatio: { 10000: 10 },
  start: { 10000: 4000 },
  changeP50: { 10000: 2 },
  changeP99: { 10000: 10 },
  /** p50 at that size over p50 at a thousand. */
  changeGrowth: { 50000: 1.5 },
  restart: { 10000: 1500 },
  restartWrites: { 1000: 0, 10000: 0, 50000: 0 },
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
