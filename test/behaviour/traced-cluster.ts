// What every mode is given, under the tracer as in the daemon: objects → store → virtual-IP table → what changed.

import { buildSettings, type Settings } from '../../src/config/settings.ts';
import type { BackendUpdate } from '../../src/daemon/backend.ts';
import { frontendSettings, surroundingsOf } from '../../src/daemon/pipeline.ts';
import type { ObjectKind, SourceEvent } from '../../src/model/source-event.ts';
import { Store } from '../../src/model/store.ts';
import { VipTable } from '../../src/vip/vip-table.ts';

type Upsert = Extract<SourceEvent, { type: 'upsert' }>;

export class TracedCluster {
  readonly settings: Settings;
  readonly #store = new Store();
  readonly #table: VipTable;
  #shown: ReadonlyMap<string, Upsert> = new Map();

  /** @throws when the daemon would not take these flags. */
  constructor(flags: readonly string[]) {
    const given = flags.map((spelled) => {
      const [name = '', text] = spelled.slice(2).split('=');
      return { name, spelled, text };
    });
    const { settings, errors } = buildSettings(given, '');
    if (settings === undefined) throw new Error(errors.join('\n'));
    this.settings = settings;
    this.#table = new VipTable(frontendSettings(settings));
  }

  /** Takes these objects in place of those before. */
  show(objects: readonly object[]): BackendUpdate {
    const before = this.#shown;
    this.#shown = new Map(objects.map(upsert).map((event) => [idOf(event), event]));
    const gone = [...before].flatMap(([id, event]) => (this.#shown.has(id) ? [] : [deletion(event)]));
    const { services } = this.#store.apply([...gone, ...this.#shown.values()]);
    const frontends = this.#table.refresh(this.#store, services);
    return { frontends, surroundings: surroundingsOf(this.settings, this.#store, this.#table) };
  }
}

function upsert(object: object): Upsert {
  return { type: 'upsert', kind: (object as { kind: ObjectKind }).kind, object, origin: 'table' };
}

function deletion(event: Upsert): SourceEvent {
  return { type: 'delete', kind: event.kind, ...nameOf(event) };
}

function idOf(event: Upsert): string {
  const { namespace, name } = nameOf(event);
  return `${event.kind} ${namespace}/${name}`;
}

function nameOf({ object }: Upsert): { namespace: string; name: string } {
  const { namespace = '', name } = (object as { metadata: { namespace?: string; name: string } }).metadata;
  return { namespace, name };
}
