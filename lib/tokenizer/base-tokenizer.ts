import { TramontaneError } from '../errors';
import { runAtOnce, runInSlices, type Steps } from './slices';
import { isTokenIds, type TokenIds } from './token-ids';
import type { Tokenizer } from './tokenizer';
import type { SequenceTokens } from './vocabulary';

interface EncodeOptions {
  readonly bos?: boolean;
}

/**
 * What all tokenizers share: the sequence tokens, the names of pieces, checks of what comes from
 * outside, and what models need beside the public {@link Tokenizer}.
 */
export abstract class BaseTokenizer implements Tokenizer {
  declare readonly bosId?: number;
  declare readonly eosId?: number;
  readonly addBos: boolean;
  readonly vocabularySize: number;
  /** Made when it is first asked for. */
  private idsOfPieces: Map<string, number> | undefined;

  /** @param pieces by id, as the file writes them; empty where there is none */
  constructor(
    private readonly names: readonly string[],
    tokens: SequenceTokens,
  ) {
    this.vocabularySize = names.length;
    if (tokens.bosId !== undefined) this.bosId = tokens.bosId;
    if (tokens.eosId !== undefined) this.eosId = tokens.eosId;
    this.addBos = tokens.addBos && tokens.bosId !== undefined;
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const ids = this.startOf(text, options);
    runAtOnce(this.encodeSteps(ids, text));
    return ids;
  }

  /** The same ids as of {@link encode}, which throws what this rejects with. */
  async encodeInSlices(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    const ids = this.startOf(text, options);
    await runInSlices(this.encodeSteps(ids, text));
    return new Int32Array(ids);
  }

  /** A number of ids that a text has at least, without encoding it. */
  fewestTokens(text: string): number {
    return Math.ceil(text.length / this.mostUnits);
  }

  decode(ids: TokenIds): string {
    if (!isTokenIds(ids)) {
      const found = Buffer.isBuffer(ids) ? 'a Buffer' : `of type ${typeof ids}`;
      throw new TramontaneError(
        'INVALID_PROMPT',
        `the ids must be an array of integers, but are ${found}`,
      );
    }
    const known: number[] = [];
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index]!;
      this.checkId(id, index);
      if (this.pieceOf(id) !== undefined) known.push(id);
    }
    return this.decodeChecked(known);
  }

  tokenBytes(id: number): Uint8Array {
    this.checkId(id);
    return this.pieceOf(id) === undefined ? NO_BYTES : this.bytesOf(id);
  }

  idOf(piece: string): number | undefined {
    if (this.idsOfPieces === undefined) {
      this.idsOfPieces = new Map();
      for (let id = 0; id < this.names.length; id++) this.idsOfPieces.set(this.names[id]!, id);
      this.idsOfPieces.delete('');
    }
    return this.idsOfPieces.get(piece);
  }

  pieceOf(id: number): string | undefined {
    // What is no number may still be a key of an array, such as '0'.
    const piece = typeof id === 'number' ? this.names[id] : undefined;
    return piece === '' ? undefined : piece;
  }

  abstract isControl(id: number): boolean;

  /**
   * The ids below a model's number of rows that have no piece. An end token may be among them, where
   * the file that names its piece was left out.
   */
  missingIds(rows: number): Int32Array {
    const missing: number[] = [];
    for (let id = 0; id < rows; id++) if (this.pieceOf(id) === undefined) missing.push(id);
    return Int32Array.from(missing);
  }

  /** UTF-16 units of a text that one id stands for at most; Infinity where text may vanish. */
  protected abstract readonly mostUnits: number;
  protected abstract encodeSteps(ids: number[], text: string): Steps;
  /** Ids that have pieces. */
  protected abstract decodeChecked(ids: readonly number[]): string;
  protected abstract bytesOf(id: number): Uint8Array;

  /** Checks the arguments; what comes before the ids of the text. */
  private startOf(text: string, options: EncodeOptions): number[] {
    checkOptions(options);
    checkText(text);
    if (options.bos !== true) return [];
    if (this.bosId === undefined) {
      throw new TramontaneError('INVALID_OPTION', 'bos: the vocabulary has no such token');
    }
    return [this.bosId];
  }

  private checkId(id: unknown, index?: number): void {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID) return;
    const what = index === undefined ? 'the id' : `the id at index ${index}`;
    throw new TramontaneError(
      'INVALID_PROMPT',
      `${what} is ${shownId(id)}; ids are integers from 0 to ${this.vocabularySize - 1}`,
    );
  }
}

const NO_BYTES = new Uint8Array(0);

/** Larger numbers are no ids of any model: rows are counted with 32 bits. */
const MAX_ID = 2 ** 31 - 1;

function shownId(id: unknown): string {
  if (typeof id === 'number' || typeof id === 'bigint' || id === undefined) return String(id);
  return typeof id === 'string' ? JSON.stringify(id) : `a ${typeof id}`;
}

function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new TramontaneError('INVALID_OPTION', 'the options of encode are no object');
  }
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
