// A row of changes, most of which are about real servers of a few virtual servers one after the other: their messages differ in a
// handful of bytes, so all but these are copied from one that `encodeChange` made. (Measured: at 5,000 × 5 encoding took longer
// than the kernel did.)

import { type Ip, packIp } from '../../model/ip.ts';
import { Writer } from '../writer.ts';
import { encodeChange } from './encode.ts';
import type { IpvsRequest } from './request.ts';
import type { RealServer, VirtualServerKey } from './virtual-server.ts';

type RealServerRequest = Extract<IpvsRequest, { readonly kind: `${string} real server` }>;

/** A message, and where in it what differs is. */
interface Template {
  readonly bytes: Buffer;
  readonly address: number;
  readonly port: number;
  readonly serverAddress: number;
  readonly serverPort: number;
  /** Missing in a deletion. */
  readonly weight: number | undefined;
}

/** Offsets in struct nlmsghdr, linux/netlink.h. */
const NLMSG_FLAGS = 6;
const NLMSG_SEQ = 8;
/** NLM_F_REQUEST, and that with NLM_F_ACK. */
const REQUEST = 1;
const REQUEST_AND_ACK = 5;

/** Values that nothing else in a message looks like. */
const MARKS = {
  virtual: { 4: '241.242.243.244', 6: 'f1f2:f3f4:f5f6:f7f8:f9fa:fbfc:fdfe:ff01' },
  real: { 4: '225.226.227.228', 6: 'e1e2:e3e4:e5e6:e7e8:e9ea:ebec:edee:ef02' },
  virtualPort: 0xd1d2,
  realPort: 0xc1c2,
  weight: 0x71727374,
} as const;

export class ChangeEncoder {
  readonly #familyId: number;
  readonly #templates = new Map<string, Template>();
  /** Of the virtual server that the last request was about: its address and port are in it. */
  #current:
    | { readonly key: VirtualServerKey; readonly kind: string; readonly template: Template }
    | undefined;

  /** `familyId` is the number that the kernel gave IPVS. */
  constructor(familyId: number) {
    this.#familyId = familyId;
  }

  /** As `encodeChange`. */
  encode(writer: Writer, request: IpvsRequest, seq: number, isAcked: boolean): void {
    if (!('realServer' in request) || 'firewallMark' in request.virtualServer) {
      encodeChange(writer, this.#familyId, request, seq, isAcked);
      return;
    }
    const { bytes, address, port, weight } = this.#templateFor(request);
    const { realServer } = request;
    const start = writer.length;
    writer.bytesOf(bytes);
    writer.patchU16(start + NLMSG_FLAGS, isAcked ? REQUEST_AND_ACK : REQUEST);
    writer.patchU32(start + NLMSG_SEQ, seq);
    writer.patchBinary(start + address, packIp(realServer.address));
    writer.patchU8(start + port, realServer.port >>> 8);
    writer.patchU8(start + port + 1, realServer.port);
    if (weight !== undefined) writer.patchU32(start + weight, (realServer as RealServer).weight);
  }

  #templateFor(request: RealServerRequest): Template {
    const { virtualServer, realServer } = request;
    const forwarding = 'forwarding' in realServer ? realServer.forwarding : '';
    const kind = `${request.kind} ${virtualServer.family} ${virtualServer.protocol} ${realServer.family} ${forwarding}`;
    if (this.#current?.key === virtualServer && this.#current.kind === kind) return this.#current.template;
    let general = this.#templates.get(kind);
    if (general === undefined) {
      general = this.#make(request);
      this.#templates.set(kind, general);
    }
    const bytes = Buffer.from(general.bytes);
    bytes.write(packIp(virtualServer.address), general.serverAddress, 'latin1');
    bytes.writeUInt16BE(virtualServer.port, general.serverPort);
    const template = { ...general, bytes };
    this.#current = { key: virtualServer, kind, template };
    return template;
  }

  #make(request: RealServerRequest): Template {
    const { virtualServer, realServer } = request;
    const virtual = MARKS.virtual[virtualServer.family] as Ip;
    const real = MARKS.real[realServer.family] as Ip;
    const marked = {
      ...request,
      virtualServer: { ...virtualServer, address: virtual, port: MARKS.virtualPort },
      realServer: { ...realServer, address: real, port: MARKS.realPort, weight: MARKS.weight },
    } as RealServerRequest;
    const writer = new Writer(256);
    encodeChange(writer, this.#familyId, marked, 0, false);
    const bytes = Buffer.from(writer.bytes());
    const find = (value: Uint8Array | string): number => bytes.indexOf(value, 0, 'latin1');
    const weight = find(new Uint8Array(new Uint32Array([MARKS.weight]).buffer));
    return {
      bytes,
      address: find(packIp(real)),
      port: find(String.fromCharCode(MARKS.realPort >>> 8, MARKS.realPort & 0xff)),
      serverAddress: find(packIp(virtual)),
      serverPort: find(String.fromCharCode(MARKS.virtualPort >>> 8, MARKS.virtualPort & 0xff)),
      weight: weight < 0 ? undefined : weight,
    };
  }
}
