/** Ids put together segment by segment: control tokens by id, text by the tokenizer. */
import { MessagesError, TramontaneError } from '../errors';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** Stands before a text that is to be encoded as if in the middle of one; no piece begins with it. */
const SENTINEL = '☺';

/** A range of ids that the model is to write: an answer or calls of tools, and what ends them. */
export interface Answer {
  readonly start: number;
  /** Behind the last. */
  readonly end: number;
  /** Of the message. */
  readonly index: number;
}

/** A conversation as ids. */
export interface EncodedConversation {
  readonly ids: number[];
  /** In order. */
  readonly answers: readonly Answer[];
}

/**
 * Builds the ids of a conversation. Whatever text comes in, it adds no marker: where the vocabulary
 * finds one in plain text (some fine-tunes' files call theirs user-defined), the text is encoded in
 * two halves there.
 */
export class Segments {
  readonly ids: number[] = [];
  readonly answers: Answer[] = [];
  private readonly markerIds: ReadonlySet<number | undefined>;

  /** @param markers pieces the format is built with, which no text may become */
  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly markers: readonly string[],
  ) {
    this.markerIds = new Set(markers.map((marker) => tokenizer.idOf(marker)));
  }

  /** A control token by its piece. */
  control(piece: string): this {
    const id = this.tokenizer.idOf(piece);
    if (id === undefined) {
      throw new MessagesError(
        'TokenizerException',
        `the vocabulary has no ${piece}: the model was not trained for this chat format`,
      );
    }
    this.ids.push(id);
    return this;
  }

  bos(): this {
    const { bosId } = this.tokenizer;
    if (bosId !== undefined) this.ids.push(bosId);
    return this;
  }

  eos(): this {
    const { eosId } = this.tokenizer;
    if (eosId === undefined) {
      throw new MessagesError('TokenizerException', 'the vocabulary has no end token');
    }
    this.ids.push(eosId);
    return this;
  }

  /** What `write` adds is the answer of a message. */
  answer(index: number, write: () => void): this {
    const start = this.ids.length;
    write();
    this.answers.push({ start, end: this.ids.length, index });
    return this;
  }

  /** A text of its own, with the space the tokenizer puts before each; none for an empty one. */
  text(text: string): this {
    return this.add(text, (part) => this.tokenizer.encode(part));
  }

  /** A text without that space. */
  continued(text: string): this {
    return this.add(text, (part) => encodeContinued(this.tokenizer, part));
  }

  private add(text: string, encode: (text: string) => number[]): this {
    if (text === '') return this;
    try {
      const ids = encode(text);
      if (!ids.some((id) => this.markerIds.has(id))) this.append(ids);
      else this.addInert(text, encode);
    } catch (error) {
      if (error instanceof MessagesError || !(error instanceof TramontaneError)) throw error;
      throw new MessagesError('RuntimeError', error.message);
    }
    return this;
  }

  /** Parts that each end after the first character of a marker. */
  private addInert(text: string, encode: (text: string) => number[]): void {
    const cuts = new Set<number>();
    for (const marker of this.markers) {
      for (let at = text.indexOf(marker); at >= 0; at = text.indexOf(marker, at + 1)) {
        cuts.add(at + 1);
      }
    }
    let start = 0;
    for (const cut of [...cuts].sort((a, b) => a - b).concat(text.length)) {
      const part = text.slice(start, cut);
      this.append(start === 0 ? encode(part) : encodeContinued(this.tokenizer, part));
      start = cut;
    }
  }

  private append(ids: readonly number[]): void {
    for (const id of ids) this.ids.push(id);
  }
}

/** The ids of a text as they are in the middle of one: without the tokenizer's dummy space. */
function encodeContinued(tokenizer: Tokenizer, text: string): number[] {
  if (text === '') return [];
  const before = tokenizer.encode(SENTINEL);
  const ids = tokenizer.encode(SENTINEL + text);
  if (before.every((id, index) => ids[index] === id)) return ids.slice(before.length);
  throw new MessagesError('TokenizerException', 'the vocabulary cannot continue a text');
}
