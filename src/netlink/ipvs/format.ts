// What errors call the objects of IPVS: `10.96.0.10:53/UDP`, `[fd00::a]:53/UDP`.

import type { IpvsRequest } from './request.ts';
import type { RealServerKey, VirtualServerKey } from './virtual-server.ts';

/** `add real server 10.1.0.7:8080 of virtual server 10.96.0.10:80/TCP` */
export function formatRequest(request: IpvsRequest): string {
  const virtualServer = formatVirtualServer(request.virtualServer);
  if (!('realServer' in request)) return `${request.kind} ${virtualServer}`;
  return `${request.kind} ${formatRealServer(request.realServer)} of virtual server ${virtualServer}`;
}

/** `10.96.0.10:53/UDP` */
export function formatVirtualServer({ family, address, port, protocol }: VirtualServerKey): string {
  return `${formatRealServer({ family, address, port })}/${protocol}`;
}

/** `10.1.0.7:8080` */
export function formatRealServer({ family, address, port }: RealServerKey): string {
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}
