import { TramontaneError } from '../errors';
import { fromNative, type NativeEvent, type TokenLogprob } from './native';
import { StopStrings } from '../tokenizer/streaming/stop-strings';
import { TokenStream } from '../tokenizer/streaming/token-stream';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** A token's log-probability under the model's unmodified distribution, and the best alternatives'. */
export interface LogprobInfo extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/** A piece of a generation's text: whole characters, and the tokens they came from. */
export interface GenerationChunk {
  readonly text: string;
  readonly tokenIds: number[];
  /** One entry per token id, where log-probabilities were asked for. */
  readonly logprobs?: LogprobInfo[];
}

export interface GenerationResult {
  readonly text: string;
  /** All tokens generated, the one that ended it included. */
  readonly tokenIds: number[];
  /**
   * `stop`: an end token, a stop token or a stop string. `length`: maxTokens or the end of the
   * context. `aborted`: the signal, the end of a loop over it, or the model's disposal.
   */
  readonly finishReason: 'stop' | 'length' | 'aborted';
  /** The stop string that ended it. */
  readonly stopSequence?: string;
  /** The seed that was used: give it again for the same text. */
  readonly seed: number;
  readonly usage: {
    readonly promptTokens: number;
    /** Prompt tokens that an earlier prompt had computed. */
    readonly cachedTokens: number;
    readonly completionTokens: number;
  };
  readonly timings: {
    /** From generate() to the first step. */
    readonly queuedMs: number;
    /** From there to the first token. */
    readonly promptMs: number;
    /** From the first token to the last. */
    readonly generateMs: number;
  };
}

/**
 * A running generation. Iterate over it for the text as it comes, or await `text()` or `result()`;
 * all of them may be used, in any order, but only one iterator. Leaving the loop ends the generation.
 */
export interface Generation extends AsyncIterable<GenerationChunk> {
  /** All of the text. Rejects only when the generation failed. */
  text(): Promise<string>;
  /** Text, tokens, why it ended, how long it took. Rejects only when the generation failed. */
  result(): Promise<GenerationResult>;
}

interface Deferred<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (reason: unknown) => void;
}

function defer<T>(): Deferred<T> {
  const deferred = {} as Deferred<T>;
  deferred.promise = new Promise<T>((resolve, reject) => {
    deferred.resolve = resolve;
    deferred.reject = reject;
  });
  return deferred;
}

/** What a generation is started with. */
export interface GenerationStart {
  readonly tokenizer: Tokenizer;
  readonly promptTokens: number;
  readonly seed: number;
  readonly stop: readonly string[];
  /** Tokens that end it, and have no text. */
  readonly stopTokens: Int32Array;
  readonly logprobs: boolean;
  /** Tells native that no more tokens are wanted; it answers with an end event. */
  readonly abort: () => void;
}

/** Turns one request's events into text. Made by the model, which also routes the events here. */
export class ActiveGeneration implements Generation {
  private readonly stream: TokenStream;
  private readonly stops: StopStrings;
  private readonly ended = defer<GenerationResult>();
  private readonly tokenIds: number[] = [];
  private wholeText = '';
  private stopSequence: string | undefined;
  /** No more tokens are wanted, though some may still arrive. */
  private closed = false;

  /** Tokens whose text has not been emitted yet. */
  private heldIds: number[] = [];
  private heldLogprobs: LogprobInfo[] = [];
  /** Chunks not yet taken, and the iterator that waits for one. */
  private readonly chunks: GenerationChunk[] = [];
  private done = false;
  private wake: (() => void) | undefined;
  private iterated = false;

  constructor(private readonly start: GenerationStart) {
    this.stream = new TokenStream(start.tokenizer, { atStart: false });
    this.stops = new StopStrings(start.stop);
    // A failure that nobody waits for is not an unhandled rejection.
    this.ended.promise.catch(() => undefined);
  }

  async text(): Promise<string> {
    return (await this.ended.promise).text;
  }

  result(): Promise<GenerationResult> {
    return this.ended.promise;
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerationChunk, undefined> {
    if (this.iterated) {
      throw new TramontaneError(
        'INVALID_OPTION',
        'a generation can be iterated once: use result() or text() beside the loop',
      );
    }
    this.iterated = true;
    return {
      next: () => this.next(),
      return: async () => {
        this.abort();
        await this.ended.promise.catch(() => undefined);
        return { done: true, value: undefined };
      },
    };
  }

  /** Ends the generation early; it resolves as aborted once native has let go of it. */
  abort(): void {
    if (this.closed) return;
    this.closed = true;
    this.start.abort();
  }

  /** Takes one of native's events for this request. Returns true with the last one. */
  receive(event: NativeEvent): boolean {
    if (event.token !== undefined && !this.closed) {
      this.take(event.token, event.logprob ?? 0, event.top ?? []);
    }
    if (event.finish === undefined) return false;
    this.finish(event);
    return true;
  }

  private take(token: number, logprob: number, top: TokenLogprob[]): void {
    this.tokenIds.push(token);
    this.heldIds.push(token);
    if (this.start.logprobs) this.heldLogprobs.push({ token, logprob, top });
    if (this.start.stopTokens.includes(token)) return;
    this.emit(this.stream.push(token));
    if (this.stopSequence === undefined) return;
    this.closed = true;
    this.start.abort();
  }

  /** Passes text on, as far as it cannot become a stop string. */
  private emit(text: string): void {
    if (text === '') return;
    const { text: safe, stop } = this.stops.push(text);
    this.stopSequence = stop;
    if (safe !== '') this.push(safe);
  }

  private push(text: string): void {
    this.wholeText += text;
    this.chunks.push({
      text,
      tokenIds: this.heldIds,
      ...(this.start.logprobs && { logprobs: this.heldLogprobs }),
    });
    this.heldIds = [];
    this.heldLogprobs = [];
    this.wake?.();
  }

  private finish(event: NativeEvent): void {
    this.closed = true;
    if (event.finish === 'failed') {
      this.ended.reject(fromNative(event.error));
    } else {
      if (this.stopSequence === undefined) this.emit(this.stream.flush());
      const rest = this.stopSequence === undefined ? this.stops.flush() : '';
      if (rest !== '') this.push(rest);
      if (this.heldIds.length > 0) this.push('');
      this.ended.resolve(this.summary(event));
    }
    this.done = true;
    this.wake?.();
  }

  private summary(event: NativeEvent): GenerationResult {
    const { stopSequence } = this;
    const stopped = stopSequence !== undefined;
    return {
      text: this.wholeText,
      tokenIds: this.tokenIds,
      finishReason: stopped ? 'stop' : (event.finish as 'stop' | 'length' | 'aborted'),
      ...(stopped && { stopSequence }),
      seed: this.start.seed,
      usage: {
        promptTokens: this.start.promptTokens,
        cachedTokens: event.cachedTokens ?? 0,
        completionTokens: this.tokenIds.length,
      },
      timings: event.timings ?? { queuedMs: 0, promptMs: 0, generateMs: 0 },
    };
  }

  private async next(): Promise<IteratorResult<GenerationChunk, undefined>> {
    for (;;) {
      const chunk = this.chunks.shift();
      if (chunk) return { done: false, value: chunk };
      if (this.done) {
        await this.ended.promise; // Throws when the generation failed.
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
