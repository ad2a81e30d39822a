// The tables given to iptables-nft and the kernel, and read back: every rule is one that they know, in its order, and no
// branch is nested deeper than they allow.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import { MAX_DEPTH } from '../../../src/mode/iptables/prefix-tree.ts';
import { type Ip, type IpFamily, parseCidr, unpackIp } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import { formatIptablesRule } from '../../../src/netlink/iptables/format.ts';
import { BASE_CHAINS } from '../../../src/netlink/iptables/tables.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { Netns } from '../../support/netns/netns.ts';
import { someService } from './arbitrary-services.ts';

const TABLES = ['mangle', 'nat', 'filter'] as const;

/** Guarded load-balancer addresses, twenty along each step of one path: as deep as a tree gets, and all chains behind it. */
function nested(family: IpFamily): Map<ServiceKey, Frontend[]> {
  const bytes = family === 4 ? 4 : 16;
  const services = new Map<ServiceKey, Frontend[]>();
  for (let step = 0; step <= 2 * MAX_DEPTH - 4; step++) {
    for (let n = 0; n < 20; n++) {
      const packed = new Array<number>(bytes).fill(0xaa);
      packed[step >> 2]! ^= 0x40 >> (2 * (step & 3));
      packed[bytes - 1] = n * 12;
      const name = `deep/s${step}-${n}` as ServiceKey;
      const ip = (family === 4 ? `10.1.${step}.${n}` : `fd00::${step + 1}:${n}`) as Ip;
      services.set(name, [
        {
          kind: 'LoadBalancer',
          family,
          address: unpackIp(String.fromCharCode(...packed)),
          protocol: 'SCTP',
          port: 80,
          service: name,
          displayName: name,
          backends: [{ ip, port: 8080, isMaybeLocal: false, weight: 1 }],
          masquerade: 'always',
          whenEmpty: 'refuse',
          insideBackends: undefined,
          scheduler: 'random',
          affinityTimeoutSeconds: 60,
          sourceRanges: [parseCidr(family === 4 ? '192.0.2.0/24' : '2001:db8::/32')!],
          trafficPolicy: 'Cluster',
          healthCheckNodePort: 0,
        },
      ]);
    }
  }
  return services;
}

const services = (seed: number): Map<ServiceKey, readonly Frontend[]> =>
  new Map(
    Array.from({ length: 60 }, (_, i) => fc.sample(someService(i), { numRuns: 1, seed: seed + i })[0]!)
      .filter(({ frontends }) => frontends.every(({ backends }) => backends.length < 100))
      .map(({ key, frontends }) => [key, frontends]),
  );

describe('iptables-nft', () => {
  let netns: Netns;
  beforeAll(async () => {
    netns = await Netns.create('iptables-plan');
  });
  afterAll(async () => {
    await netns.delete();
  });

  test.each<[string, IpFamily, 'tree' | 'flat', Map<ServiceKey, readonly Frontend[]>]>([
    ['random Services', 4, 'tree', services(1)],
    ['random Services', 4, 'flat', services(2)],
    ['nested addresses', 4, 'tree', nested(4)],
    ['nested addresses', 6, 'tree', nested(6)],
    ['nested addresses', 6, 'flat', nested(6)],
  ])('takes and gives back %s, IPv%i, %s', async (_, family, dispatch, frontends) => {
    const desired = new Desired(family, {
      masqueradeBit: 14,
      servesLocalhostNodePorts: true,
      dropsInvalid: true,
      dispatch,
    });
    desired.update(frontends, {
      nodePortCidrs: ['0.0.0.0/0', '::/0'].map((text) => parseCidr(text)!),
      serviceCidrs: ['10.96.0.0/12', 'fd00:96::/108'].map((text) => parseCidr(text)!),
      localPods: new Map([[family, { kind: 'interface', name: 'veth', isPrefix: true }]]),
    });
    const chains = [...desired.chains()].map((chain) => ({
      ...chain,
      lines: chain.rules().map((rule) => formatIptablesRule(chain.name, rule, family)),
    }));
    const input = TABLES.flatMap((table) => {
      const own = chains.filter((chain) => chain.table === table);
      return [
        `*${table}`,
        ...own.map(({ name }) => `:${name} ${name in BASE_CHAINS[table] ? 'ACCEPT' : '-'} [0:0]`),
        ...own.flatMap(({ lines }) => lines),
        'COMMIT',
      ];
    });
    const program = family === 4 ? 'iptables-nft' : 'ip6tables-nft';
    await netns.exec([`${program}-restore`], { input: `${input.join('\n')}\n` });
    for (const table of TABLES) {
      const saved = (await netns.exec([`${program}-save`, '-t', table])).split('\n');
      const own = chains.filter((chain) => chain.table === table);
      const byName = (lines: readonly string[]): string[] => {
        const name = (line: string): string => line.split(' ')[1]!;
        return lines.toSorted((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
      };
      expect(byName(saved.filter((line) => line.startsWith('-A ')))).toEqual(
        byName(own.flatMap(({ lines }) => lines)),
      );
      const names = saved.filter((line) => line.startsWith(':')).map((line) => line.slice(1).split(' ')[0]);
      for (const { name } of own) expect(names).toContain(name);
    }
  });
});
