// Planned requests as lines for humans: what `kproxy-ts diff` prints. `+` is written, `-` deleted, `~` changed.

import { formatRealServer, formatVirtualServer } from '../../netlink/ipvs/format.ts';
import type { IpvsRequest } from '../../netlink/ipvs/request.ts';
import type { VirtualServerSettings } from '../../netlink/ipvs/virtual-server.ts';

const SIGNS = { add: '+', edit: '~', delete: '-' } as const;

/** `+ virtual server 10.96.0.10:80/TCP rr`, `~ real server 10.1.0.7:8080 of 10.96.0.10:80/TCP weight 0` */
export function formatChange(request: IpvsRequest): string {
  const [action, ...subject] = request.kind.split(' ');
  const sign = SIGNS[action as keyof typeof SIGNS];
  const server = formatVirtualServer(request.virtualServer);
  switch (request.kind) {
    case 'add virtual server':
    case 'edit virtual server':
      return `${sign} virtual server ${server} ${formatSettings(request.virtualServer)}`;
    case 'delete virtual server':
      return `${sign} virtual server ${server}`;
    case 'delete real server':
      return `${sign} real server ${formatRealServer(request.realServer)} of ${server}`;
    default: {
      const { weight, forwarding } = request.realServer;
      const how = forwarding === 'masquerade' ? '' : ` by ${forwarding}`;
      return `${sign} ${subject.join(' ')} ${formatRealServer(request.realServer)} of ${server} weight ${weight}${how}`;
    }
  }
}

function formatSettings({ scheduler, flags, persistenceSeconds }: VirtualServerSettings): string {
  const words = [scheduler];
  if (flags !== 0) words.push(`flags 0x${flags.toString(16)}`);
  if (persistenceSeconds !== undefined) words.push(`persistent ${persistenceSeconds}s`);
  return words.join(' ');
}
