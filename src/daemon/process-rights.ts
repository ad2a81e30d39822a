// What /proc tells about the rights of a process (proc_pid_status(5), user_namespaces(7)).

import { readFileSync } from 'node:fs';

/** linux/capability.h */
const CAP_NET_ADMIN = 12n;

/**
 * Whether a process has CAP_NET_ADMIN in our user namespace, from its `status` and `uid_map`, and our own `uid_map`: within a
 * user namespace of its own everybody may have all capabilities, and its map is another. True when the text does not say.
 */
export function mayAdministerNetwork(status: string, uidMap: string, ownUidMap: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined) return true;
  return ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n && uidMap === ownUidMap;
}

/** Whether that process may change the rules of this network namespace; undefined when it cannot be looked at. */
export function readNetworkRights(pid: number): boolean | undefined {
  try {
    const [status, uidMap, ownUidMap] = [`${pid}/status`, `${pid}/uid_map`, 'self/uid_map'].map((file) =>
      readFileSync(`/proc/${file}`, 'utf8'),
    );
    return mayAdministerNetwork(status!, uidMap!, ownUidMap!);
  } catch {
    return undefined;
  }
}
