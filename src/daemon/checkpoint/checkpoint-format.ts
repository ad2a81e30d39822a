// The bytes of a checkpoint: lines of JSON, so that a human can read one.
//
//   {"format":"kproxy-ts checkpoint","version":1,"node":"node-1","source":"API server https://…","writtenAt":"2026-03-01T12:00:00.000Z"}
//   ["Service",{…}]                        one object a line, as src/model/saved-object.ts makes them
//   {"objects":1,"sha256":"…"}             the last line: what came before it, newlines included
//
// Without its last line a checkpoint is not one: whatever cut it short, that is seen.

import { createHash } from 'node:crypto';
import { type KnownObject, loadObject, SAVED_VERSION, saveObject } from '../../model/saved-object.ts';

/** Whose state it is. A checkpoint of another node or another cluster is not used. */
export interface CheckpointOwner {
  readonly node: string;
  /** As the source describes itself. */
  readonly source: string;
}

/** Why a checkpoint is not used. */
export interface Unusable {
  readonly code: 'DAMAGED' | 'FOREIGN_VERSION' | 'OTHER_OWNER' | 'OVERSIZED' | 'UNREADABLE';
  /** One sentence. */
  readonly reason: string;
}

const FORMAT = 'kproxy-ts checkpoint';

/** About the size of a piece: some tenths of a millisecond of work. */
const PIECE_CHARS = 64 * 1024;

/** All bytes in pieces; each is made when it is asked for. */
export function* encodeCheckpoint(
  owner: CheckpointOwner,
  writtenAt: Date,
  objects: Iterable<KnownObject>,
): Generator<Buffer> {
  const hash = createHash('sha256');
  const header = { format: FORMAT, version: SAVED_VERSION, ...owner, writtenAt: writtenAt.toISOString() };
  let piece = `${JSON.stringify(header)}\n`;
  let count = 0;
  for (const object of objects) {
    piece += `${saveObject(object)}\n`;
    count++;
    if (piece.length < PIECE_CHARS) continue;
    const block = Buffer.from(piece);
    hash.update(block);
    yield block;
    piece = '';
  }
  hash.update(piece);
  yield Buffer.from(`${piece}${JSON.stringify({ objects: count, sha256: hash.digest('hex') })}\n`);
}

/** Takes the lines of a checkpoint in order, and says what they come to. */
export class CheckpointDecoder {
  readonly #owner: CheckpointOwner;
  readonly #hash = createHash('sha256');
  readonly #objects: KnownObject[] = [];
  #writtenAt: Date | undefined;
  /** Only when another follows is it known that a line is not the last one. */
  #held: Buffer | undefined;
  #unusable: Unusable | undefined;

  constructor(owner: CheckpointOwner) {
    this.#owner = owner;
  }

  /** A line without its newline. Returns why there is no use in going on; undefined while there is. */
  push(line: Buffer): Unusable | undefined {
    if (this.#held !== undefined) this.#unusable ??= this.#take(this.#held);
    this.#held = line;
    return this.#unusable;
  }

  /** After the last line. */
  end(): { readonly writtenAt: Date; readonly objects: readonly KnownObject[] } | Unusable {
    if (this.#unusable !== undefined) return this.#unusable;
    const footer = parseRecord(this.#held);
    if (this.#writtenAt === undefined || footer?.['sha256'] === undefined) return damaged('it has no end');
    if (footer['objects'] !== this.#objects.length || footer['sha256'] !== this.#hash.digest('hex')) {
      return damaged('its checksum is another');
    }
    return { writtenAt: this.#writtenAt, objects: this.#objects };
  }

  #take(line: Buffer): Unusable | undefined {
    this.#hash.update(line).update('\n');
    if (this.#writtenAt === undefined) return this.#takeHeader(line);
    try {
      this.#objects.push(loadObject(line.toString()));
    } catch {
      return damaged(`object ${this.#objects.length + 1} cannot be read`);
    }
    return undefined;
  }

  #takeHeader(line: Buffer): Unusable | undefined {
    const header = parseRecord(line);
    if (header?.['format'] !== FORMAT) return damaged('it does not begin as a checkpoint');
    const { version, node, source } = header;
    if (version !== SAVED_VERSION) {
      return {
        code: 'FOREIGN_VERSION',
        reason: `it is of version ${JSON.stringify(version)}, and this program reads ${SAVED_VERSION}`,
      };
    }
    if (node !== this.#owner.node || source !== this.#owner.source) {
      const [was, is] = [{ node, source }, this.#owner].map((owner) => `${owner.node} at ${owner.source}`);
      return { code: 'OTHER_OWNER', reason: `it is of ${was}, and this is ${is}` };
    }
    this.#writtenAt = new Date(String(header['writtenAt']));
    if (Number.isNaN(this.#writtenAt.getTime())) return damaged('it does not say when it was written');
    return undefined;
  }
}

function damaged(reason: string): Unusable {
  return { code: 'DAMAGED', reason };
}

function parseRecord(line: Buffer | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(String(line));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
