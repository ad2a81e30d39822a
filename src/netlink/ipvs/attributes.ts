// The nested attributes that describe a virtual server (a "service" to the kernel) and a real server ("dest"):
// IPVS_SVC_ATTR_* and IPVS_DEST_ATTR_*, linux/ip_vs.h. Numbers are in host order but for ports and IPv4 masks.

import { familyIn } from '../address-family.ts';
import { attr, required, struct } from '../attribute.ts';
import { type Codec, count64, oneOf, string, u8, u16, u16be, u32, u32be } from '../codec.ts';
import * as ipvs from './uapi.ts';

/** union nf_inet_addr: 16 bytes, of which an IPv4 address takes the first four. */
const ADDRESS_BYTES = 16;

/** A packed address; bytes after those that were written are zeros. */
const address: Codec<string> = {
  encode: (writer, value) => writer.binary(value.padEnd(ADDRESS_BYTES, '\0')),
  decode: (reader) => reader.binary(ADDRESS_BYTES),
};

/** struct ip_vs_flags: the bits, and which of them the message is about. */
const serviceFlags: Codec<number> = {
  encode(writer, flags) {
    writer.u32(flags);
    writer.u32(0xffffffff);
  },
  decode(reader) {
    const flags = reader.u32();
    reader.u32();
    return flags;
  },
};

const stats = struct({
  connections: required(ipvs.IPVS_STATS_ATTR_CONNS, count64),
  packetsIn: required(ipvs.IPVS_STATS_ATTR_INPKTS, count64),
  packetsOut: required(ipvs.IPVS_STATS_ATTR_OUTPKTS, count64),
  bytesIn: required(ipvs.IPVS_STATS_ATTR_INBYTES, count64),
  bytesOut: required(ipvs.IPVS_STATS_ATTR_OUTBYTES, count64),
});

const serviceKeyFields = {
  family: required(ipvs.IPVS_SVC_ATTR_AF, familyIn(u16)),
  protocol: attr(ipvs.IPVS_SVC_ATTR_PROTOCOL, oneOf(u16, { TCP: 6, UDP: 17, SCTP: 132 })),
  address: attr(ipvs.IPVS_SVC_ATTR_ADDR, address),
  port: attr(ipvs.IPVS_SVC_ATTR_PORT, u16be),
  /** In place of protocol, address and port. */
  firewallMark: attr(ipvs.IPVS_SVC_ATTR_FWMARK, u32),
};

const serviceSettingFields = {
  scheduler: required(ipvs.IPVS_SVC_ATTR_SCHED_NAME, string),
  flags: required(ipvs.IPVS_SVC_ATTR_FLAGS, serviceFlags),
  timeout: required(ipvs.IPVS_SVC_ATTR_TIMEOUT, u32),
  /** persistence.ts knows what it means. */
  netmask: required(ipvs.IPVS_SVC_ATTR_NETMASK, u32be),
};

const destKeyFields = {
  family: required(ipvs.IPVS_DEST_ATTR_ADDR_FAMILY, familyIn(u16)),
  address: required(ipvs.IPVS_DEST_ATTR_ADDR, address),
  port: required(ipvs.IPVS_DEST_ATTR_PORT, u16be),
};

const destSettingFields = {
  forwarding: required(
    ipvs.IPVS_DEST_ATTR_FWD_METHOD,
    oneOf(u32, {
      masquerade: ipvs.IP_VS_CONN_F_MASQ,
      local: ipvs.IP_VS_CONN_F_LOCALNODE,
      tunnel: ipvs.IP_VS_CONN_F_TUNNEL,
      route: ipvs.IP_VS_CONN_F_DROUTE,
      bypass: ipvs.IP_VS_CONN_F_BYPASS,
    }),
  ),
  weight: required(ipvs.IPVS_DEST_ATTR_WEIGHT, u32),
  upperThreshold: attr(ipvs.IPVS_DEST_ATTR_U_THRESH, u32, 0),
  lowerThreshold: attr(ipvs.IPVS_DEST_ATTR_L_THRESH, u32, 0),
};

/** Enough to name a virtual server in a request. */
export const serviceKey = struct(serviceKeyFields);

/** What a request to add or edit one must say. */
export const serviceSettings = struct({ ...serviceKeyFields, ...serviceSettingFields });

/** What the kernel tells. */
export const listedService = struct({
  ...serviceKeyFields,
  ...serviceSettingFields,
  persistenceEngine: attr(ipvs.IPVS_SVC_ATTR_PE_NAME, string),
  stats: required(ipvs.IPVS_SVC_ATTR_STATS64, stats),
});

export const destKey = struct(destKeyFields);

/** The thresholds must be there, if only as zeros. */
export const destSettings = struct({ ...destKeyFields, ...destSettingFields });

export const listedDest = struct({
  ...destKeyFields,
  ...destSettingFields,
  active: required(ipvs.IPVS_DEST_ATTR_ACTIVE_CONNS, u32),
  inactive: required(ipvs.IPVS_DEST_ATTR_INACT_CONNS, u32),
  persistent: required(ipvs.IPVS_DEST_ATTR_PERSIST_CONNS, u32),
  tunnelType: attr(
    ipvs.IPVS_DEST_ATTR_TUN_TYPE,
    oneOf(u8, {
      ipip: ipvs.IP_VS_CONN_F_TUNNEL_TYPE_IPIP,
      gue: ipvs.IP_VS_CONN_F_TUNNEL_TYPE_GUE,
      gre: ipvs.IP_VS_CONN_F_TUNNEL_TYPE_GRE,
    }),
    'ipip',
  ),
  tunnelPort: attr(ipvs.IPVS_DEST_ATTR_TUN_PORT, u16be, 0),
  tunnelFlags: attr(ipvs.IPVS_DEST_ATTR_TUN_FLAGS, u16, 0),
  stats: required(ipvs.IPVS_DEST_ATTR_STATS64, stats),
});
