// When the host is set up: before the rules, once more after the first of them, and for `--init-only` instead of them.

import type { ConntrackSettings, Settings } from '../../config/settings.ts';
import { nodePortPlaces } from '../../mode/iptables/node-ports.ts';
import { chooseMode } from '../choose-mode.ts';
import { ConntrackSession } from '../conntrack-session.ts';
import type { Log } from '../log.ts';
import { openBackend } from '../open-backend.ts';
import { applyConntrackSettings, applyOomScore, applySysctl, type Unset } from './apply-host-settings.ts';
import type { Sysctl } from './host-settings.ts';

/** What this process does to its host and itself before it writes rules. */
export class HostPreparation {
  readonly #log: Log;
  /** Of connection tracking, what cannot be set before rules have loaded its module. */
  #awaiting: ConntrackSettings | undefined;
  #untold: (() => void)[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** Says nothing yet: a daemon that cannot work at all has one thing to tell. */
  prepare({ oomScoreAdj, conntrack }: Settings): void {
    for (const { what, error } of applyOomScore(oomScoreAdj)) {
      this.#untold.push(() => this.#log.info({ what, err: error }, 'left to whoever starts this process'));
    }
    const unset = applyConntrackSettings(conntrack);
    this.#awaiting = unset.some(({ kind }) => kind === 'absent') ? conntrack : undefined;
    for (const one of unset) if (one.kind !== 'absent') this.#untold.push(() => tell(this.#log, one));
  }

  /** What could not be done. */
  tell(): void {
    for (const say of this.#untold.splice(0)) say();
  }

  /** Rules are in force: connection tracking is there now, if ever. */
  rulesInForce(): void {
    if (this.#awaiting === undefined) return;
    for (const one of applyConntrackSettings(this.#awaiting)) tell(this.#log, one);
    this.#awaiting = undefined;
  }
}

/** At `level` where it matters. */
function tell(log: Log, { kind, what, error }: Unset, level: 'warn' | 'error' = 'warn'): void {
  if (kind === 'foreign') log.info({ what }, 'left as it is: it belongs to the first network namespace');
  else if (kind === 'absent') log[level]({ what }, 'could not be set: the kernel does not have it here');
  else log[level]({ what, err: error }, 'could not be set, and is left as it is');
}

/**
 * `--init-only`: all that needs more than CAP_NET_ADMIN, and no rules; no API server is asked. Returns the exit code: 1 when
 * something could not be set that is not of another network namespace. Throws KproxyError when the mode cannot work here.
 */
export async function initNode(asked: Settings, log: Log): Promise<number> {
  const settings = await chooseMode(asked, log);
  (await openBackend(settings, log, () => undefined)).close();
  await loadConntrack();
  const unset = [
    ...applyConntrackSettings(settings.conntrack),
    ...modeSysctls(settings).flatMap(applySysctl),
  ];
  for (const one of unset) tell(log, one, 'error');
  const isDone = unset.every(({ kind }) => kind === 'foreign');
  if (isDone) log.info({ mode: settings.proxyMode }, 'this node is set up');
  return isDone ? 0 : 1;
}

/** A node without a rule that asks for connection tracking has none of its settings yet. Throws KernelError. */
async function loadConntrack(): Promise<void> {
  const session = new ConntrackSession();
  try {
    await session.isSupported();
  } finally {
    session.close();
  }
}

/** What a mode sets while it runs, and cannot where /proc/sys is not to be written. */
function modeSysctls({ proxyMode, iptables, nodePortAddresses }: Settings): Sysctl[] {
  const cidrs = nodePortAddresses.kind === 'cidrs' ? nodePortAddresses.cidrs : [];
  const { servesLoopback } = nodePortPlaces(4, cidrs, iptables.servesLocalhostNodePorts);
  return proxyMode === 'iptables' && servesLoopback
    ? [{ name: 'net/ipv4/conf/all/route_localnet', value: '1' }]
    : [];
}
