// The IPVS session against a scripted kernel: rows of changes, refusals, dumps that get in each other's way.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { IpvsSession, NO_IPVS } from '../../../src/daemon/ipvs/ipvs-session.ts';
import type { NetlinkTransport } from '../../../src/daemon/netlink-socket.ts';
import { DecodeError, KernelError } from '../../../src/errors.ts';
import type { Ip } from '../../../src/model/ip.ts';
import type { IpvsRequest } from '../../../src/netlink/ipvs/request.ts';
import type { RealServer, VirtualServer } from '../../../src/netlink/ipvs/virtual-server.ts';
import { cutMessages, parseHex } from '../../netlink/support/hex.ts';
import { attribute, i32, message, text, u16, u32 } from '../../netlink/support/naive.ts';

const FAMILY_ID = 0x20;
const [CTRL, NEW_DEST, GET_DEST] = [0x10, 5, 8];

interface Sent {
  readonly type: number;
  readonly command: number;
  readonly flags: number;
  readonly seq: number;
  readonly bytes: Buffer;
}

/** Answers each message; the datagrams it got are kept. */
class ScriptedKernel implements NetlinkTransport {
  readonly sendBufferBytes = 212_960;
  readonly datagrams: Sent[][] = [];
  isClosed = false;
  #answer: (sent: Sent) => readonly Buffer[];

  constructor(answer: (sent: Sent) => readonly Buffer[]) {
    this.#answer = answer;
  }

  async transact(request: Uint8Array): Promise<Uint8Array[]> {
    const sent = cutMessages(Buffer.from(request)).map((bytes) => ({
      type: bytes.readUInt16LE(4),
      flags: bytes.readUInt16LE(6),
      seq: bytes.readUInt32LE(8),
      command: bytes[16]!,
      bytes,
    }));
    this.datagrams.push(sent);
    return sent.flatMap((one) => (one.type === CTRL ? familyAnswer(one) : this.#answer(one)));
  }

  reserveSendBuffer = (bytes: number) => bytes;

  close(): void {
    this.isClosed = true;
  }
}

const ack = ({ seq }: Sent) => message(2, 0x100, seq, i32(0), Buffer.alloc(16));
const refusal = ({ seq }: Sent, errno: number) => message(2, 0x100, seq, i32(-errno), Buffer.alloc(16));
const done = ({ seq }: Sent) => message(3, 2, seq, i32(0));
const ackIfAsked = (sent: Sent) => ((sent.flags & 4) === 0 ? [] : [ack(sent)]);

function familyAnswer(sent: Sent): Buffer[] {
  const attributes = [
    attribute(2, text('IPVS')),
    attribute(1, u16(FAMILY_ID)),
    attribute(3, u32(1)),
    attribute(4, u32(0)),
  ];
  return [message(CTRL, 0, sent.seq, Buffer.from([1, 2, 0, 0]), ...attributes), ack(sent)];
}

const VIRTUAL_SERVER: VirtualServer = {
  family: 4,
  protocol: 'TCP',
  address: '10.96.0.1' as Ip,
  port: 443,
  scheduler: 'rr',
  flags: 0,
  persistenceSeconds: undefined,
  persistencePrefix: 32,
};

const realServer = (index: number): RealServer => ({
  family: 4,
  address: `10.1.${index >> 8}.${index & 255}` as Ip,
  port: 6443,
  weight: 1,
  forwarding: 'masquerade',
});

const additions = (count: number): IpvsRequest[] =>
  Array.from({ length: count }, (_, index) => ({
    kind: 'add real server',
    virtualServer: VIRTUAL_SERVER,
    realServer: realServer(index),
  }));

describe('open', () => {
  it('tells a kernel without IPVS, and closes the socket', async () => {
    const kernel = new ScriptedKernel(() => []);
    kernel.transact = async (request) => {
      const seq = Buffer.from(request).readUInt32LE(8);
      return [message(2, 0x100, seq, i32(-2), Buffer.alloc(16))];
    };
    await expect(IpvsSession.open(kernel)).rejects.toMatchObject({ code: NO_IPVS });
    expect(kernel.isClosed).toBe(true);
  });
});

describe('apply', () => {
  it('sends long rows of which only the last is acknowledged, whatever their number', async () => {
    const kernel = new ScriptedKernel(ackIfAsked);
    const session = await IpvsSession.open(kernel);
    expect(await session.apply(additions(3000))).toEqual(Array(3000).fill(undefined));
    const rows = kernel.datagrams.slice(1);
    expect(rows.length).toBeLessThan(5);
    expect(rows.flat()).toHaveLength(3000);
    expect(new Set(rows.flat().map(({ seq }) => seq)).size).toBe(3000);
    for (const row of rows) expect(row.filter(({ flags }) => (flags & 4) !== 0)).toEqual([row.at(-1)]);
    expect(session.sent).toEqual({ changes: 3000, questions: 1 });
  });

  it('sends nothing for nothing', async () => {
    const kernel = new ScriptedKernel(ackIfAsked);
    const session = await IpvsSession.open(kernel);
    expect(await session.apply([])).toEqual([]);
    expect(kernel.datagrams).toHaveLength(1);
  });

  it('gives each refusal to its request, in every row', async () => {
    const refused = new Map([
      [0, 17],
      [1500, 3],
      [2999, 2],
    ]);
    const kernel = new ScriptedKernel((sent) => {
      const index = sent.seq - kernel.datagrams[1]![0]!.seq;
      const errno = refused.get(index);
      return errno === undefined ? ackIfAsked(sent) : [refusal(sent, errno)];
    });
    const session = await IpvsSession.open(kernel);
    const results = await session.apply(additions(3000));
    const told = results.flatMap((error, index) =>
      error === undefined ? [] : [[index, error.code, error.operation]],
    );
    const operation = (ip: string) => `add real server ${ip}:6443 of virtual server 10.96.0.1:443/TCP`;
    expect(told).toEqual([
      [0, 'EEXIST', operation('10.1.0.0')],
      [1500, 'ESRCH', operation('10.1.5.220')],
      [2999, 'ENOENT', operation('10.1.11.183')],
    ]);
  });

  it('does not take silence for success when the last answer is missing', async () => {
    const kernel = new ScriptedKernel(() => []);
    const session = await IpvsSession.open(kernel);
    await expect(session.apply(additions(3))).rejects.toThrow(DecodeError);
  });
});

describe('dumps', () => {
  const dests = cutMessages(
    parseHex(readFileSync(new URL('../../netlink/ipvs/fixtures/real-servers.hex', import.meta.url), 'utf8')),
  );
  /** A message of a dump with another sequence number. */
  const destFor = ({ seq }: Sent) => {
    const bytes = Buffer.from(dests[0]!);
    expect(bytes[16]).toBe(NEW_DEST);
    bytes.writeUInt32LE(seq, 8);
    return bytes;
  };

  it('asks again, alone, what was refused because another dump was going on, and what had no end', async () => {
    let count = 0;
    const kernel = new ScriptedKernel((sent) => {
      expect(sent.command).toBe(GET_DEST);
      count++;
      if (count === 2) return [refusal(sent, 16)];
      if (count === 3) return [destFor(sent)];
      return [destFor(sent), done(sent)];
    });
    const session = await IpvsSession.open(kernel);
    const lists = await session.realServers([VIRTUAL_SERVER, VIRTUAL_SERVER, VIRTUAL_SERVER]);
    expect(lists.map((list) => list.length)).toEqual([1, 1, 1]);
    expect(kernel.datagrams.slice(1).map((sent) => sent.length)).toEqual([3, 1, 1]);
    expect(session.sent).toEqual({ changes: 0, questions: 6 });
  });

  it('rejects with what else the kernel refuses', async () => {
    const kernel = new ScriptedKernel((sent) => [refusal(sent, 1)]);
    const session = await IpvsSession.open(kernel);
    await expect(session.realServers([VIRTUAL_SERVER])).rejects.toMatchObject({ code: 'EPERM' });
    await expect(session.virtualServers()).rejects.toThrow(KernelError);
    await expect(session.setTimeouts({ tcp: 1, tcpFin: 0, udp: 0 })).rejects.toThrow(KernelError);
  });
});
