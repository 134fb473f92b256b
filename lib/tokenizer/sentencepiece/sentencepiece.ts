/**
 * SentencePiece BPE: pieces merge by score, whatever has no piece becomes bytes. Follows the
 * behaviour of google/sentencepiece 0.2 for models with the identity normalizer, as Mistral's are.
 */
import { BaseTokenizer } from '../base-tokenizer';
import { cutAt, Literals } from '../literals';
import { ScoreMerger } from './score-merger';
import { ScoredVocabulary, SPACE_SYMBOL, type SentencePieceModel } from './scored-vocabulary';
import type { Steps } from '../slices';
import { characterLength, REPLACEMENT } from '../utf8';
import { byteOfPiece, PieceType } from '../vocabulary';

export class SentencePieceTokenizer extends BaseTokenizer {
  protected readonly mostUnits: number;
  private readonly vocabulary: ScoredVocabulary;
  /** User-defined pieces, which are found in plain text before anything merges. */
  private readonly userDefined: Literals | undefined;
  /** Texts of pieces, as they are asked for. */
  private readonly texts: string[] = [];

  constructor(private readonly model: SentencePieceModel) {
    super(model.pieces, model.sequenceTokens);
    this.vocabulary = new ScoredVocabulary(model);
    const { userDefined, byteIds, longest } = this.vocabulary;
    this.userDefined = userDefined.length === 0 ? undefined : new Literals(model.path, userDefined);
    // Without bytes any number of characters becomes one unknown token.
    this.mostUnits = byteIds === undefined ? Infinity : Math.max(1, longest);
  }

  isControl(id: number): boolean {
    return this.pieceOf(id) !== undefined && this.model.types[id] === PieceType.CONTROL;
  }

  protected *encodeSteps(ids: number[], text: string): Steps {
    if (text === '') return;
    const escaped = (this.model.addDummyPrefix ? ' ' : '')
      .concat(text)
      .replaceAll(' ', SPACE_SYMBOL);
    const merger = new ScoreMerger(this.vocabulary, ids);
    for (const part of cutAt(this.userDefined, escaped)) {
      if (part === undefined) yield;
      else if (part.id !== undefined) ids.push(part.id);
      else yield* merger.encode(part.text);
    }
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
      const isSpaced = types[id] !== PieceType.UNKNOWN && pieces[id]!.startsWith(SPACE_SYMBOL);
      text += dropSpace && isSpaced ? this.textOf(id).slice(1) : this.textOf(id);
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
