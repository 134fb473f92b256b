import { randomInt } from 'node:crypto';
import type { NativeRequest } from './native';
import * as check from './checks';

/** Options of {@link Model.generate}. The defaults of the filters and penalties change nothing. */
export interface GenerateOptions {
  /** Most tokens to generate. @default what the context and the KV cache have room for */
  readonly maxTokens?: number;
  /** 0 takes the most probable token, 1 the model's own distribution. From 0 to 100. @default 0.7 */
  readonly temperature?: number;
  /** Draw among so many of the best tokens; 0: all. @default 0 */
  readonly topK?: number;
  /** Draw among the best tokens that together have this probability; (0, 1]. @default 1 */
  readonly topP?: number;
  /** Leave out tokens less probable than this share of the best one's probability; [0, 1]. @default 0 */
  readonly minP?: number;
  /** Same seed, prompt and options: same text, whatever else runs. @default random, and reported */
  readonly seed?: number;
  /** Logits of tokens in prompt or output are divided (if positive) or multiplied by this. @default 1 */
  readonly repetitionPenalty?: number;
  /** Subtracted from the logits of tokens that are in the output; [-100, 100]. @default 0 */
  readonly presencePenalty?: number;
  /** Subtracted once for each time a token is in the output; [-100, 100]. @default 0 */
  readonly frequencyPenalty?: number;
  /** Added to the logits of these tokens; -Infinity bans one. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Only these tokens may be generated. End tokens too must be listed to be possible. */
  readonly allowedTokens?: readonly number[];
  /** Texts that end the generation; they are not part of its text. At most 64. */
  readonly stop?: readonly string[];
  /** Further tokens that end the generation, beside the model's own end tokens. */
  readonly stopTokens?: readonly number[];
  /** Go on after the model's own end tokens. @default false */
  readonly ignoreEos?: boolean;
  /** Report log-probabilities, and of so many alternatives for each token; 0 to 100. */
  readonly logprobs?: number;
  /** Ends the generation with finishReason 'aborted'. */
  readonly signal?: AbortSignal;
}

const NAMES = [
  'maxTokens',
  'temperature',
  'topK',
  'topP',
  'minP',
  'seed',
  'repetitionPenalty',
  'presencePenalty',
  'frequencyPenalty',
  'logitBias',
  'allowedTokens',
  'stop',
  'stopTokens',
  'ignoreEos',
  'logprobs',
  'signal',
] as const satisfies readonly (keyof GenerateOptions)[];

const MOST_STOPS = 64;
const MOST_STOP_CHARACTERS = 1024;

function stopStrings(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > MOST_STOPS) {
    throw check.invalidOption('stop', `an array of at most ${String(MOST_STOPS)} strings`, value);
  }
  value.forEach((stop: unknown, index) => {
    if (typeof stop !== 'string' || stop === '' || stop.length > MOST_STOP_CHARACTERS) {
      throw check.invalidOption(
        `stop[${String(index)}]`,
        `a string of 1 to ${String(MOST_STOP_CHARACTERS)} characters`,
        stop,
      );
    }
  });
  return value as readonly string[];
}

function logitBias(value: unknown, vocabularySize: number): [Int32Array, Float32Array] {
  const map = value as Partial<ReadonlyMap<number, unknown>> | null;
  if (typeof map?.keys !== 'function' || typeof map.values !== 'function') {
    throw check.invalidOption('logitBias', 'a Map of token ids to numbers', value);
  }
  const tokens = check.tokenIds('logitBias', [...map.keys()], vocabularySize);
  const biases = [...map.values()].map((bias) => {
    if (typeof bias !== 'number' || Number.isNaN(bias) || bias === Infinity) {
      throw check.invalidOption('a bias of logitBias', 'a number below Infinity', bias);
    }
    return bias;
  });
  return [tokens, Float32Array.from(biases)];
}

/** What the checked options come to. */
export interface CheckedOptions {
  /** All of a native request but its prompt; maxTokens is absent where the caller gave none. */
  readonly request: Omit<NativeRequest, 'prompt' | 'maxTokens'>;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly signal: AbortSignal | undefined;
}

/** @throws TramontaneError INVALID_OPTION, naming the option */
export function checkGenerateOptions(
  options: GenerateOptions,
  vocabularySize: number,
  endTokens: readonly number[],
): CheckedOptions {
  check.checkNames('generate()', options, NAMES);
  const { allowedTokens, logprobs, maxTokens, signal } = options;
  const [biasTokens, biasValues] = logitBias(options.logitBias ?? new Map(), vocabularySize);
  const stopTokens = check.tokenIds('stopTokens', options.stopTokens ?? [], vocabularySize);
  const ignoreEos = check.boolean('ignoreEos', options.ignoreEos ?? false);
  if (allowedTokens?.length === 0) {
    throw check.invalidOption('allowedTokens', 'an array of at least one token id', allowedTokens);
  }
  const topP = check.number('topP', options.topP ?? 1, 0, 1);
  if (topP === 0) throw check.invalidOption('topP', 'above 0', topP);
  const repetitionPenalty = check.number(
    'repetitionPenalty',
    options.repetitionPenalty ?? 1,
    0,
    100,
  );
  if (repetitionPenalty === 0) {
    throw check.invalidOption('repetitionPenalty', 'above 0', repetitionPenalty);
  }
  return {
    request: {
      temperature: check.number('temperature', options.temperature ?? 0.7, 0, 100),
      topK: check.integer('topK', options.topK ?? 0, 0, 2 ** 31 - 1),
      topP,
      minP: check.number('minP', options.minP ?? 0, 0, 1),
      seed: check.integer(
        'seed',
        options.seed ?? randomInt(2 ** 48 - 1),
        0,
        Number.MAX_SAFE_INTEGER,
      ),
      repetitionPenalty,
      presencePenalty: check.number('presencePenalty', options.presencePenalty ?? 0, -100, 100),
      frequencyPenalty: check.number('frequencyPenalty', options.frequencyPenalty ?? 0, -100, 100),
      biasTokens,
      biasValues,
      ...(allowedTokens && {
        allowedTokens: check.tokenIds('allowedTokens', allowedTokens, vocabularySize),
      }),
      stopTokens: ignoreEos ? stopTokens : Int32Array.of(...endTokens, ...stopTokens),
      logprobs: logprobs === undefined ? -1 : check.integer('logprobs', logprobs, 0, 100),
    },
    maxTokens:
      maxTokens === undefined ? undefined : check.integer('maxTokens', maxTokens, 1, 2 ** 31 - 1),
    stop: stopStrings(options.stop ?? []),
    signal: signal === undefined ? undefined : check.signal('signal', signal),
  };
}
