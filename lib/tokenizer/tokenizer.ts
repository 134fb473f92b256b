import type { TokenIds } from './token-ids';

/**
 * Text to token ids and back.
 *
 * A vocabulary is a list of pieces, and a token's id is its piece's place in it. Most pieces are
 * parts of text (`▁the` in SentencePiece's writing, `Ġthe` in GPT-2's), some are single bytes
 * (`<0x0A>`), and some are control tokens (`</s>`, `[INST]`, `<|im_end|>`), which mark something and
 * are no text. Models may have more rows than the vocabulary has pieces: ids without a piece have no
 * text either, and no model generates them.
 */
export interface Tokenizer {
  /** Ids are below this; a few of them may have no piece. */
  readonly vocabularySize: number;
  /** The control token that begins a sequence. */
  readonly bosId?: number;
  /** The control token that ends a sequence. A model may have further end tokens. */
  readonly eosId?: number;
  /** Whether a text prompt starts with {@link bosId}, as the file says. */
  readonly addBos: boolean;
  /**
   * The ids of a text. Control tokens written out in the text (`</s>`, `[INST]`) are ordinary text:
   * use {@link idOf} for their ids.
   * @param options.bos put {@link bosId} first. @default false
   * @throws TramontaneError INVALID_PROMPT for what is no text, or holds half of a surrogate pair;
   *   INVALID_OPTION for `bos` in a vocabulary without one
   */
  encode(text: string, options?: { readonly bos?: boolean }): number[];
  /**
   * The text of a sequence of ids, as the reference implementation gives it. Control tokens, and ids
   * without a piece, add nothing. Where bytes make no character, a generation's text may have fewer
   * U+FFFD: it counts broken characters, SentencePiece broken bytes.
   * @throws TramontaneError INVALID_PROMPT for what is no id
   */
  decode(ids: TokenIds): string;
  /**
   * The bytes one id adds in the middle of a text; none for control tokens and ids without a piece.
   * @throws TramontaneError INVALID_PROMPT for what is no id
   */
  tokenBytes(id: number): Uint8Array;
  /**
   * The id of a piece, as the vocabulary writes it: `'<|im_end|>'`, `'▁the'`, `'<0x0A>'`. The last
   * of several that are the same; undefined where there is none.
   */
  idOf(piece: string): number | undefined;
  /** The piece of an id, as the vocabulary writes it; undefined where there is none. */
  pieceOf(id: number): string | undefined;
  /** Whether an id is a control token, which no text is encoded to, and which has no text. */
  isControl(id: number): boolean;
}
