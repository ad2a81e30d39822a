// What iptables mode tells about Services that ask for more than it has; how it compares everything while changes go on.

import { beforeEach, describe, expect, test } from 'vitest';
import type { BackendUpdate } from '../../../src/daemon/backend.ts';
import { IptablesBackend } from '../../../src/daemon/iptables/iptables-backend.ts';
import type { ChainsByFamily, IptablesTables } from '../../../src/daemon/iptables/tables.ts';
import { createLog } from '../../../src/daemon/log.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import type { ObservedChain } from '../../../src/mode/iptables/full-sync.ts';
import { SIGNATURE } from '../../../src/mode/iptables/names.ts';
import { type ChainPlace, chainId } from '../../../src/mode/iptables/planned-chain.ts';
import type { IpFamily } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { TracedTables } from '../../behaviour/iptables-ruleset.ts';
import { frontend } from '../../support/frontends.ts';

const log = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: () => undefined },
});

const SETTINGS: RuleSettings = {
  masqueradeBit: 14,
  servesLocalhostNodePorts: false,
  dropsInvalid: true,
  dispatch: 'tree',
};

function backendOf(tables: IptablesTables): IptablesBackend {
  return new IptablesBackend({
    tables,
    families: [4],
    settings: SETTINGS,
    setSysctl: () => undefined,
    log,
  });
}

test('a scheduler that iptables cannot be is told, for as long as it is asked for', async () => {
  const backend = backendOf(new TracedTables());
  const codes = async (...frontends: Frontend[]) => {
    const update = new Map([['default/web' as ServiceKey, frontends]]);
    const { failures } = await backend.sync({ frontends: update, surroundings: undefined });
    expect(failures).toEqual([]);
    return backend.problems().map(({ subject, code }) => `${subject} ${code}`);
  };
  const web = frontend('web', { address: '10.96.0.1', backends: ['10.1.0.1:80'] });
  expect(await codes(web)).toEqual([]);
  expect(await codes({ ...web, scheduler: 'mh' })).toEqual(['Service default/web UNSUPPORTED_SCHEDULER']);
  expect(await codes(web)).toEqual([]);
  await codes({ ...web, scheduler: 'rr' });
  expect(await codes()).toEqual([]);
});

/** Tables that others are known to write to, but not what. */
class WatchedTables extends TracedTables {
  hasLost = false;
  /** Chains that were read. */
  observed: string[] = [];

  override async observe(
    family: IpFamily,
    see: (chain: ObservedChain) => boolean,
    only?: readonly ChainPlace[],
  ): Promise<void> {
    const counted = (chain: ObservedChain): boolean => {
      this.observed.push(chainId(chain));
      // Others get their turn as on a kernel: a comparison of this many chains is not done in one.
      const endMs = performance.now() + 0.05;
      while (performance.now() < endMs);
      return see(chain);
    };
    await super.observe(family, counted, only);
  }

  override async begin(): Promise<void> {
    this.hasLost = false;
  }

  override async hasChanged(): Promise<boolean> {
    return this.hasLost;
  }

  async takeChanged(): Promise<ChainsByFamily | 'all'> {
    return this.hasLost ? 'all' : new Map();
  }
}

describe('when anything may have been changed', () => {
  const NOTHING: BackendUpdate = { frontends: new Map(), surroundings: undefined };
  const SERVICES = 150;
  const web = (i: number, ...backends: string[]) =>
    [
      `default/web-${i}` as ServiceKey,
      [
        frontend(`web-${i}`, {
          address: `10.96.${i >> 8}.${i & 255}`,
          backends: backends.map((ip) => `${ip}:80`),
        }),
      ],
    ] as const;
  const ACCEPT = { matches: [], target: { kind: 'ACCEPT' } } as const;

  let tables: WatchedTables;
  let backend: IptablesBackend;
  let wanted: Map<ServiceKey, readonly Frontend[]>;

  beforeEach(async () => {
    tables = new WatchedTables();
    backend = backendOf(tables);
    wanted = new Map(Array.from({ length: SERVICES }, (_, i) => web(i, '10.1.0.1', '10.1.0.2')));
    expect(await backend.sync({ frontends: wanted, surroundings: undefined })).toMatchObject({
      failures: [],
    });
    tables.observed = [];
  });

  const own = (prefix: string): ChainPlace[] =>
    [...tables.of(4).chains()].filter(({ table, name }) => table === 'nat' && name.startsWith(prefix));
  const state = () =>
    new Map([...tables.of(4).chains()].map((chain) => [chainId(chain), JSON.stringify(chain.rules)]));

  /** What somebody who begins with nothing would make of it. */
  async function scratch() {
    const others = new TracedTables();
    await backendOf(others).sync({ frontends: wanted, surroundings: undefined });
    return new Map([...others.of(4).chains()].map((chain) => [chainId(chain), JSON.stringify(chain.rules)]));
  }

  async function change(i: number, ...backends: string[]): Promise<void> {
    const frontends = new Map([web(i, ...backends)]);
    for (const [key, list] of frontends) wanted.set(key, list);
    expect(await backend.sync({ frontends, surroundings: undefined })).toMatchObject({
      failures: [],
      isFull: false,
    });
  }

  async function begin(): Promise<void> {
    tables.hasLost = true;
    expect(await backend.hasDrifted()).toBe(true);
    backend.distrust();
    expect(await backend.sync(NOTHING)).toMatchObject({ failures: [], isFull: false });
    expect(backend.hasMore).toBe(true);
  }

  async function finish() {
    const results = [];
    while (backend.hasMore) results.push(await backend.resume());
    expect(results.flatMap(({ failures }) => failures)).toEqual([]);
    expect(results.map(({ isFull }) => isFull)).toEqual(results.map((_, i) => i === results.length - 1));
    return {
      writes: results.reduce((sum, { writes }) => sum + writes, 0),
      repairs: results.reduce((sum, { repairs = 0 }) => sum + repairs, 0),
    };
  }

  test('all is compared, in pieces, once', async () => {
    const before = state();
    await begin();
    expect(await finish()).toEqual({ writes: 0, repairs: 0 });
    const ours = [...before.keys()].filter((id) => id.includes(' KUBE-'));
    expect(tables.observed).toEqual(expect.arrayContaining(ours));
    expect(new Set(tables.observed).size).toBe(tables.observed.length);
    expect(state()).toEqual(before);
    expect(await backend.hasDrifted()).toBe(false);
  });

  test('what others have changed is put right, wherever it is, and strays go', async () => {
    const [first, last] = [own('KUBE-SVC-')[0]!, own('KUBE-SEP-').at(-1)!];
    tables.of(4).insertRule(first, 0, ACCEPT);
    tables.of(4).deleteRule(last, 0);
    tables.of(4).addChain({ table: 'nat', name: 'KUBE-SVC-AAAAAAAAAAAAAAAA' });
    tables.of(4).insertRule({ table: 'nat', name: 'KUBE-SERVICES' }, 0, ACCEPT);
    tables.hasLost = true;
    backend.distrust();
    await backend.sync(NOTHING);
    const { repairs } = await finish();
    expect(repairs).toBeGreaterThan(0);
    expect(state()).toEqual(await scratch());
  });

  test('changes do not wait, and are not undone, before and behind what was compared', async () => {
    const chains = own('KUBE-SEP-').length;
    await begin();
    tables.observed = [];
    await change(0, '10.1.0.3');
    await change(SERVICES - 1);
    await change(SERVICES, '10.1.0.4');
    await backend.sync({ frontends: new Map([[web(SERVICES - 2)[0], []]]), surroundings: undefined });
    wanted.delete(web(SERVICES - 2)[0]);
    expect(tables.observed.length).toBeLessThan(chains / 10);
    await finish();
    expect(state()).toEqual(await scratch());
  });

  test('what others had changed in a chain is put right although it was changed meanwhile', async () => {
    const last = own('KUBE-SVC-')
      .filter(({ name }) => !name.startsWith('KUBE-SVC-S'))
      .at(-1)!;
    tables.of(4).insertRule(last, 2, ACCEPT);
    await begin();
    await change(SERVICES - 1, '10.1.0.1', '10.1.0.2', '10.1.0.3');
    await finish();
    expect(state()).toEqual(await scratch());
  });

  test('where chains are gone all comes back at once', async () => {
    const signature = { table: 'nat', name: SIGNATURE } as const;
    tables.of(4).deleteChains([signature]);
    tables.hasLost = true;
    backend.distrust();
    expect(await backend.sync(NOTHING)).toMatchObject({ failures: [], isFull: true });
    expect(backend.hasMore).toBe(false);
    expect(state()).toEqual(await scratch());
  });
});
