import type { Tokenizer } from '../tokenizer';
import { Utf8Stream } from './utf8-stream';

/**
 * Decodes ids as they come: whole characters only, and at the end the same text as
 * {@link Tokenizer.decode} gives for all of them (but for U+FFFD: one for each maximal broken part).
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
