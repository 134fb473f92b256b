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
    checkOptions(options);
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
    if (!Array.isArray(ids)) {
      throw new TramontaneError('INVALID_PROMPT', `the ids are not an array but ${typeof ids}`);
    }
    for (let index = 0; index < ids.length; index++) this.checkId(ids[index], index);
    return this.decodeChecked(ids);
  }

  tokenBytes(id: number): Uint8Array {
    this.checkId(id);
    return this.bytesOf(id);
  }

  protected abstract encodeInto(ids: number[], text: string): void;
  protected abstract decodeChecked(ids: readonly number[]): string;
  protected abstract bytesOf(id: number): Uint8Array;

  private checkId(id: unknown, index?: number): void {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < this.vocabularySize) return;
    const what = index === undefined ? 'the id' : `the id at index ${index}`;
    const range = `0 to ${this.vocabularySize - 1}`;
    throw new TramontaneError('INVALID_PROMPT', `${what} is ${String(id)}; there are ${range}`);
  }
}

function checkOptions(options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (name !== 'bos') throw new TramontaneError('INVALID_OPTION', `${name}: no option of encode`);
    if (value !== undefined && typeof value !== 'boolean') {
      throw new TramontaneError('INVALID_OPTION', `bos is a ${typeof value}, not true or false`);
    }
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
