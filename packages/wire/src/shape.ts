/** What the codecs of this package tell the compiler about themselves. */
import type { Codec } from './codec.js';

// biome-ignore lint/suspicious/noExplicitAny: a part may code any type
type Part = Codec<any>;

/** The fields of a structure in wire order: codecs, or the codecs among which the field named `selector` picks. */
export type ShapeFields = Readonly<
  Record<string, Part | { readonly selector: string; readonly cases: Readonly<Record<number, Part>> }>
>;

/** The format of a codec as data. */
export type Shape =
  | { readonly kind: 'uint'; readonly octets: 1 | 2 | 4 | 8; readonly littleEndian: boolean }
  | { readonly kind: 'empty' }
  | { readonly kind: 'bytes'; readonly length: number }
  | { readonly kind: 'rest'; readonly max: number }
  | { readonly kind: 'sizedBytes'; readonly length: Part; readonly min: number; readonly max: number }
  | { readonly kind: 'oneOf'; readonly base: Part; readonly values: readonly number[] }
  | { readonly kind: 'within'; readonly base: Part; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly kind: 'flags'; readonly base: Part; readonly mask: number }
  | { readonly kind: 'constant'; readonly base: Part; readonly value: number | bigint }
  | { readonly kind: 'struct'; readonly fields: ShapeFields }
  | { readonly kind: 'array'; readonly count: Part; readonly element: Part; readonly max: number }
  | { readonly kind: 'repeated'; readonly element: Part; readonly max: number }
  | {
      readonly kind: 'sized';
      readonly length: Part;
      readonly inner: Part;
      readonly max: number;
      readonly optional: boolean;
    }
  | {
      readonly kind: 'mapped';
      readonly inner: Part;
      readonly to: (value: never) => unknown;
      readonly from: (value: never) => unknown;
    }
  | { readonly kind: 'checked'; readonly inner: Part; readonly problem: (value: never) => string | undefined };

// Beside the codecs and not in them: a codec that someone copies and changes must lose its shape.
const shapes = new WeakMap<Part, Shape>();

/** Notes the shape of `codec` and returns it. */
/* @__NO_SIDE_EFFECTS__ */
export function shaped<C extends Part>(codec: C, shape: Shape): C {
  shapes.set(codec, shape);
  return codec;
}

/** The shape of `codec`, or `undefined` for one that was made by hand. */
export function shapeOf(codec: Part): Shape | undefined {
  return shapes.get(codec);
}
