// A node is known by a name that is read once, as kubelet reads it: who renames the host is told that the daemon goes on for the
// Node that was.

import { nodeNameOf } from '../../config/node-name.ts';
import type { Problem } from '../../model/types.ts';

/** `nodeName` is the name of the Node that is served, `before` and `now` are the host's at the start and at present. */
export function renamedHost(nodeName: string, before: string, now: string): Problem[] {
  const isFromHost = nodeName === nodeNameOf(before);
  if (!isFromHost || nodeNameOf(now) === nodeName) return [];
  const reason = `is called ${nodeNameOf(now)} now; Node ${nodeName} is served until a restart, or give --hostname-override`;
  return [{ subject: 'this host', code: 'RENAMED_HOST', reason }];
}
