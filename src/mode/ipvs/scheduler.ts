// Which of the kernel's schedulers a virtual server gets, and with which flags.

import type { SchedulerFlag } from '../../model/service-policy.ts';
import type { VirtualServerSettings } from '../../netlink/ipvs/virtual-server.ts';
import type { Backend, Frontend } from '../../vip/frontend.ts';

/** linux/ip_vs.h, IP_VS_SVC_F_SCHED1 and 2: what they mean is each scheduler's own affair. */
const FALLBACK = 0x8;
const PORT = 0x10;

const FLAGS: Readonly<Record<SchedulerFlag, { readonly scheduler: string; readonly bit: number }>> = {
  'sh-port': { scheduler: 'sh', bit: PORT },
  'sh-fallback': { scheduler: 'sh', bit: FALLBACK },
  'mh-port': { scheduler: 'mh', bit: PORT },
  'mh-fallback': { scheduler: 'mh', bit: FALLBACK },
};

/** These take no notice of weights; those do, and are the same where all weigh the same. */
const WEIGHTED: Readonly<Record<string, string>> = { rr: 'wrr', lc: 'wlc' };

/**
 * `random` is nothing that the kernel has: it stands for what nobody has chosen, and so for `defaultScheduler`
 * (`--ipvs-scheduler`). kube-proxy gives its `mh` the port to hash, and so does this one.
 */
export function schedulingOf(
  {
    scheduler: asked,
    schedulerFlags = [],
    backends,
  }: Pick<Frontend, 'scheduler' | 'schedulerFlags' | 'backends'>,
  defaultScheduler: string,
): Pick<VirtualServerSettings, 'scheduler' | 'flags'> {
  const isDefault = asked === 'random';
  const name = isDefault ? defaultScheduler : asked;
  // A real server that drains keeps its place in the tables of these, and would refuse whoever comes to it.
  let flags = name === 'sh' || name === 'mh' ? FALLBACK : 0;
  if (isDefault && name === 'mh') flags |= PORT;
  for (const flag of schedulerFlags) {
    const { scheduler, bit } = FLAGS[flag];
    if (scheduler === name) flags |= bit;
  }
  return { scheduler: isWeighted(backends) ? (WEIGHTED[name] ?? name) : name, flags };
}

function isWeighted(backends: readonly Backend[]): boolean {
  return backends.some(({ weight }) => weight !== backends[0]!.weight);
}
