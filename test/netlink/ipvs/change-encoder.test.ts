// Messages that are copied and patched are those that are made from the tables, byte by byte.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Ip, IpFamily } from '../../../src/model/ip.ts';
import { unpackIp } from '../../../src/model/ip.ts';
import { ChangeEncoder } from '../../../src/netlink/ipvs/change-encoder.ts';
import { encodeChange } from '../../../src/netlink/ipvs/encode.ts';
import type { IpvsRequest } from '../../../src/netlink/ipvs/request.ts';
import { Writer } from '../../../src/netlink/writer.ts';
import { REQUESTS } from './commands.ts';

const FAMILY_ID = 0x20;

const ip = (family: IpFamily): fc.Arbitrary<Ip> =>
  fc
    .uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 })
    .map((bytes) => unpackIp(String.fromCharCode(...bytes)));
const port = fc.integer({ min: 1, max: 65535 });

const server = fc.constantFrom<IpFamily>(4, 6).chain((family) =>
  fc.record({
    family: fc.constant(family),
    protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
    address: ip(family),
    port,
  }),
);

const backend = fc.constantFrom<IpFamily>(4, 6).chain((family) =>
  fc.record({
    family: fc.constant(family),
    address: ip(family),
    port,
    forwarding: fc.constantFrom('masquerade', 'tunnel', 'route'),
    weight: fc.integer({ min: 0, max: 65535 }),
  }),
);

const row = fc.array(
  fc.tuple(server, fc.array(fc.tuple(fc.constantFrom('add', 'edit', 'delete'), backend), { maxLength: 4 })),
  { maxLength: 4 },
);

function bytesOf(encode: (writer: Writer) => void): string {
  const writer = new Writer(64);
  encode(writer);
  return writer.bytes().toString('hex');
}

function expectSame(requests: readonly IpvsRequest[]): void {
  const encoder = new ChangeEncoder(FAMILY_ID);
  requests.forEach((request, i) => {
    const isAcked = i % 3 === 0;
    const seq = 2 ** 31 - 2 + i;
    expect(bytesOf((writer) => encoder.encode(writer, request, seq, isAcked))).toBe(
      bytesOf((writer) => encodeChange(writer, FAMILY_ID, request, seq, isAcked)),
    );
  });
}

it('real servers of any virtual servers, one after the other', () => {
  fc.assert(
    fc.property(row, (servers) => {
      expectSame(
        servers.flatMap(([virtualServer, changes]) =>
          changes.map(
            ([verb, { forwarding, weight, ...key }]) =>
              ({
                kind: `${verb} real server`,
                virtualServer,
                realServer: verb === 'delete' ? key : { ...key, forwarding, weight },
              }) as IpvsRequest,
          ),
        ),
      );
    }),
  );
});

it('all that ipvsadm was seen to ask for', () => {
  expectSame(REQUESTS.flatMap(({ means }) => ('kind' in means ? [means as IpvsRequest] : [])));
});
