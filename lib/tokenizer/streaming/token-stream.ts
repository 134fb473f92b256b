import type { Tokenizer } from '../tokenizer';
import { Utf8Stream } from './utf8-stream';

/**
 * Decodes ids as they come, whole characters only. All of it together is the text that
 * {@link Tokenizer.decode} gives, but where a vocabulary of pieces and bytes has bytes that are no
 * character: a stream has one U+FFFD for a maximal broken part, and looks past control tokens, while
 * SentencePiece has one for each byte, and ends a run of bytes at a control token.
 * @example e2, </s>, 98 ba is "☺" in a stream, and "\ufffd\ufffd\ufffd" by decode()
 */
export class TokenStream {
  private readonly utf8 = new Utf8Stream();
  private atStart: boolean;

  /** @param options.atStart whether the ids begin a text, or go on with one. @default true */
  constructor(
    private readonly tokenizer: Tokenizer,
    options: { readonly atStart?: boolean } = {},
  ) {
    this.atStart = options.atStart ?? true;
  }

  /** The text that is complete with this id; often none. */
  push(id: number): string {
    const bytes = this.tokenizer.tokenBytes(id);
    if (bytes.length === 0) return '';
    if (!this.atStart) return this.utf8.push(bytes);
    this.atStart = false;
    return this.utf8.push(bytes.subarray(this.droppedAtStart(id, bytes)));
  }

  /** What is left at the end: the beginning of a character becomes U+FFFD. */
  flush(): string {
    return this.utf8.flush();
  }

  /**
   * Bytes that decoding drops from a token that comes first, which is what alone it is shorter by:
   * 1 of "▁Hello" where there is a dummy space.
   */
  private droppedAtStart(id: number, bytes: Uint8Array): number {
    return Math.max(0, bytes.length - Buffer.byteLength(this.tokenizer.decode([id])));
  }
}
