// What can be asked of IPVS in writing. Bytes: encode.ts.

import type { RealServer, RealServerKey, VirtualServer, VirtualServerKey } from './virtual-server.ts';

/**
 * One change of the kernel's table. What the kernel refuses it with:
 *
 * | change | refused with |
 * |---|---|
 * | add a virtual server | EEXIST; ENOENT for a scheduler it neither has nor can load; EAFNOSUPPORT, EINVAL |
 * | edit, delete a virtual server | ESRCH if it is not there |
 * | anything about a real server | ESRCH without its virtual server |
 * | add a real server | EEXIST; EINVAL for another family without a tunnel |
 * | edit, delete a real server | ENOENT if it is not there |
 *
 * A deleted virtual server takes its real servers with it.
 */
export type IpvsRequest =
  | {
      readonly kind: 'add virtual server' | 'edit virtual server';
      readonly virtualServer: VirtualServer;
    }
  | {
      readonly kind: 'delete virtual server';
      readonly virtualServer: VirtualServerKey;
    }
  | {
      readonly kind: 'add real server' | 'edit real server';
      readonly virtualServer: VirtualServerKey;
      readonly realServer: RealServer;
    }
  | {
      readonly kind: 'delete real server';
      readonly virtualServer: VirtualServerKey;
      readonly realServer: RealServerKey;
    };
