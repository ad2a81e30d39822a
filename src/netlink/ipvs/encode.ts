// Requests to IPVS as messages. Adding and editing says everything about its object; what a request leaves out the kernel
// takes for zero or refuses. The sync daemon of IPVS is never asked for anything.

import { packIp } from '../../model/ip.ts';
import { required, struct } from '../attribute.ts';
import { u32 } from '../codec.ts';
import { beginGenetlink } from '../genetlink/message.ts';
import { endMessage, MESSAGE_FLAG } from '../message.ts';
import { Writer } from '../writer.ts';
import { destKey, destSettings, serviceKey, serviceSettings } from './attributes.ts';
import { toWireSettings } from './persistence.ts';
import type { IpvsRequest } from './request.ts';
import type { IpvsTimeouts } from './table.ts';
import * as ipvs from './uapi.ts';
import type {
  MarkedServerKey,
  RealServer,
  RealServerKey,
  VirtualServer,
  VirtualServerKey,
} from './virtual-server.ts';

const COMMANDS: Readonly<Record<IpvsRequest['kind'], number>> = {
  'add virtual server': ipvs.IPVS_CMD_NEW_SERVICE,
  'edit virtual server': ipvs.IPVS_CMD_SET_SERVICE,
  'delete virtual server': ipvs.IPVS_CMD_DEL_SERVICE,
  'add real server': ipvs.IPVS_CMD_NEW_DEST,
  'edit real server': ipvs.IPVS_CMD_SET_DEST,
  'delete real server': ipvs.IPVS_CMD_DEL_DEST,
};

const settingsMessage = struct({ service: required(ipvs.IPVS_CMD_ATTR_SERVICE, serviceSettings) });
const keyMessage = struct({ service: required(ipvs.IPVS_CMD_ATTR_SERVICE, serviceKey) });
const destSettingsMessage = struct({
  service: required(ipvs.IPVS_CMD_ATTR_SERVICE, serviceKey),
  dest: required(ipvs.IPVS_CMD_ATTR_DEST, destSettings),
});
const destKeyMessage = struct({
  service: required(ipvs.IPVS_CMD_ATTR_SERVICE, serviceKey),
  dest: required(ipvs.IPVS_CMD_ATTR_DEST, destKey),
});
const timeoutsMessage = struct({
  tcp: required(ipvs.IPVS_CMD_ATTR_TIMEOUT_TCP, u32),
  tcpFin: required(ipvs.IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, u32),
  udp: required(ipvs.IPVS_CMD_ATTR_TIMEOUT_UDP, u32),
});

/**
 * Writes one change. Its success is silent unless `isAcked`: a row of changes needs only its last acknowledged, as the
 * kernel works through them in order and reports every refusal.
 */
export function encodeChange(
  writer: Writer,
  familyId: number,
  request: IpvsRequest,
  seq: number,
  isAcked: boolean,
): void {
  const start = begin(writer, familyId, COMMANDS[request.kind], isAcked ? MESSAGE_FLAG.ack : 0, seq);
  switch (request.kind) {
    case 'add virtual server':
    case 'edit virtual server':
      settingsMessage.encode(writer, { service: wireService(request.virtualServer) });
      break;
    case 'delete virtual server':
      keyMessage.encode(writer, { service: wireServiceKey(request.virtualServer) });
      break;
    case 'add real server':
    case 'edit real server':
      destSettingsMessage.encode(writer, {
        service: wireServiceKey(request.virtualServer),
        dest: wireDest(request.realServer),
      });
      break;
    case 'delete real server':
      destKeyMessage.encode(writer, {
        service: wireServiceKey(request.virtualServer),
        dest: wireDestKey(request.realServer),
      });
      break;
  }
  endMessage(writer, start);
}

/** Lists every virtual server. */
export function encodeServiceDump(familyId: number, seq: number): Buffer {
  return question(familyId, ipvs.IPVS_CMD_GET_SERVICE, MESSAGE_FLAG.dump, seq);
}

/** Lists the real servers of one virtual server; of one that is not there, none. */
export function encodeDestDump(
  familyId: number,
  key: VirtualServerKey | MarkedServerKey,
  seq: number,
): Buffer {
  const writer = new Writer(128);
  const start = begin(writer, familyId, ipvs.IPVS_CMD_GET_DEST, MESSAGE_FLAG.dump, seq);
  keyMessage.encode(writer, { service: wireServiceKey(key) });
  endMessage(writer, start);
  return writer.bytes();
}

export function encodeTimeoutsQuery(familyId: number, seq: number): Buffer {
  return question(familyId, ipvs.IPVS_CMD_GET_CONFIG, MESSAGE_FLAG.ack, seq);
}

export function encodeInfoQuery(familyId: number, seq: number): Buffer {
  return question(familyId, ipvs.IPVS_CMD_GET_INFO, MESSAGE_FLAG.ack, seq);
}

/** Sets the timeouts that are not 0. */
export function encodeTimeouts(familyId: number, timeouts: IpvsTimeouts, seq: number): Buffer {
  const writer = new Writer(64);
  const start = begin(writer, familyId, ipvs.IPVS_CMD_SET_CONFIG, MESSAGE_FLAG.ack, seq);
  timeoutsMessage.encode(writer, timeouts);
  endMessage(writer, start);
  return writer.bytes();
}

function question(familyId: number, command: number, flags: number, seq: number): Buffer {
  const writer = new Writer(32);
  endMessage(writer, begin(writer, familyId, command, flags, seq));
  return writer.bytes();
}

function begin(writer: Writer, familyId: number, command: number, flags: number, seq: number): number {
  return beginGenetlink(writer, { familyId, command, version: ipvs.IPVS_GENL_VERSION }, flags, seq);
}

function wireServiceKey(key: VirtualServerKey | MarkedServerKey) {
  if ('firewallMark' in key) return { family: key.family, firewallMark: key.firewallMark };
  const { family, protocol, address, port } = key;
  return { family, protocol, address: packIp(address), port };
}

function wireService(server: VirtualServer) {
  return { ...wireServiceKey(server), ...toWireSettings(server, server.family) };
}

function wireDestKey({ family, address, port }: RealServerKey) {
  return { family, address: packIp(address), port };
}

function wireDest(server: RealServer) {
  const { forwarding, weight } = server;
  return { ...wireDestKey(server), forwarding, weight, upperThreshold: 0, lowerThreshold: 0 };
}
