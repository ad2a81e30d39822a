// The frame around every expression: a name and the attributes that belong to it (NFTA_EXPR_NAME, NFTA_EXPR_DATA).
// An expression that has no codec here, or a value it has no name for, is kept as bytes: a rule that somebody else
// wrote must not keep us from reading the rest, and re-encodes to what it was.

import { attr, encodeAttribute, required, struct } from '../attribute.ts';
import { bytes, type Codec, string, UnknownValueError } from '../codec.ts';
import type { Reader } from '../reader.ts';
import * as nft from './uapi.ts';

/** `data` is a binary string of the attributes. */
export interface UnknownExpression {
  readonly kind: 'unknown';
  readonly name: string;
  readonly data?: string;
}

/** For each kind, the kernel's name for it and the codec of its attributes. */
export type ExpressionKinds = Readonly<Record<string, readonly [name: string, codec: Codec<object>]>>;

type FieldsOf<Entry> = Entry extends readonly [string, Codec<infer T>] ? T : never;

/** Objects told apart by `kind`. */
export type ExpressionOf<Kinds extends ExpressionKinds> =
  | { [Kind in keyof Kinds]: { readonly kind: Kind } & FieldsOf<Kinds[Kind]> }[keyof Kinds]
  | UnknownExpression;

/** Where the attributes of an expression are, to be read once its name is known. */
const extent = {
  isNested: true,
  encode: () => {},
  decode(reader: Reader) {
    const start = reader.offset;
    reader.offset = reader.end;
    return { start, end: reader.end };
  },
};

const frame = struct({
  name: required(nft.NFTA_EXPR_NAME, string),
  extent: attr(nft.NFTA_EXPR_DATA, extent),
});

const unknown = struct({
  name: required(nft.NFTA_EXPR_NAME, string),
  data: attr(nft.NFTA_EXPR_DATA, { ...bytes, isNested: true }),
});

/** A codec for the given kinds of expressions. */
export function expressionCodec<const Kinds extends ExpressionKinds>(
  kinds: Kinds,
): Codec<ExpressionOf<Kinds>> {
  const kindsByName = new Map(Object.entries(kinds).map(([kind, [name, codec]]) => [name, { kind, codec }]));

  return {
    isNested: true,
    encode(writer, expression) {
      if (expression.kind === 'unknown') {
        unknown.encode(writer, expression as UnknownExpression);
        return;
      }
      const [name, codec] = kinds[expression.kind as string]!;
      encodeAttribute(writer, nft.NFTA_EXPR_NAME, string, name);
      encodeAttribute(writer, nft.NFTA_EXPR_DATA, codec, expression);
    },
    decode(reader) {
      const { offset: start, end } = reader;
      const { name, extent: data = { start: end, end } } = frame.decode(reader);
      const known = kindsByName.get(name);
      try {
        if (known !== undefined) {
          reader.offset = data.start;
          reader.end = data.end;
          const fields = known.codec.decode(reader);
          return { kind: known.kind, ...fields } as ExpressionOf<Kinds>;
        }
      } catch (error) {
        if (!(error instanceof UnknownValueError)) throw error;
      } finally {
        reader.offset = end;
        reader.end = end;
      }
      reader.offset = start;
      return { kind: 'unknown', ...unknown.decode(reader) };
    },
  };
}
