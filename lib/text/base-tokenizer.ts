import { TramontaneError } from '../errors';
import type { Tokenizer } from './tokenizer';
import type { SequenceTokens } from './vocabulary';

/** What all tokenizers share: the sequence tokens, and checks of what comes from outside. */
export abstract class BaseTokenizer implements Tokenizer {
  declare readonly bosId?: number;
  declare readonly eosId?: number;
  readonly addBos: boolean;
  abstract readonly vocabularySize: number;

  constructor(tokens: SequenceTokens) {
    if (tokens.bosId !== undefined) this.bosId = tokens.bosId;
    if (tokens.eosId !== undefined) this.eosId = tokens.eosId;
    this.addBos = tokens.addBos && tokens.bosId !== undefined;
  }

  encode(text: string, options: { readonly bos?: boolean } = {}): number[] {
    for (const name of Object.keys(options)) {
      if (name !== 'bos')
        throw new TramontaneError('INVALID_OPTION', `encode has no option ${name}`);
    }
    checkText(text);
    const ids: number[] = [];
    if (options.bos === true) {
      if (this.bosId === undefined) {
        throw new TramontaneError('INVALID_OPTION', 'bos: the vocabulary has no such token');
      }
      ids.push(this.bosId);
    }
    this.encodeInto(ids, text);
    return ids;
  }

  decode(ids: readonly number[]): string {
    ids.forEach((id, index) => {
      this.checkId(id, `the id at index ${index}`);
    });
    return this.decodeChecked(ids);
  }

  tokenBytes(id: number): Uint8Array {
    this.checkId(id, 'the id');
    return this.bytesOf(id);
  }

  protected abstract encodeInto(ids: number[], text: string): void;
  protected abstract decodeChecked(ids: readonly number[]): string;
  protected abstract bytesOf(id: number): Uint8Array;

  private checkId(id: number, what: string): void {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabularySize) return;
    throw new TramontaneError(
      'INVALID_PROMPT',
      `${what} is ${String(id)}; the vocabulary's are 0 to ${this.vocabularySize - 1}`,
    );
  }
}

function checkText(text: unknown): void {
  if (typeof text !== 'string') {
    throw new TramontaneError('INVALID_PROMPT', `the text is not a string but ${typeof text}`);
  }
  const lone = text.search(/\p{Surrogate}/u);
  if (lone >= 0) {
    const unit = text.charCodeAt(lone).toString(16).toUpperCase();
    throw new TramontaneError(
      'INVALID_PROMPT',
      `the text has half a character, the lone surrogate U+${unit}, at index ${lone}`,
    );
  }
}
