import type { TramontaneError } from '../errors';
import { invalid, quoted } from '../files/problems';

/** What a piece of a vocabulary is, numbered as in tokenizer.model and GGUF. */
export const PieceType = {
  NORMAL: 1,
  UNKNOWN: 2,
  CONTROL: 3,
  USER_DEFINED: 4,
  UNUSED: 5,
  BYTE: 6,
} as const;

/** Ids of beginning and end of sequence, and whether a prompt starts with the former. */
export interface SequenceTokens {
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly addBos: boolean;
}

/**
 * Sequence tokens as far as the model has rows for them.
 * @param rows of the model; Infinity for a tokenizer by itself
 */
export function sequenceTokensWithin(rows: number, tokens: SequenceTokens): SequenceTokens {
  const within = (id: number | undefined): number | undefined =>
    id !== undefined && id < rows ? id : undefined;
  return { ...tokens, bosId: within(tokens.bosId), eosId: within(tokens.eosId) };
}

/**
 * The types of pieces for a model of so many rows. A piece beyond them, such as a `<pad>` that was
 * added for training, is a control piece then, so that no text becomes it.
 * @throws TramontaneError INVALID_FILE if it is one that a vocabulary needs for text
 */
export function typesWithin(
  rows: number,
  path: string,
  pieces: readonly string[],
  types: ArrayLike<number>,
): Int32Array {
  return Int32Array.from(types, (type, id) => {
    if (id < rows) return type;
    if (pieces[id] === '' || OPTIONAL.has(type)) return PieceType.CONTROL;
    throw tooFewRows(path, id, pieces[id]!, rows);
  });
}

/** Types of pieces without which a vocabulary can do. */
const OPTIONAL: ReadonlySet<number> = new Set([
  PieceType.CONTROL,
  PieceType.USER_DEFINED,
  PieceType.UNUSED,
]);

export function tooFewRows(path: string, id: number, piece: string, rows: number): TramontaneError {
  const problem = `piece ${id}, ${quoted(piece)}, is text, but the model has only ${rows} rows`;
  return invalid(path, `${problem}: the tokenizer is of another model`);
}

/** The byte that the piece `<0x0A>` stands for, -1 for other pieces. */
export function byteOfPiece(piece: string): number {
  if (piece.length !== 6) return -1;
  return /^<0x[0-9A-Fa-f]{2}>$/.test(piece) ? Number.parseInt(piece.slice(3, 5), 16) : -1;
}
