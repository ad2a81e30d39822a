// One manifest file as last read. Documents are known by a digest of their text, so that only those that changed are
// parsed again, and a document that became unreadable holds on to what it stood for.

import { hash } from 'node:crypto';
import { type Finding, type ManifestObject, readObjects } from './manifest-objects.ts';
import { parseDocument } from './parse-document.ts';
import { lineAt, splitDocuments } from './split-documents.ts';

/** One document of a file. */
export interface ManifestDocument {
  readonly digest: string;
  readonly objects: readonly ManifestObject[];
  /** What is wrong or odd in it. */
  readonly findings: readonly Finding[];
  /** True when something in it could not be told to be an object. */
  readonly isBroken: boolean;
  /** Ids of objects that it may have carried before it broke: they are not gone. */
  readonly held: readonly string[];
}

/** A file and the documents in it. */
export interface ManifestFile {
  /** Within the folder: what a human looks for. */
  readonly name: string;
  /** Equal when the file is untouched; '' when that cannot be known. */
  readonly stamp: string;
  readonly documents: readonly ManifestDocument[];
  /** Why the file could not be read; the documents are then those of before. */
  readonly finding: Finding | undefined;
}

/** Raw values of the objects that were parsed just now. */
export type RawObjects = Map<ManifestObject, unknown>;

/**
 * The documents of a file, given those it had before. Where `isFresh`, all are parsed, unchanged ones too.
 * The raw values of what was parsed are added to `raws`.
 */
export function readDocuments(
  bytes: Buffer,
  previous: readonly ManifestDocument[],
  raws: RawObjects,
  isFresh: boolean,
): readonly ManifestDocument[] {
  const known = new Map(previous.map((document) => [document.digest, document]));
  const documents = splitDocuments(bytes).map(({ text, start }): ManifestDocument => {
    const digest = hash('sha256', text, 'base64');
    const before = known.get(digest);
    // A broken one is parsed again because what is told of it names a line of the file, which may be another now.
    if (before !== undefined && !before.isBroken && !isFresh) return before;
    return readDocument(text, digest, () => lineAt(bytes, start), raws);
  });
  return withHeld(previous, documents);
}

function readDocument(
  text: string,
  digest: string,
  firstLine: () => number,
  raws: RawObjects,
): ManifestDocument {
  const broken = (reason: string): ManifestDocument => {
    return { digest, objects: [], findings: [{ code: 'UNREADABLE', reason }], isBroken: true, held: [] };
  };
  try {
    const parsed = parseDocument(text);
    if (parsed.kind === 'unreadable') return broken(`line ${firstLine() + parsed.line}: ${parsed.reason}`);
    const found = readObjects(parsed.value);
    for (const [object, raw] of found.raws) raws.set(object, raw);
    return {
      digest,
      objects: [...found.raws.keys()],
      findings: [...found.failures, ...found.warnings],
      isBroken: found.failures.length > 0,
      held: [],
    };
  } catch (error) {
    // The engine's own limits: JSON nested 10,000 deep, a string of half a gigabyte.
    if (error instanceof RangeError)
      return broken(`line ${firstLine()}: too deep or too large (${error.message})`);
    throw error;
  }
}

/**
 * Lets broken documents hold ids. Between the first and the last document that changed there is no telling which of
 * the documents before a broken one was, so it holds what all of them stood for; elsewhere it is the one it was.
 */
function withHeld(
  previous: readonly ManifestDocument[],
  documents: readonly ManifestDocument[],
): readonly ManifestDocument[] {
  const shorter = Math.min(previous.length, documents.length);
  let head = 0;
  while (head < shorter && previous[head]!.digest === documents[head]!.digest) head++;
  let tail = 0;
  while (tail < shorter - head && previous.at(-1 - tail)!.digest === documents.at(-1 - tail)!.digest) tail++;
  const changed = previous.slice(head, previous.length - tail);
  const lost = [
    ...new Set(changed.flatMap(({ objects, held }) => [...objects.map(({ id }) => id), ...held])),
  ];
  return documents.map((document, i) => {
    if (!document.isBroken) return document;
    if (i < head) return { ...document, held: previous[i]!.held };
    if (i >= documents.length - tail) return { ...document, held: previous.at(i - documents.length)!.held };
    return { ...document, held: lost };
  });
}
