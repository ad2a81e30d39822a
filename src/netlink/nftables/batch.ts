// The batch that carries requests: one transaction of nf_tables is BATCH_BEGIN, the messages and BATCH_END in one
// datagram. Elements are spread over as many messages as the 16-bit length of their list needs.

import {
  beginNested,
  encodeAttribute,
  endAttribute,
  enterAttribute,
  leaveAttribute,
  MAX_ATTRIBUTE_LENGTH,
} from '../attribute.ts';
import { u32be } from '../codec.ts';
import { beginMessage, endMessage, MESSAGE_FLAG, patchFlags } from '../message.ts';
import { Reader } from '../reader.ts';
import { Writer } from '../writer.ts';
import { element, elementKey } from './element.ts';
import { beginRequest } from './header.ts';
import { type ElementRequest, type Encoding, type NftRequest, REQUEST_ENCODINGS } from './request.ts';
import * as nft from './uapi.ts';

export type { NftRequest } from './request.ts';

export interface BatchOptions {
  /** Sequence number of the first message. */
  readonly firstSeq: number;
  /** The kernel refuses the batch with ERESTART if this is not the present generation. */
  readonly genId?: number;
}

export interface Batch {
  readonly bytes: Buffer;
  readonly firstSeq: number;
  /** The first sequence number that the batch does not use. */
  readonly nextSeq: number;
  /** Per message between begin and end, for `originOf`. */
  readonly origins: readonly MessageOrigin[];
}

/** What the kernel complained about. */
export interface Origin {
  readonly requestIndex: number;
  readonly elementIndex?: number;
}

interface MessageOrigin {
  readonly requestIndex: number;
  /** Offset of the message in the batch. */
  readonly start: number;
  /** Its elements, if it is about elements. */
  readonly list?: ElementList;
}

interface ElementList {
  /** Offset of the list's attribute in the batch. */
  readonly start: number;
  /** Indexes in the request: the first element of the list and the one after its last. */
  readonly firstIndex: number;
  readonly nextIndex: number;
}

/** Ids of sets that were not given one: the kernel wants some number, different from the others of the batch. */
const FIRST_AUTOMATIC_SET_ID = 0x10000;

/**
 * One transaction. The kernel applies all of it or nothing. Its errors carry the sequence number of a message, for
 * `originOf`; only the last message asks for an ack.
 */
export function encodeBatch(requests: readonly NftRequest[], { firstSeq, genId }: BatchOptions): Batch {
  const writer = new Writer(65536);
  const origins: MessageOrigin[] = [];
  let flags = 0;
  encodeMark(writer, nft.NFNL_MSG_BATCH_BEGIN, firstSeq, genId);
  requests.forEach((given, requestIndex) => {
    const request = withSetId(given, requestIndex);
    const encoding = REQUEST_ENCODINGS[request.op] as Encoding<NftRequest>;
    // Without elements there is nothing to say: a list that is missing would even be a flush.
    if ('elements' in request && request.elements.length === 0) return;
    flags = MESSAGE_FLAG.request | encoding.flags(request);
    let nextIndex = 0;
    do {
      const start = beginRequest(writer, encoding.type, flags, firstSeq + 1 + origins.length, request.family);
      encoding.attributes.encode(writer, request);
      if ('elements' in request) {
        const list = encodeElements(writer, request, nextIndex);
        nextIndex = list.nextIndex;
        origins.push({ requestIndex, start, list });
      } else {
        origins.push({ requestIndex, start });
      }
      endMessage(writer, start);
    } while ('elements' in request && nextIndex < request.elements.length);
  });
  const last = origins.at(-1);
  if (last !== undefined) patchFlags(writer, last.start, flags | MESSAGE_FLAG.ack);
  const endSeq = firstSeq + 1 + origins.length;
  encodeMark(writer, nft.NFNL_MSG_BATCH_END, endSeq);
  return { bytes: writer.bytes(), firstSeq, nextSeq: endSeq + 1, origins };
}

/**
 * What an error of the kernel is about: the request with the message of that sequence number and, given the offset of
 * its extended ack, the element. Undefined if the error is about the batch as such, as ERESTART is.
 */
export function originOf(batch: Batch, seq: number, extAckOffset?: number): Origin | undefined {
  const origin = batch.origins[seq - batch.firstSeq - 1];
  if (origin === undefined) return undefined;
  const { requestIndex, start, list } = origin;
  if (list === undefined || extAckOffset === undefined) return { requestIndex };
  const reader = new Reader('batch', batch.bytes, list.start);
  enterAttribute(reader);
  for (let elementIndex = list.firstIndex; elementIndex < list.nextIndex; elementIndex++) {
    const end = reader.end;
    if (start + extAckOffset === reader.offset) return { requestIndex, elementIndex };
    enterAttribute(reader);
    reader.offset = reader.end;
    leaveAttribute(reader, end);
  }
  return { requestIndex };
}

function withSetId(request: NftRequest, requestIndex: number): NftRequest {
  if (request.op !== 'addSet' || request.setId !== undefined) return request;
  return { ...request, setId: FIRST_AUTOMATIC_SET_ID + requestIndex };
}

/** As many elements from `firstIndex` on as one attribute holds, at least one. */
function encodeElements(writer: Writer, { op, elements }: ElementRequest, firstIndex: number): ElementList {
  const codec = op === 'addElements' ? element : elementKey;
  const start = beginNested(writer, nft.NFTA_SET_ELEM_LIST_ELEMENTS);
  let nextIndex = firstIndex;
  while (nextIndex < elements.length) {
    const elementStart = writer.length;
    encodeAttribute(writer, nextIndex - firstIndex + 1, codec, elements[nextIndex]!);
    if (writer.length - start > MAX_ATTRIBUTE_LENGTH && nextIndex > firstIndex) {
      writer.truncate(elementStart);
      break;
    }
    nextIndex++;
  }
  endAttribute(writer, start);
  return { start, firstIndex, nextIndex };
}

/** BATCH_BEGIN and BATCH_END: the resource id is the subsystem. */
function encodeMark(writer: Writer, type: number, seq: number, genId?: number): void {
  const start = beginMessage(writer, type, MESSAGE_FLAG.request, seq);
  writer.u8(0);
  writer.u8(0);
  writer.u16be(nft.NFNL_SUBSYS_NFTABLES);
  if (genId !== undefined) encodeAttribute(writer, nft.NFNL_BATCH_GENID, u32be, genId);
  endMessage(writer, start);
}
