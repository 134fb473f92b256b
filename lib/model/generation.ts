import type { AnsweredCall, ToolCallDelta } from '../chat/tool-calls';
import type { TokenLogprob } from './native';

/** A token's log-probability under the model's unmodified distribution, and the best alternatives'. */
export interface LogprobInfo extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/**
 * `stop`: an end token, a stop token or a stop string. `length`: maxTokens or the end of the
 * context. `aborted`: abort(), the signal, the end of a loop over it, or the model's disposal.
 * `refused`: by the option `guard` of chat(); the result's `refusal` says what and why.
 */
export type FinishReason = 'stop' | 'length' | 'aborted' | 'refused';

/** A piece of a generation's text: whole characters, and the tokens they came from. */
export interface GenerationChunk {
  readonly text: string;
  readonly tokenIds: number[];
  /** One entry per token id, where log-probabilities were asked for. */
  readonly logprobs?: LogprobInfo[];
  /** What this chunk adds to calls of tools. */
  readonly toolCalls?: readonly ToolCallDelta[];
  /** On the last chunk, which may have neither text nor tokens. */
  readonly finishReason?: FinishReason;
}

export interface GenerationResult<T = unknown> {
  readonly text: string;
  /** All tokens generated, the one that ended it included. */
  readonly tokenIds: number[];
  readonly finishReason: FinishReason;
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
  /**
   * The text as JSON; of the schema's type, and validated by its library, where the option `json` has
   * one. Rejects with an OutputError (INCOMPLETE_OUTPUT) that has the text when the generation ended
   * before the JSON did, and INVALID_OUTPUT when the library does not take it.
   */
  json(): Promise<T>;
}

/** The result of a chat. */
export interface ChatResult<T = unknown> extends GenerationResult<T> {
  /** The answer, to be appended to the conversation. */
  readonly message: AssistantMessage;
  /** What the option `guard` refused. */
  readonly refusal?: Refusal;
}

/** What a guard refused, and by which labels of its policy. */
export interface Refusal {
  readonly by: 'input' | 'output';
  readonly labels: readonly string[];
  readonly scores: Readonly<Record<string, number>>;
  /** The sentence that was refused; text before it was given out. */
  readonly text?: string;
}

export interface AssistantMessage {
  readonly role: 'assistant';
  /** Null where tools are called. */
  readonly content: string | null;
  readonly tool_calls?: readonly AnsweredCall[];
}

/**
 * A running generation. Iterate over it for the text as it comes, or await `text()` or `result()`;
 * all of them may be used, in any order, but only one iterator. Leaving the loop ends the generation.
 *
 * It runs as far as somebody wants it: at most 8 tokens ahead of what its iterator took, to its end
 * once `text()` or `result()` was called. One that nobody reads and nobody awaits pauses after 8
 * tokens, until somebody does; then it keeps neither its pages of the KV cache from others nor the
 * process alive, but it stays until it is read, aborted, or its model disposed.
 */
export interface Generation<T = unknown, R extends GenerationResult<T> = GenerationResult<T>>
  extends AsyncIterable<GenerationChunk>, AsyncDisposable {
  /** All of the text. Rejects only when the generation failed. */
  text(): Promise<string>;
  /** Text, tokens, why it ended, how long it took. Rejects only when the generation failed. */
  result(): Promise<R>;
  /**
   * The text alone, in pieces that are never empty, for pipes and responses:
   * `pipeline(generation.textStream(), response)`. It is the one iterator.
   */
  textStream(): AsyncIterable<string>;
  /** Ends it; what it has so far stays, with finishReason `aborted`. After its end, nothing happens. */
  abort(): void;
  /** Ends it, and waits until it has ended: `await using generation = model.generate(...)`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** A few facts, for logs; not the text. */
  toJSON(): GenerationState;
}

/** How far a generation is. */
export interface GenerationState {
  readonly state: 'running' | 'ended' | 'failed';
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly finishReason?: FinishReason;
}
