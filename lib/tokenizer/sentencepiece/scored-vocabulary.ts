import { invalid, quoted, unsupported } from '../../files/problems';
import { Seams } from '../seams';
import { byteOfPiece, PieceType, type SequenceTokens } from '../vocabulary';

/** U+2581, which stands for a space in pieces. */
export const SPACE_SYMBOL = '\u2581';

/** What a SentencePiece model says, from whichever kind of file. */
export interface SentencePieceModel {
  /** For messages. */
  readonly path: string;
  readonly pieces: readonly string[];
  readonly scores: ArrayLike<number>;
  /** Values of {@link PieceType}. */
  readonly types: ArrayLike<number>;
  /** Whether a space is put before a text, and dropped again when decoding. */
  readonly addDummyPrefix: boolean;
  /** What an unknown token decodes to. */
  readonly unknownSurface: string;
  readonly sequenceTokens: SequenceTokens;
}

/** Of pieces that merge; SentencePiece makes none above 16 unless told to. Bounds each lookup. */
const MAX_PIECE = 1024;

/** The pieces by what they are good for. */
export class ScoredVocabulary {
  /** Pieces that text can merge into, the last of the same ones: a Map, so that `__proto__` is a piece like any other. */
  readonly ids = new Map<string, number>();
  readonly userDefined: [piece: string, id: number][] = [];
  /** Id of each byte; undefined where characters without a piece are unknown. */
  readonly byteIds: Int32Array | undefined;
  readonly unknownId: number | undefined;
  /** UTF-16 units of the longest piece. */
  longest = 0;
  hasUnused = false;
  /** None where unused pieces are: how one is taken apart may depend on text far away. */
  readonly seams: Seams | undefined;

  /** @throws TramontaneError INVALID_FILE for pieces that contradict each other */
  constructor(readonly model: SentencePieceModel) {
    const { path, pieces, scores, types } = model;
    const bytes: number[] = [];
    for (let id = 0; id < pieces.length; id++) {
      if (!Number.isFinite(scores[id])) throw this.invalidPiece(id, `has the score ${scores[id]}`);
      const type = types[id];
      if (type === PieceType.BYTE) bytes.push(id);
      else if (type === PieceType.UNKNOWN) this.unknownId ??= id;
      else if (type !== PieceType.CONTROL) this.addMergeable(id);
    }
    this.byteIds = bytes.length === 0 ? undefined : this.placeBytes(bytes);
    if (bytes.length === 0 && this.unknownId === undefined) {
      throw invalid(path, 'has neither byte pieces nor an unknown piece');
    }
    this.seams = this.hasUnused ? undefined : new Seams(this.ids.keys());
  }

  private addMergeable(id: number): void {
    const piece = this.model.pieces[id]!;
    const type = this.model.types[id];
    if (type === PieceType.USER_DEFINED) this.userDefined.push([piece, id]);
    else if (type === PieceType.UNUSED) this.hasUnused = true;
    else if (type !== PieceType.NORMAL) throw this.invalidPiece(id, `has the unknown type ${type}`);
    if (piece === '') return;
    if (piece.length > MAX_PIECE) {
      throw unsupported(this.model.path, `piece ${id} has ${piece.length} characters`);
    }
    this.ids.set(piece, id);
    this.longest = Math.max(this.longest, piece.length);
  }

  private placeBytes(bytes: readonly number[]): Int32Array {
    const byteIds = new Int32Array(256).fill(-1);
    for (const id of bytes) {
      const byte = byteOfPiece(this.model.pieces[id]!);
      if (byte < 0) throw this.invalidPiece(id, 'is a byte, but not written like <0x0A>');
      if (byteIds[byte]! >= 0) throw this.invalidPiece(id, 'is a byte that was there before');
      byteIds[byte] = id;
    }
    if (bytes.length === 256) return byteIds;
    throw invalid(this.model.path, `has ${bytes.length} of the 256 byte pieces`);
  }

  private invalidPiece(id: number, problem: string): Error {
    return invalid(this.model.path, `piece ${id}, ${quoted(this.model.pieces[id])}, ${problem}`);
  }
}
