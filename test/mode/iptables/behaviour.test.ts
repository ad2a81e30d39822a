// The behaviour table, told from the rules that would be written. Each scenario is shown to one set of tables, change by
// change, so that what incremental updates leave behind is judged, too.

import { describe, expect, test } from 'vitest';
import { buildSettings } from '../../../src/config/settings.ts';
import { frontendSettings, surroundingsOf } from '../../../src/daemon/run.ts';
import { Desired } from '../../../src/mode/iptables/desired.ts';
import type { RuleSettings } from '../../../src/mode/iptables/fixed-chains.ts';
import type { ObjectKind, SourceEvent } from '../../../src/model/source-event.ts';
import { Store } from '../../../src/model/store.ts';
import { VipTable } from '../../../src/vip/vip-table.ts';
import {
  formatOutcome,
  isRepeated,
  type Outcome,
  outcomeFor,
  type Packet,
  type Row,
  type Stage,
  stagesOf,
} from '../../behaviour/row.ts';
import { SCENARIOS } from '../../behaviour/rows.ts';
import { interfaceTowards, isNodeAddress, PLACES } from '../../behaviour/world.ts';
import { FakeTables } from './fake-tables.ts';
import { iptablesFrontends } from './frontends.ts';
import { type Branch, traceRules } from './trace-rules.ts';

const FAMILIES = [4, 6] as const;
/** As the other modes have it: loopback addresses serve no node ports. */
const SETTINGS = { servesLocalhostNodePorts: false, dropsInvalid: true } as const;

class Node {
  readonly #store = new Store();
  readonly #settings;
  readonly #vips: VipTable;
  readonly #families;
  #shown = new Map<string, SourceEvent>();

  constructor(flags: readonly string[], dispatch: RuleSettings['dispatch']) {
    const given = flags.map((spelled) => {
      const [name = '', text] = spelled.slice(2).split('=');
      return { name, spelled, text };
    });
    const { settings, errors } = buildSettings(given, '');
    if (settings === undefined) throw new Error(errors.join('\n'));
    this.#settings = settings;
    this.#vips = new VipTable(frontendSettings(settings));
    this.#families = FAMILIES.map((family) => {
      const desired = new Desired(family, { ...SETTINGS, masqueradeBit: settings.masqueradeBit, dispatch });
      return { family, desired, tables: FakeTables.holding(family, desired.chains()) };
    });
  }

  show(objects: readonly object[]): void {
    const before = this.#shown;
    this.#shown = new Map(
      objects.map((object) => {
        const { kind, metadata } = object as {
          kind: ObjectKind;
          metadata: { namespace?: string; name: string };
        };
        return [
          `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
          { type: 'upsert', kind, object, origin: '' },
        ];
      }),
    );
    const gone = [...before].flatMap(([id]): SourceEvent[] => {
      const [kind, path] = id.split(' ') as [ObjectKind, string];
      const [namespace = '', name = ''] = path.split('/');
      return this.#shown.has(id) ? [] : [{ type: 'delete', kind, namespace, name }];
    });
    const { services } = this.#store.apply([...gone, ...this.#shown.values()]);
    const frontends = new Map(
      [...this.#vips.refresh(this.#store, services)].map(([key, list]) => {
        const service = this.#store.service(key);
        return [key, service === undefined ? [] : iptablesFrontends(list, service)];
      }),
    );
    const surroundings = surroundingsOf(this.#settings, this.#store, this.#vips);
    for (const { desired, tables } of this.#families) tables.apply(desired.update(frontends, surroundings));
  }

  trace(packet: Packet): Branch[] {
    const { tables } = this.#families.find(({ family }) => family === packet.family)!;
    const isFromNode = packet.from === 'node';
    return traceRules(
      tables,
      {
        ...packet,
        isFromNode,
        protocol: packet.protocol.toLowerCase(),
        inInterface: interfaceTowards(packet.from) ?? '',
      },
      (address) => isNodeAddress(address) || (isFromNode && address === packet.source),
    );
  }
}

/** In the table's words. */
function outcomeOf(branches: readonly Branch[], { family }: Packet): Outcome {
  const kinds = [...new Set(branches.map(({ fate }) => fate.kind))];
  const [kind] = kinds;
  if (kinds.length > 1) throw new Error(`some connections are ${kinds.join(', others ')}`);
  if (kind !== 'reaches') return { kind: kind! };
  const endpoints = new Map();
  for (const { fate, share } of branches) {
    if (fate.kind !== 'reaches') continue;
    const place = Object.entries(PLACES).find(([, addresses]) => addresses[family] === fate.address)?.[0];
    const name = `${place ?? fate.address}:${fate.port}`;
    const before = endpoints.get(name)?.share ?? 0;
    endpoints.set(name, { source: fate.isMasqueraded ? 'node' : 'own', share: before + share });
  }
  return { kind: 'reaches', endpoints };
}

/** What a first connection comes to, where the statement is about several. Of hashing only the endpoints are stated. */
function firstOf(outcome: Outcome, actual: Outcome): Outcome {
  if (!isRepeated(outcome)) return outcome;
  if (outcome.kind !== 'hashes' || actual.kind !== 'reaches')
    return { kind: 'reaches', endpoints: outcome.endpoints };
  const endpoints = [...outcome.endpoints].map(
    ([name, { source }]) => [name, { source, share: actual.endpoints.get(name)?.share ?? 0 }] as const,
  );
  return { kind: 'reaches', endpoints: new Map(endpoints) };
}

describe.each(['tree', 'flat'] as const)('with --iptables-dispatch=%s', (dispatch) => {
  for (const scenario of SCENARIOS) {
    const stages: Stage[] = stagesOf(scenario);
    let node: Node | undefined;
    let shown = -1;
    const judge = (stage: number, { packet, statement }: Row): void => {
      node ??= new Node(stages[0]!.cluster.flags, dispatch);
      while (shown < stage) node.show(stages[++shown]!.cluster.objects);
      const branches = node.trace(packet);
      expect(branches.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 8);
      const outcome = outcomeOf(branches, packet);
      const expected = firstOf(outcomeFor(statement, 'nftables'), outcome);
      expect(formatOutcome(outcome)).toEqual(formatOutcome(expected));
    };
    for (const [stage, { rows }] of stages.entries()) {
      for (const row of rows) test(row.name, () => judge(stage, row));
    }
  }
});
