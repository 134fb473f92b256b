import { types } from 'node:util';

/** A list of token ids: an array, or a typed array of integers of at most 32 bits. */
export type TokenIds =
  readonly number[] | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

const TYPED_ARRAYS = /^(Int|Uint)(8|16|32)Array$/;

/**
 * Whether a value is a list that may hold token ids; its elements are not looked at. A Buffer is
 * none: what it holds is bytes of a text.
 */
export function isTokenIds(value: unknown): value is ArrayLike<unknown> {
  if (Array.isArray(value)) return true;
  return (
    types.isTypedArray(value) &&
    TYPED_ARRAYS.test(value[Symbol.toStringTag]) &&
    !Buffer.isBuffer(value)
  );
}
