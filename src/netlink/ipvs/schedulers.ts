// The schedulers of the kernel's source (net/netfilter/ipvs/ip_vs_*.c), each a module of its own.

export const SCHEDULERS = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'dh',
  'sh',
  'mh',
  'sed',
  'nq',
  'fo',
  'ovf',
  'twos',
] as const;

export type Scheduler = (typeof SCHEDULERS)[number];

export function isScheduler(name: string): name is Scheduler {
  return (SCHEDULERS as readonly string[]).includes(name);
}
