import { TramontaneError } from '../errors';
import type { GenerationChunk } from './generation';

interface Call<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (reason: unknown) => void;
}

/** What a reader reads from. */
export interface ReaderSource {
  /** Hands chunks to the reader while it waits and there are any; ends it when there are no more. */
  deliver(): void;
  /** The reader left. Resolves when the source has ended. */
  leave(): Promise<void>;
}

/**
 * The one iterator over a generation. Calls of next() wait in line as those of an async generator
 * do, and are answered in order; after return() there is nothing more.
 */
export class Reader<T> implements AsyncIterator<T, undefined> {
  readonly #source: ReaderSource;
  readonly #pick: (chunk: GenerationChunk) => T | undefined;
  readonly #calls: Call<T>[] = [];
  #done = false;

  /** @param pick what the reader gets of a chunk; undefined: nothing, the chunk is passed over */
  constructor(source: ReaderSource, pick: (chunk: GenerationChunk) => T | undefined) {
    this.#source = source;
    this.#pick = pick;
  }

  /** Somebody waits for the next chunk. */
  get waits(): boolean {
    return this.#calls.length > 0;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#done) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#calls.push({ resolve, reject });
      this.#source.deliver();
    });
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    await this.#source.leave();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    await this.return();
    throw error;
  }

  /** Answers the oldest call; there is one. */
  take(chunk: GenerationChunk): void {
    const value = this.#pick(chunk);
    if (value !== undefined) this.#calls.shift()?.resolve({ done: false, value });
  }

  /** Answers all calls, those to come too: the first with the error, if there is one. */
  end(failure?: { readonly error: unknown }): void {
    this.#done = true;
    if (failure) this.#calls.shift()?.reject(failure.error);
    for (const { resolve } of this.#calls.splice(0)) resolve({ done: true, value: undefined });
  }
}

/** The reader of one generation, once there is one. */
export class OneReader {
  readonly #source: ReaderSource;
  #reader: Pick<Reader<unknown>, 'waits' | 'take' | 'end'> | undefined;

  constructor(source: ReaderSource) {
    this.#source = source;
  }

  get waits(): boolean {
    return this.#reader?.waits ?? false;
  }

  /** @throws TramontaneError INVALID_OPTION when there is one already */
  open<T>(pick: (chunk: GenerationChunk) => T | undefined): Reader<T> {
    if (this.#reader) {
      throw new TramontaneError(
        'INVALID_OPTION',
        'a generation can be iterated once: use result() or text() beside the loop',
      );
    }
    const reader = new Reader(this.#source, pick);
    this.#reader = reader;
    return reader;
  }

  /** The text alone, in pieces that are never empty. */
  texts(): AsyncIterable<string> {
    return {
      [Symbol.asyncIterator]: () => this.open(({ text }) => (text === '' ? undefined : text)),
    };
  }

  /**
   * Hands out chunks while they are waited for; at the outcome and the end of them, ends the reader.
   * @param taken is told of each
   */
  deliver(
    chunks: GenerationChunk[],
    outcome: object | undefined,
    taken: (chunk: GenerationChunk) => void = () => undefined,
  ): void {
    const reader = this.#reader;
    while (reader?.waits) {
      const chunk = chunks.shift();
      if (chunk === undefined) break;
      taken(chunk);
      reader.take(chunk);
    }
    if (outcome && chunks.length === 0 && reader?.waits) {
      reader.end('error' in outcome ? outcome : undefined);
    }
  }
}
