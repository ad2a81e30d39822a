// What /proc tells about the rights of a process (proc_pid_status(5), user_namespaces(7)). Pure.

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
