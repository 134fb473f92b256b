import { StopStrings } from '../tokenizer/streaming/stop-strings';
import { TokenStream } from '../tokenizer/streaming/token-stream';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { ToolCallDelta, ToolCallReader } from '../chat/tool-calls';
import type {
  ChatResult,
  FinishReason,
  Generation,
  GenerationChunk,
  GenerationState,
  LogprobInfo,
} from './generation';
import { describeWith } from './inspect-custom';
import { fromNative, type NativeEvent, type TokenLogprob } from './native';
import { jsonOf } from './output';
import { OneReader } from './reader';
import type { Receiver, Route } from './requests';
import type { Schema } from './schema';

/** What a generation is made with. */
export interface GenerationStart {
  readonly tokenizer: Tokenizer;
  readonly seed: number;
  readonly stop: readonly string[];
  /** Tokens that end it, and have no text. */
  readonly stopTokens: Int32Array;
  readonly logprobs: boolean;
  /** Whether a dummy space of the tokenizer may begin the text, which is dropped. */
  readonly atStart: boolean;
  /** Follows calls of tools, where there may be some. */
  readonly calls: ToolCallReader | undefined;
  /** Whether the result has the answer as a message. */
  readonly isChat: boolean;
  /** What json() validates by. */
  readonly schema: Schema | undefined;
  /** Called once, when it has ended. */
  readonly onEnd: () => void;
}

type Outcome = { readonly reason: FinishReason } | { readonly error: unknown };

/** What is known of a generation's end before native was asked for anything. */
const NOTHING_RAN = { queuedMs: 0, promptMs: 0, generateMs: 0 };

/** Turns one request's events into text. Made by the model; `Requests` brings the events. */
export class ActiveGeneration<T> implements Generation<T, ChatResult<T>>, Receiver {
  readonly #start: GenerationStart;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #stream: TokenStream;
  readonly #stops: StopStrings;
  readonly #ended: Promise<ChatResult<T>>;
  #resolve!: (result: ChatResult<T>) => void;
  #reject!: (error: unknown) => void;

  /** The way to native; none before the prompt is encoded, and after the end. */
  #route: Route | undefined;
  #promptTokens = 0;
  readonly #tokenIds: number[] = [];
  #text = '';
  #stopSequence: string | undefined;
  #finishReason: FinishReason | undefined;
  /** No more tokens are wanted, though some may still arrive: they are dropped. */
  #closed = false;
  #dropped = false;
  #outcome: Outcome | undefined;

  /** Tokens whose text is not in a chunk yet. */
  #heldIds: number[] = [];
  #heldLogprobs: LogprobInfo[] = [];
  readonly #chunks: GenerationChunk[] = [];
  readonly #reader = new OneReader(this);
  /** Tokens in chunks that the reader took. */
  #taken = 0;
  /** Somebody wants all of it, whether it is read or not. */
  #whole = false;
  #acknowledged = 0;

  constructor(start: GenerationStart) {
    this.#start = start;
    this.#stopTokens = new Set(start.stopTokens);
    this.#stream = new TokenStream(start.tokenizer, { atStart: start.atStart });
    this.#stops = new StopStrings(start.stop);
    this.#ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A failure that nobody waits for is not an unhandled rejection.
    this.#ended.catch(() => undefined);
  }

  async text(): Promise<string> {
    return (await this.result()).text;
  }

  result(): Promise<ChatResult<T>> {
    this.#whole = true;
    this.deliver();
    return this.#ended;
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerationChunk, undefined> {
    return this.#reader.open((chunk) => chunk);
  }

  textStream(): AsyncIterable<string> {
    return this.#reader.texts();
  }

  abort(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#route) this.#route.abort();
    else this.end('aborted');
    this.deliver();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }

  get ended(): boolean {
    return this.#outcome !== undefined;
  }

  toJSON(): GenerationState {
    const outcome = this.#outcome;
    return {
      state: outcome === undefined ? 'running' : 'error' in outcome ? 'failed' : 'ended',
      promptTokens: this.#promptTokens,
      completionTokens: this.#tokenIds.length,
      ...(outcome && 'reason' in outcome && { finishReason: outcome.reason }),
    };
  }

  static {
    describeWith(this, 'Generation', (generation) => generation.toJSON());
  }

  /** The prompt is encoded, and native about to be asked. */
  begin(promptTokens: number, route: Route): void {
    this.#promptTokens = promptTokens;
    this.#route = route;
    this.deliver();
  }

  receive(event: NativeEvent): void {
    if (event.token !== undefined) {
      if (this.#closed) this.#dropped = true;
      else this.#receiveToken(event.token, event.logprob ?? 0, event.top ?? []);
    }
    if (event.finish === undefined) return;
    if (event.finish !== 'failed') {
      this.end(event.finish as FinishReason, event);
    } else if (this.#closed) {
      // It had all that was wanted: what failed after that is nobody's loss.
      this.end('aborted', event);
    } else {
      this.fail(fromNative(event.error));
    }
  }

  /** Ends it, with native's last event if native was asked. */
  end(reason: FinishReason, event?: NativeEvent): void {
    if (this.#stopSequence === undefined) {
      this.#read(this.#stream.flush());
      this.#passOn(this.#start.calls?.flush() ?? '');
    }
    const stopSequence = this.#stopSequence;
    if (this.#finishReason === undefined) {
      // What native ended with is true unless tokens that belong to it were dropped.
      if (stopSequence !== undefined) this.#pushLast('', 'stop');
      else this.#pushLast(this.#stops.flush(), this.#dropped ? 'aborted' : reason);
    }
    const finishReason = this.#finishReason ?? reason;
    const ended = stopSequence ?? (finishReason === 'stop' ? this.#stopOfLastToken() : undefined);
    this.#close({ reason: finishReason });
    const whole = finishReason === 'stop' && stopSequence === undefined;
    const calls = this.#start.calls?.calls ?? [];
    const content = calls.length > 0 && this.#text === '' ? null : this.#text;
    const result: Omit<ChatResult<T>, 'json' | 'message'> = {
      text: this.#text,
      tokenIds: this.#tokenIds,
      finishReason,
      ...(ended !== undefined && { stopSequence: ended }),
      seed: this.#start.seed,
      usage: {
        promptTokens: this.#promptTokens,
        cachedTokens: event?.cachedTokens ?? 0,
        completionTokens: this.#tokenIds.length,
      },
      timings: event?.timings ?? NOTHING_RAN,
      ...(this.#start.isChat && {
        message: {
          role: 'assistant',
          content,
          ...(calls.length > 0 && { tool_calls: calls }),
        },
      }),
    };
    // Not enumerable: results are logged, compared and sent as JSON.
    Object.defineProperty(result, 'json', {
      value: () => jsonOf(this.#text, { whole, finishReason, schema: this.#start.schema }),
    });
    this.#resolve(result as ChatResult<T>);
  }

  fail(error: unknown): void {
    if (this.ended) return;
    this.#close({ error });
    this.#reject(error);
  }

  /**
   * Hands chunks to the reader as far as it waits for them, and tells native how far it may run:
   * as far as the reader is, or without bound while somebody waits.
   */
  deliver(): void {
    this.#reader.deliver(this.#chunks, this.#outcome, (chunk) => {
      this.#taken += chunk.tokenIds.length;
    });
    const wanted = this.#whole || this.#reader.waits;
    const through = wanted ? this.#tokenIds.length : this.#taken;
    if (!this.#route) return;
    if (through > this.#acknowledged) {
      this.#route.acknowledge(through - this.#acknowledged);
      this.#acknowledged = through;
    }
    this.#route.await(wanted || this.#closed);
  }

  async leave(): Promise<void> {
    this.abort();
    await this.#ended.catch(() => undefined);
  }

  #receiveToken(token: number, logprob: number, top: TokenLogprob[]): void {
    this.#tokenIds.push(token);
    this.#heldIds.push(token);
    if (this.#start.logprobs) this.#heldLogprobs.push({ token, logprob, top });
    if (this.#stopTokens.has(token)) return;
    this.#start.calls?.control(token);
    this.#read(this.#stream.push(token));
    if (this.#stopSequence === undefined) return;
    this.#pushLast('', 'stop');
    this.#closed = true;
    this.#route?.abort();
  }

  /** The stop string that is the control token which ended it. */
  #stopOfLastToken(): string | undefined {
    const { stop, tokenizer } = this.#start;
    const piece = tokenizer.pieceOf(this.#tokenIds.at(-1) ?? -1);
    return stop.find((one) => one === piece);
  }

  /** Tells text from calls of tools, in which no stop string is looked for. */
  #read(text: string): void {
    const { calls } = this.#start;
    if (calls === undefined || text === '') {
      this.#passOn(text);
      return;
    }
    const reading = calls.push(text);
    this.#passOn(reading.content);
    if (reading.calls.length > 0) this.#push('', reading.calls);
  }

  /** Makes a chunk of the text, as far as it cannot become a stop string. */
  #passOn(text: string): void {
    if (text === '') return;
    const { text: safe, stop } = this.#stops.push(text);
    this.#stopSequence = stop;
    if (safe !== '') this.#push(safe);
  }

  #push(text: string, toolCalls?: readonly ToolCallDelta[]): void {
    this.#text += text;
    this.#chunks.push({
      text,
      tokenIds: this.#heldIds,
      ...(toolCalls && { toolCalls }),
      ...(this.#start.logprobs && { logprobs: this.#heldLogprobs }),
    });
    this.#heldIds = [];
    this.#heldLogprobs = [];
  }

  /** The last chunk says why it ended: one that is not taken yet, or another. */
  #pushLast(text: string, finishReason: FinishReason): void {
    this.#finishReason = finishReason;
    if (text !== '' || this.#heldIds.length > 0 || this.#chunks.length === 0) this.#push(text);
    const last = this.#chunks.pop();
    if (last) this.#chunks.push({ ...last, finishReason });
  }

  #close(outcome: Outcome): void {
    this.#closed = true;
    this.#outcome = outcome;
    this.#route = undefined;
    this.#start.onEnd();
    this.deliver();
  }
}
