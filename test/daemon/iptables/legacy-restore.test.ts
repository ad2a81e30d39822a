// Plans as text: what stands where, and what cannot be said at all.

import { describe, expect, it } from 'vitest';
import { restoreLines, type SharedChains } from '../../../src/daemon/iptables/legacy-restore.ts';
import { InternalError } from '../../../src/errors.ts';
import type { Delta } from '../../../src/mode/iptables/desired.ts';
import type { PlannedChain } from '../../../src/mode/iptables/planned-chain.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { IptablesRule } from '../../../src/netlink/iptables/rule.ts';
import type { IptablesTable } from '../../../src/netlink/iptables/tables.ts';

const WEB = 'default/web' as ServiceKey;
const jump = (chain: string, text?: string): IptablesRule => ({
  matches: text === undefined ? [] : [{ kind: 'comment', text }],
  target: { kind: 'jump', chain },
});
const chain = (
  table: IptablesTable,
  name: string,
  rules: IptablesRule[],
  over: Partial<PlannedChain> = {},
) => ({
  table,
  name,
  ownership: 'own' as const,
  service: WEB,
  rules: () => rules,
  ...over,
});
const NOTHING: Delta = { added: [], edited: [], removed: [] };
const texts = (delta: Partial<Delta>, shared?: SharedChains) =>
  [...restoreLines(4, { ...NOTHING, ...delta }, shared)].map(({ text }) => text);

describe('the input of iptables-restore', () => {
  it('of nothing is nothing', () => {
    expect(texts({})).toEqual([]);
  });

  it('has nat before filter before mangle, and only tables with something in them', () => {
    const added = [
      chain('mangle', 'KUBE-PROXY-CANARY', []),
      chain('filter', 'KUBE-FW-A', []),
      chain('nat', 'KUBE-SVC-A', []),
    ];
    expect(texts({ added })).toEqual([
      '*nat',
      ':KUBE-SVC-A - [0:0]',
      'COMMIT',
      '*filter',
      ':KUBE-FW-A - [0:0]',
      'COMMIT',
      '*mangle',
      ':KUBE-PROXY-CANARY - [0:0]',
      'COMMIT',
    ]);
    expect(texts({ added: added.slice(0, 1) })).toEqual(['*mangle', ':KUBE-PROXY-CANARY - [0:0]', 'COMMIT']);
  });

  it('has new chains, then edits by number, then what goes, emptied first', () => {
    const delta: Delta = {
      added: [
        chain('nat', 'KUBE-SEP-A', [jump('KUBE-MARK-MASQ')]),
        chain('nat', 'KUBE-SVC-A', [jump('KUBE-SEP-A', 'a b')]),
      ],
      edited: [
        {
          table: 'nat',
          name: 'KUBE-SERVICES',
          edits: [
            { kind: 'delete', index: 2, service: WEB },
            { kind: 'insert', index: 2, item: jump('KUBE-SVC-A'), service: WEB },
          ],
        },
      ],
      removed: [
        { table: 'nat', name: 'KUBE-SVC-B' },
        { table: 'nat', name: 'KUBE-SEP-B' },
      ],
    };
    expect(texts(delta)).toEqual([
      '*nat',
      ':KUBE-SEP-A - [0:0]',
      '-A KUBE-SEP-A -j KUBE-MARK-MASQ',
      ':KUBE-SVC-A - [0:0]',
      '-A KUBE-SVC-A -m comment --comment "a b" -j KUBE-SEP-A',
      '-D KUBE-SERVICES 3',
      '-I KUBE-SERVICES 3 -j KUBE-SVC-A',
      ':KUBE-SVC-B - [0:0]',
      ':KUBE-SEP-B - [0:0]',
      '-X KUBE-SVC-B',
      '-X KUBE-SEP-B',
      'COMMIT',
    ]);
    const owners = [...restoreLines(4, delta, undefined)].map(({ service }) => service);
    expect(owners).toEqual([undefined, WEB, WEB, WEB, WEB, WEB, WEB, ...Array(5).fill(undefined)]);
  });

  it('never empties a chain that kubelet may have made meanwhile, nor one of a hook', () => {
    const rules = [jump('KUBE-FIREWALL')];
    const added = [
      chain('filter', 'KUBE-FIREWALL', [{ matches: [], target: { kind: 'DROP' } }], { ownership: 'shared' }),
      chain('filter', 'INPUT', rules, { ownership: 'base' }),
    ];
    expect(texts({ added })).toEqual([
      '*filter',
      '-N KUBE-FIREWALL',
      '-A KUBE-FIREWALL -j DROP',
      '-A INPUT -j KUBE-FIREWALL',
      'COMMIT',
    ]);
  });

  describe('in a chain that others have rules in', () => {
    const shared: SharedChains = {
      lines: new Map([
        [
          'filter INPUT',
          [
            '-A INPUT -j X',
            '-A INPUT -j KUBE-A',
            '-A INPUT -j Y',
            '-A INPUT -j KUBE-B',
            '-A INPUT -j KUBE-A',
          ],
        ],
      ]),
      places: [{ table: 'filter', name: 'INPUT', own: [1, 3, 4] }],
    };
    const edit = (...edits: Delta['edited'][number]['edits']) =>
      texts({ edited: [{ table: 'filter', name: 'INPUT', edits }] }, shared).slice(1, -1);
    const remove = (index: number) => ({ kind: 'delete', index, service: undefined }) as const;
    const insert = (index: number, to: string) =>
      ({ kind: 'insert', index, item: jump(to), service: undefined }) as const;

    it('our rules go by their words', () => {
      expect(edit(remove(1))).toEqual(['-D INPUT -j KUBE-B']);
      expect(edit(remove(0), remove(0))).toEqual(['-D INPUT -j KUBE-A', '-D INPUT -j KUBE-B']);
    });

    it('a new one is put behind the one before, or at the top', () => {
      expect(edit(insert(0, 'KUBE-N'))).toEqual(['-I INPUT 1 -j KUBE-N']);
      expect(edit(insert(1, 'KUBE-N'))).toEqual(['-I INPUT 3 -j KUBE-N']);
      expect(edit(insert(2, 'KUBE-N'), insert(3, 'KUBE-M'))).toEqual([
        '-I INPUT 5 -j KUBE-N',
        '-I INPUT 6 -j KUBE-M',
      ]);
    });

    it('of two that are alike the first one goes, and places are counted so', () => {
      expect(edit(remove(2), insert(1, 'KUBE-N'))).toEqual(['-D INPUT -j KUBE-A', '-I INPUT 4 -j KUBE-N']);
    });

    it('nothing is edited without an observation, nor beyond it', () => {
      const edited = [{ table: 'filter', name: 'INPUT', edits: [remove(0)] } as const];
      expect(() => texts({ edited })).toThrow(InternalError);
      expect(() => edit(remove(3))).toThrow(InternalError);
    });
  });

  it('has no line that is two', () => {
    const rule = jump('KUBE-SEP-A', 'x\n-F INPUT');
    expect(() => texts({ added: [chain('nat', 'KUBE-SVC-A', [rule])] })).toThrow(InternalError);
  });
});
