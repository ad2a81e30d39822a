// What building a model object from a raw one can come to. Builders never throw: input is data, not a bug.

/** Something odd that cost only a part of the object. */
export interface Warning {
  /** Stable, for machines. */
  readonly code: string;
  /** One sentence that names the field. */
  readonly reason: string;
}

/**
 * - `built`: usable; `warnings` tell what was left out of it.
 * - `ignored`: a sound object that is none of our business.
 * - `invalid`: an object that the API server would have refused; its last good state stays in force.
 */
export type Built<T> =
  | { readonly kind: 'built'; readonly value: T; readonly warnings: readonly Warning[] }
  | { readonly kind: 'ignored'; readonly reason: string }
  | { readonly kind: 'invalid'; readonly code: string; readonly reason: string };
