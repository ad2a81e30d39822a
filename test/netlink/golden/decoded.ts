// What a message of nft must decode to, said by the request that made it. Values that nft spells out though they go
// without saying are left out of the wanted objects by hand: the rules below know nothing of the codecs.

import type { NetlinkMessage } from '../../../src/netlink/message.ts';
import type { NftRequest } from '../../../src/netlink/nftables/batch.ts';
import type { Expression } from '../../../src/netlink/nftables/expression.ts';
import { decodeNotification } from '../../../src/netlink/nftables/notification.ts';

type Plain = Record<string, unknown>;

const EVENTS: Readonly<Record<NftRequest['op'], string>> = {
  addTable: 'newTable',
  deleteTable: 'deleteTable',
  addChain: 'newChain',
  deleteChain: 'deleteChain',
  flushChain: 'deleteRule',
  addRule: 'newRule',
  deleteRule: 'deleteRule',
  addSet: 'newSet',
  deleteSet: 'deleteSet',
  flushSet: 'deleteElements',
  addElements: 'newElements',
  deleteElements: 'deleteElements',
};

export function decodedRequest(
  request: NftRequest,
  message: NetlinkMessage,
): { got: unknown; want: unknown } {
  return {
    got: decodeNotification(message),
    want: { event: EVENTS[request.op], value: wantedValue(request) },
  };
}

function wantedValue(request: NftRequest): Plain {
  const { op: _, ...rest } = request;
  const plain: Plain = rest;
  switch (request.op) {
    case 'addTable':
      return without(plain, { flags: 0 });
    case 'addChain':
      return request.base === undefined
        ? plain
        : { ...plain, base: without({ ...request.base }, { policy: 'accept' }) };
    case 'flushChain':
    case 'deleteRule':
      return { ...plain, expressions: [] };
    case 'flushSet':
      return { ...plain, elements: [] };
    case 'addRule':
      return { ...plain, expressions: request.expressions.map(canonical) };
    case 'addSet': {
      const { op, family, table, set, setId, expressions, ...declaration } = request;
      const list = expressions === undefined ? {} : { expressions: expressions.map(canonical) };
      return { family, table, set, declaration: { ...declaration, ...list } };
    }
    case 'deleteSet':
      return { ...plain, declaration: { keyType: 0, keyLength: 0, isMap: false, flags: {} } };
    default:
      return without(plain, { isExclusive: true });
  }
}

/** An expression as it decodes. */
export function canonical(expression: Expression): Plain {
  const plain: Plain = { ...expression };
  switch (expression.kind) {
    case 'bitwise':
      return without(plain, { op: 'boolean' });
    case 'numgen':
    case 'hash':
      return without(without(plain, { offset: 0 }), { type: 'jhash' });
    case 'limit':
      return without(plain, { burst: 0, type: 'packets', isInverted: false });
    case 'reject':
      return expression.type === 'tcp-rst' ? without(plain, { code: 0 }) : plain;
    case 'nat':
    case 'masquerade':
    case 'redirect':
      // Bits 1 and 2 say what the registers say.
      return without({ ...plain, flags: (expression.flags ?? 0) & ~3 }, { flags: 0 });
    default:
      return plain;
  }
}

/** The object less those of its fields that have the given values. */
function without(object: Plain, values: Plain): Plain {
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => values[name] !== value));
}
