/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabularySize: number;
  readonly bosId?: number;
  readonly eosId?: number;
  /** Whether a text prompt starts with {@link bosId}, as the file says. */
  readonly addBos: boolean;
  /**
   * The ids of a text. Control tokens written out in the text (`</s>`, `[INST]`) are ordinary text.
   * @param options.bos put {@link bosId} first. @default false
   */
  encode(text: string, options?: { readonly bos?: boolean }): number[];
  /** The text of a sequence of ids, as the reference implementation gives it. */
  decode(ids: readonly number[]): string;
  /** The bytes one id adds in the middle of a text; none for control tokens. */
  tokenBytes(id: number): Uint8Array;
}
