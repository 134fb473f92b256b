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

/** The byte that the piece `<0x0A>` stands for, -1 for other pieces. */
export function byteOfPiece(piece: string): number {
  if (piece.length !== 6) return -1;
  return /^<0x[0-9A-Fa-f]{2}>$/.test(piece) ? Number.parseInt(piece.slice(3, 5), 16) : -1;
}
