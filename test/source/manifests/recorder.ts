// What a source has told so far, as whoever listens would know it.

import type { ObjectKind, SourceEvent } from '../../../src/source/source.ts';

export class Recorder {
  readonly events: SourceEvent[] = [];
  /** Raw objects by `kind namespace/name`. */
  readonly objects = new Map<string, unknown>();
  /** `code: reason` by subject. */
  readonly problems = new Map<string, string>();
  readonly synced = new Set<ObjectKind>();

  readonly sink = (batch: readonly SourceEvent[]): void => {
    for (const event of batch) this.#take(event);
  };

  get ids(): string[] {
    return [...this.objects.keys()].sort();
  }

  /** `upsert Service default/a`, `delete Node /n`, `list-end Node`, `problem web.yaml document 1` ... */
  get told(): string[] {
    return this.events.map((event) => {
      if (event.type === 'upsert') return `upsert ${idOf(event.kind, event.object)}`;
      if (event.type === 'delete') return `delete ${event.kind} ${event.namespace}/${event.name}`;
      return 'kind' in event ? `${event.type} ${event.kind}` : `${event.type} ${event.subject}`;
    });
  }

  #take(event: SourceEvent): void {
    this.events.push(event);
    switch (event.type) {
      case 'upsert':
        this.objects.set(idOf(event.kind, event.object), event.object);
        return;
      case 'delete':
        this.objects.delete(`${event.kind} ${event.namespace}/${event.name}`);
        return;
      case 'list-start':
        this.synced.delete(event.kind);
        return;
      case 'list-end':
        this.synced.add(event.kind);
        return;
      case 'problem':
        this.problems.set(event.subject, `${event.code}: ${event.reason}`);
        return;
      case 'problem-solved':
        this.problems.delete(event.subject);
    }
  }
}

function idOf(kind: ObjectKind, object: unknown): string {
  const { metadata } = object as { metadata: { namespace: string; name: string } };
  return `${kind} ${metadata.namespace}/${metadata.name}`;
}
