// The IPVS codec against what ipvsadm sent and the kernel answered; cut, changed and random bytes are decoded or are a
// DecodeError, nothing else.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecodeError } from '../../../src/errors.ts';
import { packIp } from '../../../src/model/ip.ts';
import { AF } from '../../../src/netlink/address-family.ts';
import { decodeFamily, encodeFamilyQuery } from '../../../src/netlink/genetlink/family.ts';
import {
  decodeInfo,
  decodeRealServer,
  decodeTimeouts,
  decodeVirtualServer,
} from '../../../src/netlink/ipvs/decode.ts';
import {
  encodeChange,
  encodeDestDump,
  encodeInfoQuery,
  encodeServiceDump,
  encodeTimeouts,
  encodeTimeoutsQuery,
} from '../../../src/netlink/ipvs/encode.ts';
import { formatRequest } from '../../../src/netlink/ipvs/format.ts';
import type { IpvsRequest } from '../../../src/netlink/ipvs/request.ts';
import { type IpvsTimeouts, isMarked } from '../../../src/netlink/ipvs/table.ts';
import { type NetlinkMessage, splitMessages } from '../../../src/netlink/message.ts';
import { Writer } from '../../../src/netlink/writer.ts';
import { differenceOf } from '../support/compare.ts';
import { cutMessages, parseHex } from '../support/hex.ts';
import { attribute, message as naiveMessage, text, u16, u32 } from '../support/naive.ts';
import { REQUESTS } from './commands.ts';
import { TABLE } from './expected.ts';

/** The number that the kernel of the fixtures gave IPVS. */
const FAMILY_ID = 0x20;
const NLMSGHDR = 16;
const HEADERS = NLMSGHDR + 4;

const readText = (name: string): string =>
  readFileSync(new URL(`fixtures/${name}.hex`, import.meta.url), 'utf8');
const fixture = (name: string): Buffer => parseHex(readText(name));
/** The bytes below each heading. */
const sections = (name: string): Buffer[] =>
  readText(name)
    .split('# messages')
    .slice(1)
    .map((part) => parseHex(part.replace(/^.*/, '')));

/** Every attribute with content, by the numbers on the way to it: `1.3` is the address of a service. */
function flatten(bytes: Buffer, prefix = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (let offset = 0; offset < bytes.length; ) {
    const length = bytes.readUInt16LE(offset);
    const type = bytes.readUInt16LE(offset + 2);
    const payload = bytes.subarray(offset + 4, offset + length);
    const path = `${prefix}${type & 0x3fff}`;
    if ((type & 0x8000) === 0) found.set(path, payload.toString('hex'));
    else for (const [inner, value] of flatten(payload, `${path}.`)) found.set(inner, value);
    offset += (length + 3) & ~3;
  }
  return found;
}

function encode(means: IpvsRequest | IpvsTimeouts, seq = 1, isAcked = true): Buffer {
  if (!('kind' in means)) return encodeTimeouts(FAMILY_ID, means, seq);
  const writer = new Writer();
  encodeChange(writer, FAMILY_ID, means, seq, isAcked);
  return writer.bytes();
}

function attempt(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

describe('requests', () => {
  const captured = cutMessages(fixture('requests'));
  const cases = REQUESTS.map(({ words, means }, i) => ({ words, means, wanted: captured[i]! }));

  it('has one capture for each command', () => expect(captured).toHaveLength(REQUESTS.length));

  it.each(cases.filter(({ words }) => /^-[AE]|^--set/.test(words)))(
    'ipvsadm $words: the same bytes',
    ({ means, wanted }) => {
      expect(differenceOf(encode(means).subarray(NLMSGHDR), wanted.subarray(NLMSGHDR))).toBeUndefined();
    },
  );

  // ipvsadm repeats the virtual server's settings where its key is enough, and spells out plain tunnels.
  it.each(cases.filter(({ words }) => /^-[aedD]/.test(words)))(
    'ipvsadm $words: nothing that it does not say',
    ({ means, wanted }) => {
      const ours = encode(means);
      expect(ours.subarray(NLMSGHDR, HEADERS)).toEqual(wanted.subarray(NLMSGHDR, HEADERS));
      const theirs = flatten(wanted.subarray(HEADERS));
      const said = flatten(ours.subarray(HEADERS));
      for (const [path, value] of said) expect([path, theirs.get(path)]).toEqual([path, value]);
      for (const [path, value] of theirs) {
        const isSetting = /^1\.([6-9]|1\d)$/.test(path);
        const isUnsetOption = /^2\.([56]|1[345])$/.test(path) && /^0+$/.test(value);
        const isAboutDeleted =
          'kind' in means && means.kind === 'delete real server' && /^2\.[34]$/.test(path);
        if (!isSetting && !isUnsetOption && !isAboutDeleted)
          expect([path, said.get(path)]).toEqual([path, value]);
      }
    },
  );

  it('is acknowledged when asked to', () => {
    const { means } = REQUESTS[0]!;
    const flags = (bytes: Buffer) => bytes.readUInt16LE(6);
    expect(flags(encode(means, 1, true))).toBe(0x5);
    expect(flags(encode(means, 1, false))).toBe(0x1);
  });

  it.each([
    ['add virtual server 10.96.0.10:53/TCP', 0],
    ['add virtual server [fd00:10:96::a]:443/TCP', 3],
    ['add real server [fd00:10:1::9]:53 of virtual server 10.96.0.10:53/TCP', 10],
    ['delete virtual server 10.96.0.10:53/UDP', 14],
  ])('is called "%s"', (name, index) => {
    expect(formatRequest(REQUESTS[index]!.means as IpvsRequest)).toBe(name);
  });

  it('asks for the whole table, one part of it, the timeouts, the version', () => {
    const header = (flags: number, command: number) => [FAMILY_ID, flags, 7, command, 1];
    const headerOf = (bytes: Buffer) => [
      bytes.readUInt16LE(4),
      bytes.readUInt16LE(6),
      bytes.readUInt32LE(8),
      bytes[16],
      bytes[17],
    ];
    expect(headerOf(encodeServiceDump(FAMILY_ID, 7))).toEqual(header(0x301, 4));
    expect(headerOf(encodeTimeoutsQuery(FAMILY_ID, 7))).toEqual(header(0x5, 13));
    expect(headerOf(encodeInfoQuery(FAMILY_ID, 7))).toEqual(header(0x5, 15));
    const dests = encodeDestDump(FAMILY_ID, TABLE[1]!.server, 7);
    expect(headerOf(dests)).toEqual(header(0x301, 8));
    expect(Object.fromEntries(flatten(dests.subarray(HEADERS)))).toEqual({
      '1.1': '0200',
      '1.2': '0600',
      '1.3': '0a60000a000000000000000000000000',
      '1.4': '0035',
    });
    const marked = encodeDestDump(FAMILY_ID, TABLE[5]!.server, 7);
    expect(Object.fromEntries(flatten(marked.subarray(HEADERS)))).toEqual({
      '1.1': '0200',
      '1.5': '07000000',
    });
  });
});

describe('the listed table', () => {
  const servers = cutMessages(fixture('virtual-servers'));
  const realServers = sections('real-servers');
  /** The messages about a virtual server of TABLE and about its real servers. */
  const captureOf = (index: number) => {
    const { server } = TABLE[index]!;
    const key = isMarked(server)
      ? Buffer.concat([attribute(1, u16(AF[server.family])), attribute(5, u32(server.firewallMark))])
      : Buffer.concat([
          attribute(3, Buffer.from(packIp(server.address).padEnd(16, '\0'), 'latin1')),
          portOf(server.port),
        ]);
    const at = servers.findIndex((bytes) => bytes.includes(key));
    return { server: Buffer.from(servers[at]!), realServers: cutMessages(realServers[at]!) };
  };
  const portOf = (port: number) => attribute(4, Buffer.from([port >>> 8, port & 255]));
  const decodedServer = (bytes: Buffer) => decodeVirtualServer(splitMessages(bytes)[0]!);
  const decodedRealServer = (bytes: Buffer) => decodeRealServer(splitMessages(bytes)[0]!);

  it('decodes to what was configured', () => {
    expect(servers).toHaveLength(TABLE.length);
    const decoded = TABLE.map((_, index) => {
      const capture = captureOf(index);
      return {
        server: decodedServer(capture.server),
        realServers: capture.realServers.map(decodedRealServer),
      };
    });
    expect(decoded).toEqual(TABLE);
    expect(TABLE.map(({ server }) => isMarked(server))).toEqual([
      false,
      false,
      false,
      false,
      false,
      true,
      true,
    ]);
  });

  it('decodes again to itself what was encoded from it', () => {
    for (const { server } of TABLE) {
      if (isMarked(server) || server.persistenceEngine !== undefined) continue;
      const request = encode({ kind: 'add virtual server', virtualServer: server });
      const bytes = withStats(request, 12);
      expect(decodedServer(bytes)).toEqual(server);
    }
  });

  it('counts in 64 bits', () => {
    const bytes = captureOf(1).server;
    const count = Buffer.alloc(8);
    count.writeBigUInt64LE(2n ** 40n + 1n);
    // IPVS_STATS_ATTR_CONNS
    patch(bytes, attribute(1, Buffer.alloc(8)), attribute(1, count));
    expect(decodedServer(bytes)?.stats).toEqual({ ...TABLE[1]!.server.stats, connections: 2 ** 40 + 1 });
  });

  it('leaves out a virtual server of a protocol, and a real server of a forwarding method, without a name here', () => {
    const { server, realServers } = captureOf(1);
    patch(server, attribute(2, u16(6)), attribute(2, u16(50)));
    expect(decodedServer(server)).toBeUndefined();
    const odd = Buffer.from(realServers[5]!);
    patch(odd, attribute(3, u32(0)), attribute(3, u32(7)));
    expect(decodedRealServer(odd)).toBeUndefined();
  });

  it('refuses a virtual server with neither address nor mark, and a message of another command', () => {
    const noMark = captureOf(5).server;
    patch(noMark, attribute(5, u32(7)), attribute(20, u32(7)));
    expect(() => decodedServer(noMark)).toThrow(DecodeError);
    const { server, realServers } = captureOf(1);
    expect(() => decodedServer(realServers[0]!)).toThrow(DecodeError);
    expect(() => decodedRealServer(server)).toThrow(DecodeError);
  });

  /** A request as a message of a dump: with the counters in its nest, IPVS_SVC_ATTR_STATS64. */
  function withStats(request: Buffer, type: number): Buffer {
    const nest = request.subarray(HEADERS + 4);
    const stats = attribute(
      type,
      [1, 2, 3, 4, 5].map((number) => attribute(number, Buffer.alloc(8))),
    );
    return naiveMessage(
      FAMILY_ID,
      0,
      1,
      Buffer.from([1, 1, 0, 0]),
      attribute(1, [Buffer.concat([nest, stats])]),
    );
  }

  function patch(bytes: Buffer, from: Buffer, to: Buffer): void {
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    to.copy(bytes, at);
  }
});

describe('the family, the version, the timeouts', () => {
  it('asks for a family by name', () => {
    expect(encodeFamilyQuery('IPVS', 9)).toEqual(
      naiveMessage(0x10, 0x5, 9, Buffer.from([3, 2, 0, 0]), attribute(2, text('IPVS'))),
    );
  });

  it('decodes the family', () => {
    const family = decodeFamily(splitMessages(fixture('family'))[0]!);
    expect(family).toMatchObject({
      id: FAMILY_ID,
      name: 'IPVS',
      version: 1,
      headerBytes: 0,
      multicastGroups: [],
    });
    // Those to get what is there need no privilege that is said here; all of them take CAP_NET_ADMIN (GENL_ADMIN_PERM).
    expect(family.operations.map(({ command }) => command)).toEqual(
      Array.from({ length: 17 }, (_, i) => i + 1).filter((command) => command !== 14),
    );
    expect(family.operations.every(({ flags }) => (flags & 1) !== 0)).toBe(true);
  });

  it('decodes multicast groups', () => {
    const group = (index: number, id: number, name: string) =>
      attribute(index, [attribute(2, u32(id)), attribute(1, text(name))]);
    const bytes = naiveMessage(
      0x10,
      0,
      1,
      Buffer.from([1, 2, 0, 0]),
      attribute(2, text('nlctrl')),
      attribute(1, u16(16)),
      attribute(3, u32(2)),
      attribute(4, u32(0)),
      attribute(7, [group(1, 16, 'notify'), group(2, 17, 'other')]),
    );
    expect(decodeFamily(splitMessages(bytes)[0]!)).toEqual({
      id: 16,
      name: 'nlctrl',
      version: 2,
      headerBytes: 0,
      operations: [],
      multicastGroups: [
        { name: 'notify', id: 16 },
        { name: 'other', id: 17 },
      ],
    });
  });

  it('decodes the version and the timeouts', () => {
    expect(decodeInfo(splitMessages(fixture('info'))[0]!)).toEqual({
      version: '1.2.1',
      connectionTableSize: 4096,
    });
    expect(decodeTimeouts(splitMessages(fixture('timeouts'))[0]!)).toEqual({
      tcp: 900,
      tcpFin: 120,
      udp: 300,
    });
  });
});

describe('bytes that are not what they should be', () => {
  const decoders: readonly (readonly [string, Buffer, (message: NetlinkMessage) => unknown])[] = [
    ['virtual-servers', fixture('virtual-servers'), decodeVirtualServer],
    ['real-servers', fixture('real-servers'), decodeRealServer],
    ['family', fixture('family'), decodeFamily],
    ['info', fixture('info'), decodeInfo],
    ['timeouts', fixture('timeouts'), decodeTimeouts],
  ];

  it.each(decoders)('%s, cut anywhere', (_, bytes, decode) => {
    for (const message of splitMessages(bytes)) {
      for (let length = 0; length < message.payload.length; length++) {
        const cut = { ...message, payload: message.payload.subarray(0, length) };
        attempt(() => decode(cut));
        attempt(() => splitMessages(bytes.subarray(0, length)).map(decode));
      }
    }
  });

  it.each(decoders)('%s, changed anywhere', (_, bytes, decode) => {
    const payloads = splitMessages(bytes);
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 }), (which, where, value) => {
        const message = payloads[which % payloads.length]!;
        const payload = Buffer.from(message.payload);
        payload[where % payload.length] = value;
        attempt(() => decode({ ...message, payload }));
      }),
      { numRuns: 2000 },
    );
  });

  it.each(decoders)('%s, random', (_, __, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (payload) => {
        attempt(() => decode({ type: FAMILY_ID, flags: 0, seq: 1, portId: 0, payload }));
      }),
      { numRuns: 1000 },
    );
  });

  it.each(['info', 'family'])('%s: what is missing is told', (name) => {
    const [, bytes, decode] = decoders.find(([which]) => which === name)!;
    const message = splitMessages(bytes)[0]!;
    expect(() => decode({ ...message, payload: message.payload.subarray(0, 4) })).toThrow(/is missing/);
  });
});
