/**
 * SentencePiece BPE: pieces merge by score, whatever has no piece becomes bytes. Follows the
 * behaviour of google/sentencepiece 0.2 for models with the identity normalizer, as Mistral's are.
 */
import { invalid, quoted } from '../files/problems';
import { BaseTokenizer } from './base-tokenizer';
import { Literals } from './literals';
import { KEPT_NODES, NEVER, PairMerger } from './pair-merger';
import { Seams } from './seams';
import { characterLength, REPLACEMENT } from './utf8';
import { byteOfPiece, PieceType, type SequenceTokens } from './vocabulary';

/** U+2581, which stands for a space in pieces. */
export const SPACE_SYMBOL = '\u2581';

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

export class SentencePieceTokenizer extends BaseTokenizer {
  readonly vocabularySize: number;
  private readonly vocabulary: ScoredVocabulary;
  private readonly merger: ScoreMerger;
  /** User-defined pieces, which are found in plain text before anything merges. */
  private readonly userDefined: Literals | undefined;
  /** Texts of pieces, as they are asked for. */
  private readonly texts: string[] = [];

  constructor(private readonly model: SentencePieceModel) {
    super(model.sequenceTokens);
    this.vocabularySize = model.pieces.length;
    this.vocabulary = new ScoredVocabulary(model);
    this.merger = new ScoreMerger(this.vocabulary);
    const { userDefined } = this.vocabulary;
    this.userDefined = userDefined.length === 0 ? undefined : new Literals(userDefined);
  }

  protected encodeInto(ids: number[], text: string): void {
    if (text === '') return;
    const escaped = (this.model.addDummyPrefix ? ' ' : '')
      .concat(text)
      .replaceAll(' ', SPACE_SYMBOL);
    if (this.userDefined === undefined) {
      this.merger.encode(ids, escaped);
      return;
    }
    this.userDefined.cut(
      escaped,
      (between) => {
        this.merger.encode(ids, between);
      },
      (id) => ids.push(id),
    );
  }

  /**
   * As SentencePiece decodes: one space is dropped from a first piece that is neither control, byte
   * nor unknown, and each byte of a run of byte pieces that is not UTF-8 becomes U+FFFD.
   */
  protected decodeChecked(ids: readonly number[]): string {
    const { types, pieces } = this.model;
    let text = '';
    let run: number[] = [];
    let dropSpace = this.model.addDummyPrefix;
    for (const id of ids) {
      if (types[id] === PieceType.BYTE) {
        run.push(byteOfPiece(pieces[id]!));
        dropSpace = false;
        continue;
      }
      if (run.length > 0) {
        text += textOfBytes(run);
        run = [];
      }
      if (types[id] === PieceType.CONTROL) continue;
      const piece = this.textOf(id);
      const isSpaced = types[id] !== PieceType.UNKNOWN && piece.startsWith(' ');
      text += dropSpace && isSpaced ? piece.slice(1) : piece;
      dropSpace = false;
    }
    return text + textOfBytes(run);
  }

  protected bytesOf(id: number): Uint8Array {
    return this.model.types[id] === PieceType.BYTE
      ? Uint8Array.of(byteOfPiece(this.model.pieces[id]!))
      : encoder.encode(this.textOf(id));
  }

  /** The text of a piece that is not a byte, in the middle of a text. */
  private textOf(id: number): string {
    const { types, pieces, unknownSurface } = this.model;
    if (types[id] === PieceType.CONTROL) return '';
    if (types[id] === PieceType.UNKNOWN) return unknownSurface;
    return (this.texts[id] ??= pieces[id]!.replaceAll(SPACE_SYMBOL, ' '));
  }
}

const encoder = new TextEncoder();

/**
 * The text of bytes, with U+FFFD for each byte that is not part of a character. (Decoders give one
 * U+FFFD for the beginning of a character that is cut short, e2 98; SentencePiece gives two.)
 */
function textOfBytes(bytes: readonly number[]): string {
  const buffer = Buffer.from(bytes);
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(buffer, at);
    text += length > 0 ? buffer.toString('utf8', at, at + length) : REPLACEMENT;
    at += Math.max(length, 1);
  }
  return text;
}

/** The pieces by what they are good for. */
class ScoredVocabulary {
  /** Pieces that text can merge into: a Map, so that `__proto__` is a piece like any other. */
  readonly ids = new Map<string, number>();
  readonly userDefined: [string, number][] = [];
  /** Id of each byte, or none at all. */
  readonly byteIds: Int32Array | undefined;
  readonly unknownId: number | undefined;
  /** UTF-16 units of the longest piece. */
  readonly longest: number;
  readonly hasUnused: boolean;

  constructor(readonly model: SentencePieceModel) {
    const { path, pieces, scores, types } = model;
    const byteIds = new Int32Array(256).fill(-1);
    let bytes = 0;
    let longest = 0;
    let hasUnused = false;
    for (let id = 0; id < pieces.length; id++) {
      const piece = pieces[id]!;
      const type = types[id]!;
      if (!Number.isFinite(scores[id])) {
        throw invalid(path, `the score of piece ${id}, ${quoted(piece)}, is ${scores[id]}`);
      }
      switch (type) {
        case PieceType.UNKNOWN:
          this.unknownId ??= id;
          break;
        case PieceType.CONTROL:
          break;
        case PieceType.BYTE: {
          const byte = byteOfPiece(piece);
          if (byte < 0)
            throw invalid(path, `byte piece ${id} is ${quoted(piece)}, not like <0x0A>`);
          if (byteIds[byte]! >= 0)
            throw invalid(path, `byte piece ${quoted(piece)} is there twice`);
          byteIds[byte] = id;
          bytes++;
          break;
        }
        case PieceType.NORMAL:
        case PieceType.USER_DEFINED:
        case PieceType.UNUSED:
          if (piece === '') break;
          if (this.ids.has(piece)) {
            const first = this.ids.get(piece)!;
            throw invalid(path, `pieces ${first} and ${id} are both ${quoted(piece)}`);
          }
          this.ids.set(piece, id);
          longest = Math.max(longest, piece.length);
          if (type === PieceType.USER_DEFINED) this.userDefined.push([piece, id]);
          if (type === PieceType.UNUSED) hasUnused = true;
          break;
        default:
          throw invalid(path, `piece ${id}, ${quoted(piece)}, has the unknown type ${type}`);
      }
    }
    if (bytes > 0 && bytes < 256) throw invalid(path, `${bytes} of the 256 byte pieces`);
    if (bytes === 0 && this.unknownId === undefined) {
      throw invalid(path, 'neither byte pieces nor an unknown piece');
    }
    this.byteIds = bytes === 0 ? undefined : byteIds;
    this.longest = longest;
    this.hasUnused = hasUnused;
  }
}

/** Merges the characters of a text by the scores of the pieces they make, highest first. */
class ScoreMerger extends PairMerger {
  private text = '';
  /** Where each node starts in the text; a node ends where the next one starts. */
  private starts = new Int32Array(0);
  /** Piece of each node, and of it and the next node together; NONE for no piece. */
  private nodeIds = new Int32Array(0);
  private pairIds = new Int32Array(0);
  /** Unused pieces that pairs made, and the length of the left one of the pair. */
  private readonly unused = new Map<string, number>();
  /** None where unused pieces are: how one is taken apart may depend on text far away. */
  private readonly seams: Seams | undefined;

  constructor(private readonly vocabulary: ScoredVocabulary) {
    super();
    this.seams = vocabulary.hasUnused ? undefined : new Seams(vocabulary.ids.keys());
  }

  encode(ids: number[], text: string): void {
    this.text = text;
    for (let start = 0; start < text.length;) {
      const end = this.seams?.endOfPart(text, start) ?? text.length;
      this.encodePart(ids, start, end);
      start = end;
    }
    this.text = '';
    this.unused.clear();
    this.release();
  }

  private encodePart(ids: number[], start: number, end: number): void {
    const count = this.placeNodes(start, end);
    this.merge(count);
    for (let node = 0; node < count; node = this.next[node]!) {
      const id = this.nodeIds[node]!;
      const from = this.starts[node]!;
      const to = this.starts[this.next[node]!]!;
      if (id === NONE) this.emitUnknown(ids, this.text.slice(from, to));
      else if (this.vocabulary.model.types[id] !== PieceType.UNUSED) ids.push(id);
      else this.takeApart(ids, this.text.slice(from, to));
    }
  }

  protected priority(left: number, right: number): number {
    const start = this.starts[left]!;
    const end = this.starts[this.next[right]!]!;
    const { ids, longest, hasUnused, model } = this.vocabulary;
    if (end - start > longest) return NEVER;
    const piece = this.text.slice(start, end);
    const id = ids.get(piece);
    if (id === undefined) return NEVER;
    if (hasUnused && model.types[id] === PieceType.UNUSED) {
      this.unused.set(piece, this.starts[right]! - start);
    }
    this.pairIds[left] = id;
    return -model.scores[id]!;
  }

  protected join(left: number): void {
    this.nodeIds[left] = this.pairIds[left]!;
  }

  protected override release(): void {
    super.release();
    if (this.starts.length > KEPT_NODES + 1) this.reserveNodes(KEPT_NODES);
  }

  /** One node a character; gives their number. */
  private placeNodes(start: number, end: number): number {
    const { text, vocabulary } = this;
    if (this.starts.length <= end - start) this.reserveNodes(Math.max(KEPT_NODES, end - start));
    let count = 0;
    for (let at = start; at < end; count++) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      this.starts[count] = at;
      this.nodeIds[count] = vocabulary.ids.get(character) ?? NONE;
      at += character.length;
    }
    this.starts[count] = end;
    return count;
  }

  private reserveNodes(count: number): void {
    this.starts = new Int32Array(count + 1);
    this.nodeIds = new Int32Array(count);
    this.pairIds = new Int32Array(count);
  }

  /** An unused piece becomes what it was merged from, and so on. */
  private takeApart(ids: number[], piece: string): void {
    const waiting = [piece];
    for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
      const id = this.vocabulary.ids.get(part);
      const leftLength = this.unused.get(part);
      if (leftLength !== undefined) waiting.push(part.slice(leftLength), part.slice(0, leftLength));
      else if (id === undefined) this.emitUnknown(ids, part);
      else ids.push(id);
    }
  }

  private emitUnknown(ids: number[], character: string): void {
    const { byteIds, unknownId } = this.vocabulary;
    if (byteIds !== undefined) {
      const code = character.charCodeAt(0);
      if (code < 0x80) ids.push(byteIds[code]!);
      else for (const byte of encoder.encode(character)) ids.push(byteIds[byte]!);
    } else if (unknownId !== undefined && ids.at(-1) !== unknownId) {
      ids.push(unknownId);
    }
  }
}

const NONE = -1;
