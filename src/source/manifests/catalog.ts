// What the manifests state as a whole: which document speaks for which object, what changed since it was last told, and
// what is wrong. Pure: files in, events out.

import { OBJECT_KINDS, type SourceEvent } from '../../model/source-event.ts';
import type { ManifestFile, RawObjects } from './manifest-file.ts';
import type { Finding, ManifestObject } from './manifest-objects.ts';

/** A document with many faults is told in this many sentences. */
const MAX_REASONS = 5;

/** Where an object is stated. */
interface Statement {
  readonly object: ManifestObject;
  readonly origin: string;
  readonly file: ManifestFile;
}

/** All files together. */
interface View {
  readonly statements: ReadonlyMap<string, Statement>;
  readonly findings: ReadonlyMap<string, readonly Finding[]>;
  /** Ids that an unreadable document may stand for. */
  readonly held: ReadonlySet<string>;
}

/** Events to tell, and files whose objects have to be parsed again because they come into force only now. */
export interface CatalogUpdate {
  readonly events: readonly SourceEvent[];
  readonly missing: ReadonlySet<string>;
}

/** What has been told, and what is to be told next. */
export class Catalog {
  readonly #told = new Map<string, ManifestObject>();
  #problems: ReadonlyMap<string, Finding> = new Map();
  #isListing = false;
  #isListed = false;

  /**
   * Takes files in the order of precedence, later ones winning. `raws` has the values of objects parsed since the last
   * call. An object without one is told at the next call that has it; until then its last state stays. The listing ends
   * with the first call that `isComplete`.
   */
  update(files: readonly ManifestFile[], raws: RawObjects, isComplete = true): CatalogUpdate {
    const view = merge(files);
    const events: SourceEvent[] = [];
    const missing = new Set<string>();
    if (!this.#isListing) events.push(...OBJECT_KINDS.map((kind) => ({ type: 'list-start', kind }) as const));
    this.#isListing = true;
    for (const [id, { object, origin, file }] of view.statements) {
      if (this.#told.get(id)?.digest === object.digest) continue;
      if (raws.has(object)) {
        events.push({ type: 'upsert', kind: object.kind, object: raws.get(object), origin });
        this.#told.set(id, object);
      } else missing.add(file.name);
    }
    for (const [id, { kind, namespace, name }] of this.#told) {
      if (view.statements.has(id) || view.held.has(id)) continue;
      events.push({ type: 'delete', kind, namespace, name });
      this.#told.delete(id);
    }
    if (isComplete && !this.#isListed) {
      events.push(...OBJECT_KINDS.map((kind) => ({ type: 'list-end', kind }) as const));
      this.#isListed = true;
    }
    events.push(...this.#tellProblems(view.findings));
    return { events, missing };
  }

  #tellProblems(findings: ReadonlyMap<string, readonly Finding[]>): SourceEvent[] {
    const problems = new Map([...findings].map(([subject, found]) => [subject, summarize(found)]));
    const events: SourceEvent[] = [];
    for (const subject of this.#problems.keys()) {
      if (!problems.has(subject)) events.push({ type: 'problem-solved', subject });
    }
    for (const [subject, problem] of problems) {
      const before = this.#problems.get(subject);
      if (before?.code === problem.code && before.reason === problem.reason) continue;
      events.push({ type: 'problem', subject, ...problem });
    }
    this.#problems = problems;
    return events;
  }
}

/**
 * The last statement of an object wins. Slices mirrored from Endpoints stand only where no slice of the same Service is
 * stated: whoever states slices means them, and a dump of a cluster has both, saying the same.
 */
function merge(files: readonly ManifestFile[]): View {
  const statements = new Map<string, Statement>();
  const findings = new Map<string, Finding[]>();
  const held = new Set<string>();
  const add = (subject: string, found: readonly Finding[]): void => {
    if (found.length === 0) return;
    const before = findings.get(subject);
    if (before === undefined) findings.set(subject, [...found]);
    else before.push(...found);
  };
  const hasSlices = new Set(
    files
      .flatMap(({ documents }) => documents.flatMap(({ objects }) => objects))
      .filter(({ isMirror }) => !isMirror)
      .map(({ serviceKey }) => serviceKey),
  );
  for (const file of files) {
    add(file.name, file.finding === undefined ? [] : [file.finding]);
    for (const [i, document] of file.documents.entries()) {
      const origin = `${file.name} document ${i + 1}`;
      add(origin, document.findings);
      for (const id of document.held) held.add(id);
      for (const object of document.objects) {
        if (object.isMirror && hasSlices.has(object.serviceKey)) continue;
        const loser = statements.get(object.id);
        if (loser !== undefined) add(loser.origin, [duplicate(object.id, origin)]);
        statements.set(object.id, { object, origin, file });
      }
    }
  }
  for (const { object, origin } of statements.values())
    add(origin, object.note === undefined ? [] : [object.note]);
  return { statements, findings, held };
}

function duplicate(id: string, winner: string): Finding {
  return { code: 'DUPLICATE', reason: `${id} is also in ${winner}, which wins` };
}

/** One problem for all that is found at one place, under the code of the first. */
function summarize(findings: readonly Finding[]): Finding {
  const reasons = findings.slice(0, MAX_REASONS).map(({ reason }) => reason);
  const untold = findings.length - reasons.length;
  if (untold > 0) reasons.push(`and ${untold} more`);
  return { code: findings[0]!.code, reason: reasons.join('; ') };
}
