// The tracer itself, over rules written by hand as iptables-save prints them.

import { describe, expect, test } from 'vitest';
import type { IpFamily } from '../../src/model/ip.ts';
import { parseIptablesRule } from '../../src/netlink/iptables/parse.ts';
import type { IptablesTable } from '../../src/netlink/iptables/tables.ts';
import { everyWay, type Fate } from './branch.ts';
import { IptablesRuleset, TracedTables } from './iptables-ruleset.ts';
import { LIST_SIZE, RecentLists, type RecentMatch } from './recent-lists.ts';
import type { Packet } from './row.ts';
import { type TrackingState, traceIptables } from './trace-iptables.ts';
import { isLocalFor } from './traced-mode.ts';
import { LOOPBACK, PLACES, type Place } from './world.ts';

const VIP = '10.96.0.10';
const ENDPOINT = '10.1.0.11';

/** `*table`, `:CHAIN`, `-A …`: one a line. */
function rulesetOf(lines: string, family: IpFamily = 4): IptablesRuleset {
  const ruleset = new IptablesRuleset(family);
  ruleset.addTables();
  let table: IptablesTable = 'nat';
  for (const line of lines.trim().split(/\s*\n\s*/)) {
    if (line.startsWith('*')) table = line.slice(1) as IptablesTable;
    else if (line.startsWith(':')) ruleset.addChain({ table, name: line.slice(1) });
    else {
      const { chain: name, rule } = parseIptablesRule(line, family);
      ruleset.insertRule({ table, name }, ruleset.rules({ table, name }).length, rule);
    }
  }
  ruleset.checkWays();
  return ruleset;
}

function packet(from: Place = 'client', options: Partial<Packet> = {}): Packet {
  const family = options.family ?? 4;
  return {
    from,
    source: PLACES[from][family],
    destination: VIP,
    port: 80,
    family,
    protocol: 'TCP',
    ...options,
  };
}

interface Circumstances {
  readonly state?: TrackingState;
  readonly lists?: RecentLists;
  readonly routesLocalnet?: boolean;
}

function branches(ruleset: IptablesRuleset, one: Packet, options: Circumstances = {}) {
  const { state = 'NEW', lists = new RecentLists(), routesLocalnet = false } = options;
  const node = { isLocal: (address: string) => isLocalFor(one, address), routesLocalnet };
  return traceIptables(ruleset, lists, one, node, state);
}

/** What becomes of a packet where nothing is left to chance. */
function fate(ruleset: IptablesRuleset, one: Packet, options: Circumstances = {}): Fate {
  const all = branches(ruleset, one, options);
  expect(all).toHaveLength(1);
  return all[0]!.fate;
}

const reached = (address: string, source: 'own' | 'node' = 'own', port = 8080): Fate => ({
  kind: 'reaches',
  address,
  port,
  source,
});

describe('chains', () => {
  test('a jump comes back, a goto does not', () => {
    const ruleset = rulesetOf(`
      *filter
      :A
      :B
      :C
      :D
      -A D -p udp -j DROP
      -A B -p udp -g D
      -A B -j DROP
      -A C -p tcp -m tcp --dport 81 -j RETURN
      -A C -p sctp -j DROP
      -A A -g B
      -A A -p tcp -m tcp --dport 99 -j DROP
      -A FORWARD -p udp -j A
      -A FORWARD -j C
      -A FORWARD -p tcp -m tcp --dport 81 -j DROP`);
    expect(fate(ruleset, packet('client', { protocol: 'UDP' })).kind).toBe('dropped');
    expect(fate(ruleset, packet('client', { protocol: 'SCTP' })).kind).toBe('dropped');
    expect(fate(ruleset, packet('client', { port: 81 })).kind).toBe('dropped');
    expect(fate(ruleset, packet()).kind).toBe('passes');
    const gone = rulesetOf(`
      *filter
      :A
      :B
      -A A -g B
      -A A -j DROP
      -A FORWARD -j A`);
    expect(fate(gone, packet()).kind).toBe('passes');
  });

  test('RETURN in a chain of a hook and ACCEPT end that table only', () => {
    for (const target of ['RETURN', 'ACCEPT']) {
      const ruleset = rulesetOf(`
        *mangle
        -A FORWARD -j ${target}
        -A FORWARD -j DROP
        *filter
        -A FORWARD -p udp -j DROP`);
      expect(fate(ruleset, packet('client', { protocol: 'UDP' })).kind).toBe('dropped');
      expect(fate(ruleset, packet()).kind).toBe('passes');
    }
  });

  test('a rule without a target changes nothing', () => {
    expect(fate(rulesetOf('-A PREROUTING -m comment --comment "only words"'), packet()).kind).toBe('passes');
  });
});

describe('the way of a packet', () => {
  const dnat = (chain: string, to: string) => `-A ${chain} -d ${VIP}/32 -j DNAT --to-destination ${to}`;

  test('what is forwarded meets FORWARD with its new destination, what stays meets INPUT', () => {
    const forwarded = rulesetOf(`
      ${dnat('PREROUTING', `${ENDPOINT}:8080`)}
      *filter
      -A INPUT -j DROP
      -A OUTPUT -j DROP
      -A FORWARD -d ${VIP}/32 -j DROP`);
    expect(fate(forwarded, packet())).toEqual(reached(ENDPOINT));
    const caught = rulesetOf(`
      ${dnat('PREROUTING', `${ENDPOINT}:8080`)}
      *filter
      -A FORWARD -d ${ENDPOINT}/32 -p tcp -m tcp --dport 8080 -j DROP`);
    expect(fate(caught, packet()).kind).toBe('dropped');
    const stays = rulesetOf(`
      ${dnat('PREROUTING', `${PLACES.node[4]}:8080`)}
      -A POSTROUTING -j MASQUERADE --random-fully
      *filter
      -A FORWARD -j DROP
      -A OUTPUT -j DROP`);
    expect(fate(stays, packet())).toEqual(reached(PLACES.node[4]));
  });

  test('without a port DNAT keeps it', () => {
    expect(fate(rulesetOf(dnat('PREROUTING', ENDPOINT)), packet())).toEqual(reached(ENDPOINT, 'own', 80));
  });

  test('what the node sends meets OUTPUT, and INPUT when it is for itself, but NAT only once', () => {
    const away = rulesetOf(`
      -A PREROUTING -j DNAT --to-destination 10.9.9.9
      ${dnat('OUTPUT', `${ENDPOINT}:8080`)}
      -A POSTROUTING -j MASQUERADE --random-fully
      *filter
      -A FORWARD -j DROP
      -A INPUT -j DROP`);
    expect(fate(away, packet('node'))).toEqual(reached(ENDPOINT, 'node'));
    const home = (input: string) =>
      rulesetOf(`
        -A PREROUTING -j DNAT --to-destination 10.9.9.9
        ${dnat('OUTPUT', `${PLACES.node[4]}:8080`)}
        -A POSTROUTING -j MASQUERADE --random-fully
        *filter
        -A INPUT ${input} -j DROP`);
    expect(fate(home('-i eth0'), packet('node'))).toEqual(reached(PLACES.node[4], 'node'));
    expect(fate(home('-i lo'), packet('node')).kind).toBe('dropped');
    expect(() => fate(home(`-s ${PLACES.node[4]}/32`), packet('node'))).toThrow('stands for others');
  });

  test('the tables of a hook are met in the order of their priorities', () => {
    const ruleset = rulesetOf(`
      ${dnat('OUTPUT', `${ENDPOINT}:8080`)}
      *filter
      -A OUTPUT -d ${VIP}/32 -j DROP`);
    expect(fate(ruleset, packet('node'))).toEqual(reached(ENDPOINT));
    const before = rulesetOf(`
      ${dnat('PREROUTING', `${ENDPOINT}:8080`)}
      *mangle
      -A PREROUTING -d ${VIP}/32 -j DROP`);
    expect(fate(before, packet()).kind).toBe('dropped');
  });

  test('only the first packet of a connection meets NAT', () => {
    const ruleset = rulesetOf(`
      ${dnat('PREROUTING', `${ENDPOINT}:8080`)}
      *filter
      -A FORWARD -m conntrack --ctstate INVALID -j DROP`);
    expect(fate(ruleset, packet(), { state: 'INVALID' }).kind).toBe('dropped');
    expect(fate(ruleset, packet(), { state: 'ESTABLISHED' }).kind).toBe('passes');
    expect(fate(ruleset, packet())).toEqual(reached(ENDPOINT));
  });

  test('loopback addresses leave the node only with route_localnet, and never in IPv6', () => {
    const own = packet('node', { source: '127.0.0.1', destination: '127.0.0.1' });
    const ruleset = rulesetOf('-A OUTPUT -d 127.0.0.0/8 -j DNAT --to-destination 10.1.0.11:8080');
    expect(fate(ruleset, own).kind).toBe('dropped');
    expect(fate(ruleset, own, { routesLocalnet: true })).toEqual(reached(ENDPOINT));
    expect(fate(rulesetOf('*filter'), packet('client', { destination: '127.0.0.1' })).kind).toBe('dropped');
    const [source, to] = [LOOPBACK[6], PLACES['local-1'][6]];
    const six = rulesetOf(`-A OUTPUT -d ::1/128 -j DNAT --to-destination [${to}]:8080`, 6);
    const sent = packet('node', { source, destination: source, family: 6 });
    expect(fate(six, sent, { routesLocalnet: true }).kind).toBe('dropped');
  });
});

describe('marks and masquerading', () => {
  const MASQUERADE = `
    :MARK-IT
    :POST
    -A MARK-IT -j MARK --set-xmark 0x4000/0x4000
    -A POST -m mark ! --mark 0x4000/0x4000 -j RETURN
    -A POST -j MARK --set-xmark 0x4000/0x0
    -A POST -j MASQUERADE --random-fully
    -A POSTROUTING -j POST`;

  test('who is marked is masqueraded', () => {
    const ruleset = rulesetOf(`${MASQUERADE}
      -A PREROUTING ! -s 10.1.0.0/16 -j MARK-IT
      -A PREROUTING -j DNAT --to-destination ${ENDPOINT}:8080`);
    expect(fate(ruleset, packet('client'))).toEqual(reached(ENDPOINT, 'node'));
    expect(fate(ruleset, packet('local-pod'))).toEqual(reached(ENDPOINT));
  });

  test.each([
    ['a mark that stays', '-A PREROUTING -j MARK --set-xmark 0x4000/0x4000', 'leaves with mark'],
    ['bits of others', '-A PREROUTING -j MARK --set-xmark 0x0/0xffffffff', 'leaves with mark'],
    ['masquerading what is not ours', '-A POSTROUTING -j MASQUERADE --random-fully', 'destination of ours'],
    ['a port that is not random', '-A POSTROUTING -j MASQUERADE', 'the same moment'],
  ])('%s is an error', (_, lines, message) => {
    expect(() => fate(rulesetOf(lines), packet())).toThrow(message);
  });
});

describe('matches', () => {
  const isDropped = (match: string, one: Packet, options: Circumstances = {}): boolean =>
    fate(
      rulesetOf(`*filter\n-A FORWARD ${match} -j DROP\n-A OUTPUT ${match} -j DROP`, one.family),
      one,
      options,
    ).kind === 'dropped';

  test.each<[match: string, matching: Partial<Packet>, other: Partial<Packet>]>([
    ['-s 192.168.50.0/24', {}, { from: 'local-pod', source: '10.1.0.20' }],
    ['! -s 192.168.50.0/24', { from: 'local-pod', source: '10.1.0.20' }, {}],
    [`-d ${VIP}/32`, {}, { destination: '10.96.0.11' }],
    [`! -d ${VIP}/32`, { destination: '10.96.0.11' }, {}],
    ['-i eth0', {}, { from: 'local-pod' }],
    ['! -i eth0', { from: 'local-pod' }, {}],
    ['-i et+', {}, { from: 'local-pod' }],
    ['! -i eth0', { from: 'node' }, {}],
    ['-p udp', { protocol: 'UDP' }, {}],
    ['! -p udp', {}, { protocol: 'UDP' }],
    ['-p tcp -m tcp --dport 80:90', { port: 90 }, { port: 91 }],
    ['-p tcp -m tcp ! --dport 80:90', { port: 91 }, { port: 80 }],
    ['-p sctp -m sctp --dport 80', { protocol: 'SCTP' }, { protocol: 'TCP' }],
    ['-m addrtype --src-type LOCAL', { from: 'node', source: PLACES.node[4] }, {}],
    ['-m addrtype ! --src-type LOCAL', {}, { from: 'node', source: PLACES.node[4] }],
    ['-m addrtype --dst-type LOCAL', { from: 'node', destination: PLACES.node[4] }, { from: 'node' }],
    ['-m addrtype ! --dst-type LOCAL', { from: 'node' }, { from: 'node', destination: PLACES.node[4] }],
  ])('%s', (match, matching, other) => {
    const [first, second] = [matching, other].map((one) => packet(one.from ?? 'client', one));
    expect(isDropped(match, first!)).toBe(true);
    expect(isDropped(match, second!)).toBe(false);
  });

  test.each([
    ['-m comment --comment "any words"', true],
    ['-p tcp -m tcp --sport 40000 --dport 80', true],
    ['-p tcp -m tcp --sport 1:39999 --dport 80', false],
    ['-m mark --mark 0x100/0xf00', true],
    ['-m mark ! --mark 0x100/0xf00', false],
    ['-m mark --mark 0x100', false],
    ['-m statistic --mode random --probability 1.00000000000', true],
    ['-m statistic --mode random ! --probability 1.00000000000', false],
    ['-m physdev --physdev-is-in', false],
    ['-m physdev ! --physdev-is-in ! --physdev-in cali+', true],
    ['-m physdev ! --physdev-is-in --physdev-in cali+', false],
  ])('%s is %s of any packet here', (match, is) => {
    expect(isDropped(match, packet())).toBe(is);
  });

  test.each<[states: string, yes: TrackingState[], no: TrackingState[]]>([
    ['NEW', ['NEW'], ['ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED']],
    ['INVALID', ['INVALID'], ['NEW', 'ESTABLISHED', 'UNTRACKED']],
    ['RELATED,ESTABLISHED', ['RELATED', 'ESTABLISHED'], ['NEW', 'INVALID']],
    ['DNAT', [], ['NEW', 'ESTABLISHED']],
  ])('-m conntrack --ctstate %s', (states, yes, no) => {
    for (const [is, list] of [[true, yes] as const, [false, no] as const]) {
      for (const state of list) {
        expect(isDropped(`-m conntrack --ctstate ${states}`, packet(), { state })).toBe(is);
        expect(isDropped(`-m conntrack ! --ctstate ${states}`, packet(), { state })).toBe(!is);
      }
    }
  });

  test('a translated connection is known by it', () => {
    const ruleset = rulesetOf(`
      -A PREROUTING -p tcp -j DNAT --to-destination ${ENDPOINT}:8080
      *filter
      -A FORWARD -m conntrack --ctstate DNAT -j DROP`);
    expect(fate(ruleset, packet()).kind).toBe('dropped');
    expect(fate(ruleset, packet('client', { protocol: 'UDP' })).kind).toBe('passes');
  });

  test.each([
    ['*filter\n-A FORWARD -o eth0 -j DROP', '-o'],
    ['*filter\n-A FORWARD -m addrtype --src-type UNICAST -j DROP', 'UNICAST'],
    ['*filter\n-A FORWARD -m nfacct --nfacct-name c', 'nfacct'],
    ['-A POSTROUTING -i eth0 -j RETURN', '-i'],
    ['*mangle\n-A OUTPUT -j MARK --set-xmark 0x1/0x1', 'route anew'],
  ])('%s is not guessed', (lines, message) => {
    expect(() => fate(rulesetOf(lines), packet(lines.startsWith('*mangle') ? 'node' : 'client'))).toThrow(
      message,
    );
  });

  test('what there are no words for is not guessed', () => {
    const unknown = { kind: 'unknown', name: 'string', expressions: [] } as const;
    const rules = [{ matches: [unknown] }, { matches: [], target: unknown }];
    for (const rule of rules) {
      const chains = { rules: () => [rule] };
      const node = { isLocal: () => false, routesLocalnet: false };
      expect(() => traceIptables(chains, new RecentLists(), packet(), node)).toThrow('string is not traced');
    }
  });
});

describe('refusals', () => {
  test.each([
    [4, '-j REJECT --reject-with icmp-port-unreachable'],
    [6, '-j REJECT --reject-with icmp6-port-unreachable'],
    [4, '-p tcp -j REJECT --reject-with tcp-reset'],
  ] as const)('IPv%i %s', (family, rule) => {
    const one = packet('client', { family, destination: PLACES['local-1'][family] });
    expect(fate(rulesetOf(`*filter\n-A FORWARD ${rule}`, family), one).kind).toBe('refused');
  });

  test.each([
    ['*filter\n-A FORWARD -j REJECT --reject-with icmp-admin-prohibited', 'no refusal of TCP'],
    ['-A PREROUTING -j REJECT --reject-with icmp-port-unreachable', 'REJECT in table nat'],
    ['-A PREROUTING -j DROP', 'nat table'],
    ['-A PREROUTING -j MASQUERADE --random-fully', 'hook prerouting'],
    ['-A POSTROUTING -j DNAT --to-destination 10.1.0.1', 'hook postrouting'],
    ['*filter\n-A FORWARD -j DNAT --to-destination 10.1.0.1', 'table filter'],
  ])('%s is an error', (lines, message) => {
    expect(() => fate(rulesetOf(lines), packet())).toThrow(message);
  });
});

describe('chance', () => {
  test('every rule gets its share of what those before it have left', () => {
    const ruleset = rulesetOf(`
      -A PREROUTING -m statistic --mode random --probability 0.25000000000 -j DNAT --to-destination 10.1.0.1:8080
      -A PREROUTING -m statistic --mode random ! --probability 0.50000000000 -j DNAT --to-destination 10.1.0.2:8080
      -A PREROUTING -j DNAT --to-destination 10.1.0.3:8080`);
    const shares = branches(ruleset, packet()).map(({ fate, share }) => [
      fate.kind === 'reaches' && fate.address,
      share,
    ]);
    expect(shares).toEqual([
      ['10.1.0.1', 1 / 4],
      ['10.1.0.3', 3 / 8],
      ['10.1.0.2', 3 / 8],
    ]);
  });

  test('takes every way once, but none that is impossible', () => {
    const ways = everyWay((choose) => [choose([0, 1 / 4, 3 / 4]), choose([1 / 2, 0, 1 / 2])].join());
    expect(ways.map(({ result, share }) => [result, share])).toEqual([
      ['1,0', 1 / 8],
      ['1,2', 1 / 8],
      ['2,0', 3 / 8],
      ['2,2', 3 / 8],
    ]);
    expect(everyWay(() => 'only')).toEqual([{ result: 'only', share: 1 }]);
  });
});

describe('lists of recent addresses', () => {
  const match = (operation: RecentMatch['operation'], options: Partial<RecentMatch> = {}): RecentMatch => ({
    kind: 'recent',
    operation,
    name: 'list',
    seconds: 0,
    isReaping: false,
    side: 'source',
    ...options,
  });
  const [A, B] = ['10.1.0.1', '10.1.0.2'];

  test('know who was set, by list, for as long as is asked', () => {
    const lists = new RecentLists();
    expect(lists.match(match('rcheck'), A)).toBe(false);
    expect(lists.match(match('set'), A)).toBe(true);
    expect(lists.match(match('rcheck'), A)).toBe(true);
    expect(lists.match(match('rcheck'), B)).toBe(false);
    expect(lists.match(match('rcheck', { name: 'other' }), A)).toBe(false);
    lists.wait(10);
    expect(lists.match(match('rcheck', { seconds: 10 }), A)).toBe(true);
    lists.wait(1);
    expect(lists.match(match('rcheck', { seconds: 10 }), A)).toBe(false);
    expect(lists.match(match('rcheck', { seconds: 11 }), A)).toBe(true);
    expect(lists.match(match('rcheck'), A)).toBe(true);
  });

  test('are refreshed by --update where it matches and by --set, not by --rcheck', () => {
    const lists = new RecentLists();
    for (const operation of ['rcheck', 'update', 'set'] as const) {
      lists.match(match('set'), A);
      lists.wait(6);
      lists.match(match(operation, { seconds: 10 }), A);
      lists.wait(6);
      expect(lists.match(match('rcheck', { seconds: 10 }), A)).toBe(operation !== 'rcheck');
    }
    lists.wait(60);
    expect(lists.match(match('update', { seconds: 10 }), A)).toBe(false);
    expect(lists.match(match('rcheck', { seconds: 10 }), A)).toBe(false);
  });

  test('forget by --remove, and with --reap who is the oldest once it is too old', () => {
    const lists = new RecentLists();
    lists.match(match('set'), A);
    expect(lists.match(match('remove'), A)).toBe(true);
    expect(lists.match(match('remove'), A)).toBe(false);
    lists.match(match('set'), A);
    lists.wait(20);
    lists.match(match('set'), B);
    const reaping = match('rcheck', { seconds: 10, isReaping: true });
    expect(lists.match(match('rcheck'), A)).toBe(true);
    expect(lists.match(reaping, B)).toBe(true);
    expect(lists.match(match('rcheck'), A)).toBe(false);
    lists.wait(20);
    expect(lists.match(reaping, B)).toBe(false);
    expect(lists.match(match('rcheck'), B)).toBe(false);
    expect(() => {
      lists.match(match('set'), A);
      lists.match(match('rcheck', { isReaping: true }), A);
    }).toThrow('--seconds');
  });

  test(`hold ${LIST_SIZE} addresses: who was there least lately makes room`, () => {
    const lists = new RecentLists();
    const addresses = Array.from({ length: LIST_SIZE + 1 }, (_, i) => `10.2.0.${i}`);
    for (const one of addresses.slice(0, LIST_SIZE)) lists.match(match('set'), one);
    lists.match(match('set'), addresses[0]!);
    lists.match(match('set'), addresses[LIST_SIZE]!);
    expect(addresses.filter((one) => !lists.match(match('rcheck'), one))).toEqual([addresses[1]]);
  });

  test('last as long as rules name them, and a fork goes its own way', () => {
    const lists = new RecentLists();
    lists.match(match('set'), A);
    const fork = lists.fork();
    expect(fork.fingerprint).toBe(lists.fingerprint);
    fork.match(match('set'), B);
    expect(fork.fingerprint).not.toBe(lists.fingerprint);
    expect(lists.match(match('rcheck'), B)).toBe(false);
    lists.keepOnly(new Set(['list']));
    expect(lists.match(match('rcheck'), A)).toBe(true);
    lists.keepOnly(new Set());
    expect(lists.match(match('rcheck'), A)).toBe(false);
  });

  test('keep a client where it was', () => {
    const ruleset = rulesetOf(`
      :ONE
      :TWO
      -A ONE -p tcp -m recent --set --name ONE --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.1.0.1:8080
      -A TWO -p tcp -m recent --set --name TWO --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.1.0.2:8080
      -A PREROUTING -m recent --rcheck --seconds 10 --reap --name ONE --mask 255.255.255.255 --rsource -j ONE
      -A PREROUTING -m recent --rcheck --seconds 10 --reap --name TWO --mask 255.255.255.255 --rsource -j TWO
      -A PREROUTING -m statistic --mode random --probability 0.50000000000 -j ONE
      -A PREROUTING -j TWO`);
    const first = branches(ruleset, packet());
    expect(first.map(({ fate }) => fate)).toEqual([reached('10.1.0.1'), reached('10.1.0.2')]);
    for (const { fate: before, state } of first) {
      expect(fate(ruleset, packet(), { lists: state })).toEqual(before);
      expect(branches(ruleset, packet('local-pod'), { lists: state })).toHaveLength(2);
      state.wait(11);
      expect(branches(ruleset, packet(), { lists: state })).toHaveLength(2);
    }
  });
});

describe('the tables refuse what the kernel would', () => {
  test.each([
    ['a jump to nowhere', '-A PREROUTING -j NOWHERE', 'no chain nat NOWHERE'],
    ['a jump to a hook', ':A\n-A A -j OUTPUT', 'base chain OUTPUT'],
    ['a chain twice', ':A\n:A', 'there already'],
    ['a name that is too long', `:${'A'.repeat(29)}`, 'too long'],
    ['a loop', ':A\n:B\n-A A -j B\n-A B -g A', 'loop: A -> B -> A'],
    [
      'too many chains in a row',
      [
        ...Array.from({ length: 18 }, (_, i) => `:C${i}`),
        ...Array.from({ length: 17 }, (_, i) => `-A C${i} -j C${i + 1}`),
      ].join('\n'),
      'lead on too often from C0',
    ],
  ])('%s', (_, lines, message) => {
    expect(() => rulesetOf(lines)).toThrow(message);
  });

  test('what is in use, or not there', () => {
    const ruleset = rulesetOf(':A\n-A PREROUTING -j A');
    const [table, name] = ['nat', 'A'] as const;
    expect(() => ruleset.deleteChains([{ table, name }])).toThrow('in use by PREROUTING');
    expect(() => ruleset.deleteRule({ table, name: 'PREROUTING' }, 1)).toThrow('no rule 1');
    ruleset.deleteRule({ table, name: 'PREROUTING' }, 0);
    ruleset.deleteChains([{ table, name }]);
    expect(() => ruleset.deleteChains([{ table, name }])).toThrow('no chain nat A');
  });

  test('a rule that would be read back as another', () => {
    const ruleset = rulesetOf('*nat');
    const everywhere = { cidr: { ip: '0.0.0.0' as never, prefix: 0, family: 4 }, isInverted: false } as const;
    const rule = { source: everywhere, matches: [] };
    expect(() => ruleset.insertRule({ table: 'nat', name: 'OUTPUT' }, 0, rule)).toThrow('normal form');
  });

  test('edits of chains in which others have rules', async () => {
    const tables = new TracedTables();
    tables.of(4).addTables();
    const place = { table: 'nat', name: 'OUTPUT' } as const;
    tables.of(4).insertRule(place, 0, { matches: [] });
    const nothing = { added: [], edited: [], removed: [] };
    await expect(tables.apply(4, nothing, [{ ...place, own: [] }])).rejects.toThrow('not ours');
  });
});
