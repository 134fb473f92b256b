import { createHash, randomInt } from 'node:crypto';
import { types } from 'node:util';
import { TramontaneError } from '../errors';
import { controlTokens } from '../tokenizer/streaming/stop-strings';
import type { TokenIds } from '../tokenizer/token-ids';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { AbortSignalLike } from './abort-signals';
import { Adapter, type AdapterUse } from './adapter';
import { grammarOf, type CompiledGrammar, type Grammar } from './grammar';
import type { Schema } from './schema';
import type { NativeModel, NativeRequest } from './native';
import * as check from './checks';

/**
 * Options of {@link Model.generate}. The defaults of the filters and penalties change nothing. An
 * option that is undefined counts as absent; null is an error.
 */
export interface GenerateOptions<S extends Schema = Schema> extends AdapterUse {
  /** Most tokens to generate. @default what the context and the KV cache have room for */
  maxTokens?: number | undefined;
  /** 0 takes the most probable token, 1 the model's own distribution. From 0 to 100. @default 0.7 */
  temperature?: number | undefined;
  /** Draw among so many of the best tokens; 0: all. @default 0 */
  topK?: number | undefined;
  /** Draw among the best tokens that together have this probability; (0, 1]. @default 1 */
  topP?: number | undefined;
  /** Leave out tokens less probable than this share of the best one's probability; [0, 1]. @default 0 */
  minP?: number | undefined;
  /** Same seed, prompt and options: same text, whatever else runs. @default random, and reported */
  seed?: number | undefined;
  /**
   * Logits of tokens in prompt or output are divided (if positive) or multiplied by this; from 0.01
   * to 100.
   * @default 1
   */
  repetitionPenalty?: number | undefined;
  /** Subtracted from the logits of tokens that are in the output; [-100, 100]. @default 0 */
  presencePenalty?: number | undefined;
  /** Subtracted once for each time a token is in the output; [-100, 100]. @default 0 */
  frequencyPenalty?: number | undefined;
  /** Added to the logits of these tokens, a Map or an object by token id; -Infinity bans one. */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>> | undefined;
  /** Only these tokens may be generated. End tokens too must be listed to be possible. */
  allowedTokens?: TokenIds | undefined;
  /**
   * A text, or at most 64, that end the generation; they are not part of its text. One that is
   * exactly a control token, such as `<|im_end|>`, also ends it as a stop token, which has no text.
   */
  stop?: string | readonly string[] | undefined;
  /** Further tokens that end the generation, beside the model's own end tokens. */
  stopTokens?: TokenIds | undefined;
  /** Go on after the model's own end tokens. @default false */
  ignoreEos?: boolean | undefined;
  /** Report log-probabilities, and of so many alternatives for each token; 0 to 100. */
  logprobs?: number | undefined;
  /**
   * Requests of higher priority are served first, and take the place of running ones of lower
   * priority where there is none; from -100 to 100.
   * @default 0
   */
  priority?: number | undefined;
  /**
   * Prompts that begin alike share what was computed of them only with the same salt, so that
   * nobody learns from the time it takes what others have asked.
   * @default none: all share
   */
  cacheSalt?: string | undefined;
  /**
   * Only JSON that matches this schema is generated: JSON Schema, or a schema of a library that
   * gives one. `(await generation.result()).json()` has the value, and its type. A schema is compiled
   * once, so do not change it; {@link compileGrammar} has more options.
   */
  json?: S | undefined;
  /** Only text that matches this regular expression (ECMAScript's) as a whole is generated. */
  regex?: string | undefined;
  /** Only one of these texts is generated. */
  choice?: readonly string[] | undefined;
  /** Only text of this grammar is generated: GBNF, or what {@link compileGrammar} made. */
  grammar?: string | Grammar | undefined;
  /** Ends the generation with finishReason 'aborted'. */
  signal?: AbortSignalLike | undefined;
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
  'priority',
  'cacheSalt',
  'adapter',
  'adapterScale',
  'json',
  'regex',
  'choice',
  'grammar',
  'signal',
] as const satisfies readonly (keyof GenerateOptions)[];

const MOST_STOPS = 64;
const MOST_STOP_CHARACTERS = 1024;

function stopStrings(value: unknown): readonly string[] {
  if (typeof value === 'string') return [stopString('stop', value)];
  if (!Array.isArray(value) || value.length > MOST_STOPS) {
    const expected = `a string, or an array of at most ${String(MOST_STOPS)} strings`;
    throw check.invalidOption('stop', expected, value);
  }
  return Array.from(value, (stop, index) => stopString(`stop[${String(index)}]`, stop));
}

function stopString(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > MOST_STOP_CHARACTERS) {
    const expected = `a string of 1 to ${String(MOST_STOP_CHARACTERS)} characters`;
    throw check.invalidOption(name, expected, value);
  }
  return value;
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Of any realm: Object.prototype is the one that has no prototype itself.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Read once, so that what was checked is what native gets. */
function biasEntries(value: unknown): (readonly [id: unknown, bias: unknown])[] {
  if (types.isMap(value)) return [...Map.prototype.entries.call(value)];
  if (!isPlainObject(value)) {
    throw check.invalidOption('logitBias', 'a Map or an object of token ids and numbers', value);
  }
  // An object's keys are strings: "5" is an id, "05" and "5.0" are none.
  return Object.entries(value).map(([key, bias]) => [
    String(Number(key)) === key ? Number(key) : key,
    bias,
  ]);
}

function logitBias(value: unknown, vocabulary: Vocabulary): Map<number, number> {
  const entries = biasEntries(value);
  const ids = entries.map(([id]) => id);
  const biases = new Map<number, number>();
  check.tokenIds('logitBias', ids, vocabulary.size).forEach((id, index) => {
    const bias = entries[index]![1];
    // Native computes in single precision, in which 1e39 is infinite.
    if (typeof bias !== 'number' || Number.isNaN(bias) || Math.fround(bias) === Infinity) {
      throw check.invalidOption(`logitBias of ${id}`, 'a number below 3.4e38', bias);
    }
    biases.set(id, bias);
  });
  return biases;
}

/**
 * A salt as native takes it, 48 bits; 0 for none.
 * @throws TramontaneError INVALID_OPTION
 */
export function saltOf(salt: unknown): number {
  if (salt === undefined) return 0;
  if (typeof salt !== 'string' || salt === '') {
    throw check.invalidOption('cacheSalt', 'a text that is not empty', salt);
  }
  return createHash('sha256').update(salt).digest().readUIntBE(0, 6);
}

/** What options of one model may name. */
export interface Vocabulary {
  readonly size: number;
  /** The model's own end tokens. */
  readonly endTokens: readonly number[];
  readonly tokenizer: Tokenizer;
}

/** What the checked options come to. */
export interface CheckedOptions {
  /** All of a native request but its prompt; maxTokens is absent where the caller gave none. */
  readonly request: Omit<NativeRequest, 'prompt' | 'maxTokens'>;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly signal: AbortSignalLike | undefined;
  /** What holds the text to a form. */
  readonly grammar: CompiledGrammar | undefined;
}

/** @throws TramontaneError INVALID_OPTION, naming the option; INVALID_GRAMMAR */
export function checkGenerateOptions(
  options: GenerateOptions,
  vocabulary: Vocabulary,
  native: NativeModel,
): CheckedOptions {
  check.checkNames('generate()', options, NAMES);
  const {
    maxTokens,
    temperature = 0.7,
    topK = 0,
    topP = 1,
    minP = 0,
    seed = randomInt(2 ** 48 - 1),
    repetitionPenalty = 1,
    presencePenalty = 0,
    frequencyPenalty = 0,
    priority = 0,
    logitBias: bias = new Map(),
    allowedTokens,
    stop = [],
    stopTokens = [],
    ignoreEos = false,
    logprobs,
    signal,
  } = options;
  const ids = (name: string, value: unknown): Int32Array =>
    check.tokenIds(name, value, vocabulary.size);
  const biases = logitBias(bias, vocabulary);
  const allowed = allowedTokens === undefined ? undefined : ids('allowedTokens', allowedTokens);
  if (allowed?.length === 0) {
    throw check.invalidOption('allowedTokens', 'an array of at least one token id', allowedTokens);
  }
  const ends = new Set(ids('stopTokens', stopTokens));
  if (!check.boolean('ignoreEos', ignoreEos)) for (const id of vocabulary.endTokens) ends.add(id);
  const stops = stopStrings(stop);
  for (const id of controlTokens(stops, vocabulary.tokenizer)) {
    if (id < vocabulary.size) ends.add(id);
  }
  const grammar = grammarOf(options);
  if (grammar !== undefined && (allowed !== undefined || ignoreEos)) {
    const other = ignoreEos ? 'ignoreEos' : 'allowedTokens';
    const message = `${other} does not go with json, regex, choice or grammar, which say what ends`;
    throw new TramontaneError('INVALID_OPTION', message);
  }
  if (topP === 0) throw check.invalidOption('topP', 'above 0', topP);
  return {
    request: {
      temperature: check.number('temperature', temperature, 0, 100),
      topK: check.integer('topK', topK, 0, 2 ** 31 - 1),
      topP: check.number('topP', topP, 0, 1),
      minP: check.number('minP', minP, 0, 1),
      seed: check.integer('seed', seed, 0, Number.MAX_SAFE_INTEGER),
      repetitionPenalty: check.number('repetitionPenalty', repetitionPenalty, 0.01, 100),
      presencePenalty: check.number('presencePenalty', presencePenalty, -100, 100),
      frequencyPenalty: check.number('frequencyPenalty', frequencyPenalty, -100, 100),
      biasTokens: Int32Array.from(biases.keys()),
      biasValues: Float32Array.from(biases.values()),
      ...(allowed && { allowedTokens: allowed }),
      stopTokens: Int32Array.from(ends),
      logprobs: logprobs === undefined ? -1 : check.integer('logprobs', logprobs, 0, 100),
      priority: check.integer('priority', priority, -100, 100),
      cacheSalt: saltOf(options.cacheSalt),
      ...Adapter.use(native, options),
    },
    maxTokens:
      maxTokens === undefined ? undefined : check.integer('maxTokens', maxTokens, 1, 2 ** 31 - 1),
    stop: stops,
    signal: signal === undefined ? undefined : check.signal('signal', signal),
    grammar,
  };
}
