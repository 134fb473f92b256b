/// <reference lib="esnext.disposable" preserve="true" />
import { basename } from 'node:path';
import type { ChatTemplate } from '../chat/encode-chat';
import type { Message } from '../chat/messages';
import { encodeFim, hasFim } from '../chat/mistral';
import type { ToolCallReader } from '../chat/tool-calls';
import { TramontaneError } from '../errors';
import type { Checkpoint } from '../files/checkpoint';
import { openCheckpoint } from '../files/open';
import { filePath, type FileUrl } from '../files/path';
import { fetched } from '../hub/resolve';
import { createTokenizer } from '../tokenizer/create';
import type { BaseTokenizer } from '../tokenizer/base-tokenizer';
import type { TrainOptions } from '../train/options';
import type { TrainingDataset } from '../train/samples';
import type * as Train from '../train/train';
import type { TrainResult } from '../train/train';
import type { TokenIds } from '../tokenizer/token-ids';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { onAbort } from './abort-signals';
import { Adapter, type AdapterOptions, type AdapterUse } from './adapter';
import { ActiveGeneration } from './active-generation';
import * as check from './checks';
import {
  ChatFormat,
  checkPromptOptions,
  generateOptionsOf,
  type ChatOptions,
  type ChatPromptOptions,
} from './chat';
import {
  checkGenerateOptions,
  saltOf,
  type CheckedOptions,
  type GenerateOptions,
  type Vocabulary,
} from './generate-options';
import type { ChatResult, Generation } from './generation';
import type { CompiledGrammar } from './grammar';
import { grammarVocabulary } from './grammar-vocabulary';
import { useGptqCache, type GptqCacheUse } from './gptq-cache';
import { GuardedGeneration, guardSide, type GuardSide } from './guard';
import { describeWith } from './inspect-custom';
import { checkLoadOptions, settle, type LoadOptions, type Settings } from './load-options';
import { modelInfo, type ModelInfo } from './model-info';
import {
  checkPolicy,
  moderationMessages,
  moderationOf,
  moderationPrompt,
  subjectOf,
  type Moderation,
  type ModerationOptions,
} from './moderation';
import { NOT_MODERATED } from './moderation-policy';
import type { NativeDescription, NativeModel, NativeVocabulary } from './native';
import { preload } from './preload';
import { promptIds, type Prompt, type PromptLimits } from './prompt';
import { loadNative, type Requests } from './requests';
import type { Infer, Schema } from './schema';
import { computeLogits, score } from './scores';

/** Logits to compute, beside the tokens. */
export interface LogitsOptions extends AdapterUse {
  /** Positions whose next-token logits are wanted, in any order. @default the last */
  positions?: TokenIds | undefined;
  /** As of {@link GenerateOptions}. */
  cacheSalt?: string | undefined;
}

interface Loaded {
  readonly native: NativeModel;
  readonly requests: Requests;
  readonly gptqCache?: GptqCacheUse;
}

/** Loads a model in native, with the cache file if the options name one. */
async function loadWeights(
  { gptqCache: path, signal }: LoadOptions,
  checkpoint: Checkpoint,
  description: NativeDescription,
  progress: (phase: string, fraction: number) => void,
): Promise<Loaded> {
  const onWeights = (fraction: number): void => {
    progress('weights', 0.6 + 0.39 * fraction);
  };
  if (path === undefined) return loadNative(description, onWeights);
  const unused: GptqCacheUse = { path, use: 'unused' };
  const { backend } = description;
  let cpuReason = 'option';
  if (backend.name !== 'cpu') {
    // The cache file is the CPU's: what computes has to be known first.
    try {
      const onGpu = { ...description, backend: { ...backend, fallsBack: false } };
      return { ...(await loadNative(onGpu, onWeights)), gptqCache: unused };
    } catch (error) {
      if (backend.name === 'cuda' || !(error instanceof TramontaneError)) throw error;
      cpuReason = error.message;
    }
  }
  const onCpu = { ...description, backend: { ...backend, name: 'cpu' as const, cpuReason } };
  const found = await useGptqCache(path, checkpoint, onCpu, {
    ...(signal && { signal }),
    onProgress: (fraction) => {
      progress('cache', 0.6 + 0.39 * fraction);
    },
  });
  return { ...(await loadNative(found.description, onWeights)), gptqCache: found.gptqCache };
}

/** Of a load that fetches the model first, the part that this is. */
const DOWNLOAD_PART = 0.9;

/**
 * Makes a path of a source that has to be fetched.
 * @returns anything else as it was, and the part of the load that is done by then
 */
async function fetchFirst(
  source: string | FileUrl,
  { signal, onProgress }: LoadOptions,
): Promise<{ here: string | FileUrl; begun: number }> {
  const done = { begun: 0 };
  const here = await fetched(source, {
    signal,
    onProgress: ({ phase, bytes, totalBytes }) => {
      if (phase !== 'download' && phase !== 'verify') return;
      done.begun = DOWNLOAD_PART;
      onProgress?.({ phase, fraction: (DOWNLOAD_PART * bytes) / Math.max(totalBytes, 1) });
    },
  });
  return { here, ...done };
}

/** Loaded when something is trained: it is no part of a start. */
function trainer(): typeof Train {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('../train/train') as typeof Train;
}

/** Known to this file alone: who makes a Model without it is told what to call. */
const MADE_BY_LOAD = Symbol('made by Model.load()');

interface Parts {
  readonly native: NativeModel;
  readonly requests: Requests;
  readonly checkpoint: Checkpoint;
  readonly settings: Settings;
  readonly tokenizer: BaseTokenizer;
  readonly gptqCache: GptqCacheUse | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
}

/** How the output of a generation is held and read. */
interface Output {
  readonly grammar: CompiledGrammar | undefined;
  readonly calls: ToolCallReader | undefined;
  readonly isChat: boolean;
  readonly schema: Schema | undefined;
}

function stopList(stop: GenerateOptions['stop']): readonly string[] {
  if (stop === undefined) return [];
  return Array.isArray(stop) ? (stop as readonly string[]) : [stop as string];
}

/**
 * A model in memory. Its files are mapped, not read; any number of generations share its threads
 * and its KV cache. Dispose of it to give the memory back (`await using` does).
 */
export class Model implements AsyncDisposable {
  readonly tokenizer: Tokenizer;
  readonly #parts: Parts;
  readonly #limits: PromptLimits;
  readonly #vocabulary: Vocabulary;
  readonly #chat: ChatFormat;
  #heldVocabulary: Promise<NativeVocabulary> | undefined;
  #disposal: Promise<void> | undefined;

  private constructor(key: symbol, parts: Parts) {
    if (key !== MADE_BY_LOAD) {
      throw new TramontaneError(
        'INVALID_OPTION',
        'a model is not made with new, but loaded: await Model.load(path)',
      );
    }
    this.tokenizer = parts.tokenizer;
    this.#parts = parts;
    const { tokenizer, checkpoint } = parts;
    const { vocabularySize } = checkpoint.shape;
    const { contextSize } = parts.native;
    const { eosId } = tokenizer;
    this.#chat = new ChatFormat(checkpoint, tokenizer, parts.chatTemplate);
    this.#limits = { tokenizer, vocabularySize, contextSize };
    this.#vocabulary = {
      size: vocabularySize,
      endTokens: [...checkpoint.endTokens, ...(eosId === undefined ? [] : [eosId])],
      tokenizer,
    };
  }

  /**
   * Loads a model from a GGUF file, or from a Hugging Face directory, GPTQ included.
   * @param path of the file or directory; may be a `file:` URL, or a source that is fetched first, if
   *   it is not in the cache: `hf:OWNER/REPO:QUANT`, as `pull()` takes it
   * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, FILE_NOT_WRITABLE, INVALID_FILE,
   * UNSUPPORTED_FILE, DOWNLOAD_FAILED, ACCESS_DENIED, OUT_OF_MEMORY, BACKEND_UNAVAILABLE, NATIVE_UNAVAILABLE; the signal's reason when it is aborted
   */
  static async load(path: string | FileUrl, options: LoadOptions = {}): Promise<Model> {
    checkLoadOptions(options);
    const { signal, onProgress } = options;
    const { here, begun } = await fetchFirst(path, options);
    const progress = (phase: string, fraction: number): void => {
      signal?.throwIfAborted();
      onProgress?.({ phase, fraction: begun + (1 - begun) * fraction });
    };
    const file = filePath('the path of a model', here);
    progress('header', 0);
    const checkpoint = await openCheckpoint(file, signal ? { signal } : {});
    const settings = settle(options, checkpoint);
    progress('tokenizer', 0.3);
    const tokenizer = createTokenizer(checkpoint.tokenizer, checkpoint.shape.vocabularySize);
    if (options.preload === true) {
      await preload(checkpoint.files, (fraction) => {
        progress('preload', 0.3 + 0.3 * fraction);
      });
    }
    progress('weights', 0.6);
    // An end token without a piece has to be drawn all the same: it ends the text.
    const undrawable = tokenizer
      .missingIds(checkpoint.shape.vocabularySize)
      .filter((id) => id !== tokenizer.eosId && !checkpoint.endTokens.includes(id));
    const description = { ...settings.description, undrawable };
    const loaded = await loadWeights(options, checkpoint, description, progress);
    const { chatTemplate } = options;
    const parts = {
      checkpoint,
      settings,
      tokenizer,
      chatTemplate,
      gptqCache: undefined,
      ...loaded,
    };
    const model = new Model(MADE_BY_LOAD, parts);
    try {
      progress('ready', 1);
    } catch (error) {
      await model.dispose();
      throw error;
    }
    return model;
  }

  /**
   * Loads a LoRA beside whatever runs, for generate(), chat() and logits(): a directory of PEFT, or a
   * GGUF file. What it asks for that is not computed is an error that names it.
   * @param path may be a `file:` URL
   * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, INVALID_FILE, UNSUPPORTED_FILE,
   *   OUT_OF_MEMORY, DISPOSED
   */
  async loadAdapter(path: string | FileUrl, options: AdapterOptions = {}): Promise<Adapter> {
    this.#checkAlive();
    const { native, checkpoint } = this.#parts;
    return Adapter.load(native, checkpoint.shape, path, options);
  }

  /** Facts about the model, and what it is doing now. */
  get info(): ModelInfo {
    const { native, checkpoint, settings, gptqCache } = this.#parts;
    return modelInfo(native, checkpoint, settings, gptqCache, this.#chat.info);
  }

  /**
   * Continues a prompt. Starts at once, beside whatever else runs; a long text is encoded first,
   * beside the event loop, and what is wrong with it then rejects the generation.
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED
   */
  generate<const S extends Schema = never>(
    prompt: Prompt,
    options: GenerateOptions<S> = {},
  ): Generation<Infer<S>> {
    this.#checkAlive();
    const checked = checkGenerateOptions(options, this.#vocabulary, this.#parts.native);
    const ids = promptIds(prompt, this.#limits);
    const { grammar } = checked;
    return this.#start(ids, checked, {
      grammar,
      calls: undefined,
      isChat: false,
      schema: options.json,
    });
  }

  /**
   * Answers a conversation, in the format the model was trained on (`model.info.chat`). No text in it
   * becomes a control token. One that would not fit is an error with both numbers, never cut:
   * {@link fitMessages} drops its oldest turns.
   * @param messages in OpenAI's form; of the last, `prefix: true` continues an answer
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED; MessagesError; GrammarError
   */
  chat<const S extends Schema = never>(
    messages: readonly Message[],
    options: ChatOptions<S> = {},
  ): Generation<Infer<S>, ChatResult<Infer<S>>> {
    this.#checkAlive();
    const rest = generateOptionsOf(options);
    const checked = checkGenerateOptions(
      { ...rest, stop: [...stopList(rest.stop), ...this.#chat.stops] },
      this.#vocabulary,
      this.#parts.native,
    );
    const tools = this.#chat.tools(options);
    const ids = promptIds(this.#chat.encode(messages, options), this.#limits);
    const start = (): ActiveGeneration<Infer<S>> =>
      this.#start(ids, checked, {
        grammar: tools?.grammar ?? checked.grammar,
        calls: tools?.calls,
        isChat: true,
        schema: options.json,
      });
    const { guard = {} } = options;
    const [input, output] = [guardSide('input', guard), guardSide('output', guard)];
    for (const side of [input, output]) checkPolicy(side?.policy);
    if (input === undefined && output === undefined) return start();
    // What a user's chat may share with others is what its judgements may.
    const { cacheSalt } = options;
    const judge = async (subject: string | readonly Message[], { policy }: GuardSide) =>
      (await this.moderate(subject, { policy, cacheSalt })).results[0];
    return new GuardedGeneration({
      judgeInput: input && (() => judge(messages, input)),
      judgeOutput: output && ((sentence) => judge(sentence, output)),
      start,
      seed: checked.request.seed,
    });
  }

  /**
   * The ids of a conversation as chat() has them, to count or to keep.
   * @throws TramontaneError INVALID_OPTION; MessagesError
   */
  chatTokens(messages: readonly Message[], options: ChatPromptOptions = {}): number[] {
    checkPromptOptions(options);
    return this.#chat.encode(messages, options);
  }

  /**
   * Writes what comes between two texts, with models whose vocabulary has tokens for it (v0.3's).
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED; MessagesError
   */
  fim<const S extends Schema = never>(
    prefix: string,
    suffix: string,
    options: GenerateOptions<S> = {},
  ): Generation<Infer<S>> {
    const template = hasFim(this.tokenizer) ? 'mistral-v3' : 'mistral-v1';
    return this.generate(encodeFim(this.tokenizer, template, { prompt: prefix, suffix }), options);
  }

  /**
   * Judges a text, or a conversation, by what the model itself makes of it: how probable each label
   * of a policy is as its answer, of one prompt. How good that is depends on the model.
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED, COMPUTE_FAILED; MessagesError
   */
  async moderate(
    input: string | readonly Message[],
    options: ModerationOptions = {},
  ): Promise<Moderation> {
    this.#checkAlive();
    check.checkNames('moderate()', options, ['policy', 'cacheSalt']);
    const { cacheSalt } = options;
    const policy = checkPolicy(options.policy);
    const subject = subjectOf(input);
    const prompt =
      this.#chat.info === undefined
        ? this.tokenizer.encode(moderationPrompt(subject, policy), { bos: this.tokenizer.addBos })
        : this.#chat.encode(moderationMessages(subject, policy), {});
    const how = { cacheSalt: saltOf(cacheSalt), first: prompt.length };
    const logProbability = async (label: string): Promise<number> => {
      const ids = await this.#idsForScore([...prompt, ...this.tokenizer.encode(label)]);
      return -(await score(this.#parts.requests, ids, how));
    };
    const labels = [...policy.map(({ label }) => label), NOT_MODERATED];
    // The first brings the prompt into the cache, where the others find it.
    const first = await logProbability(labels[0]!);
    const others = await Promise.all(labels.slice(1).map(logProbability));
    return moderationOf(policy, [first, ...others]);
  }

  /** Starts a generation whose prompt is known, or will be. */
  #start<T>(
    ids: Int32Array | Promise<Int32Array>,
    { request, maxTokens: asked, signal, stop }: CheckedOptions,
    { grammar, ...output }: Output,
  ): ActiveGeneration<T> {
    const {
      requests,
      native: { mostTokens },
    } = this.#parts;
    const { contextSize } = this.#limits;
    const isHeld = grammar !== undefined;
    let forgetSignal = (): void => undefined;
    const generation = new ActiveGeneration<T>({
      tokenizer: this.tokenizer,
      seed: request.seed,
      stop,
      stopTokens: request.stopTokens,
      logprobs: request.logprobs >= 0,
      atStart: output.isChat || isHeld,
      ...output,
      onEnd: () => {
        forgetSignal();
      },
    });
    const start = (ids: Int32Array, vocabulary?: NativeVocabulary): void => {
      if (generation.ended) return;
      if (this.#disposal || signal?.aborted) generation.end('aborted');
      else if (ids.length === contextSize) generation.end('length');
      else {
        const maxTokens = asked ?? Math.max(1, mostTokens - ids.length);
        const held = grammar !== undefined &&
          vocabulary !== undefined && {
            grammar: { grammar: grammar.native, vocabulary, dummySpace: true },
          };
        const route = requests.start(generation, (native, id) => {
          native.generate(id, { ...request, ...held, prompt: ids, maxTokens });
        });
        generation.begin(ids.length, route);
      }
    };
    if (ids instanceof Int32Array && !isHeld) {
      start(ids);
    } else {
      Promise.all([ids, isHeld ? this.#grammarVocabulary() : undefined])
        .then(([ids, vocabulary]) => {
          start(ids, vocabulary);
        })
        .catch((error: unknown) => {
          generation.fail(error);
        });
    }
    if (signal && !generation.ended) {
      forgetSignal = onAbort(signal, () => {
        generation.abort();
      });
    }
    return generation;
  }

  /** The tokens as matchers want them, made for the first generation that a grammar holds. */
  #grammarVocabulary(): Promise<NativeVocabulary> {
    this.#heldVocabulary ??= grammarVocabulary(this.tokenizer, this.#limits.vocabularySize);
    return this.#heldVocabulary;
  }

  /**
   * Next-token logits after each of `positions`.
   * @returns [positions][vocabularySize], row by row
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, OUT_OF_MEMORY, DISPOSED, COMPUTE_FAILED
   */
  async logits(prompt: Prompt, options: LogitsOptions = {}): Promise<Float32Array> {
    const { native } = this.#parts;
    const names = ['positions', 'cacheSalt', 'adapter', 'adapterScale'];
    check.checkNames('logits()', options, names);
    const how = { cacheSalt: saltOf(options.cacheSalt), ...Adapter.use(native, options) };
    const ids = await this.#idsForScore(prompt);
    const { positions = [ids.length - 1] } = options;
    const largest = ids.length - 1;
    const asked = check.list('positions', positions, { what: 'position', largest });
    if (asked.length === 0) throw check.invalidOption('positions', 'not empty', positions);
    return computeLogits(this.#parts.requests, ids, how, asked, this.#limits.vocabularySize);
  }

  /**
   * The perplexity of a text: exp of the mean negative log-likelihood of tokens 1 to n-1, each given
   * all before it.
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT (at least two tokens are needed), DISPOSED,
   *   COMPUTE_FAILED
   */
  async perplexity(prompt: Prompt, options: AdapterUse = {}): Promise<number> {
    check.checkNames('perplexity()', options, ['adapter', 'adapterScale']);
    const how = { cacheSalt: 0, ...Adapter.use(this.#parts.native, options) };
    const ids = await this.#idsForScore(prompt);
    if (ids.length < 2) {
      throw new TramontaneError('INVALID_PROMPT', 'perplexity() needs at least two tokens');
    }
    return Math.exp((await score(this.#parts.requests, ids, how)) / (ids.length - 1));
  }

  /**
   * Trains an adapter (LoRA) on a dataset, on the CPU, while the model's own weights stay as they are.
   * All of the data is read and checked before anything starts. The model may be used meanwhile.
   * @param dataset the path of a JSONL file, or samples
   * @throws TramontaneError INVALID_OPTION, INVALID_FILE (naming the line), FILE_NOT_READABLE,
   *   FILE_NOT_WRITABLE, OUT_OF_MEMORY, DISPOSED, COMPUTE_FAILED where the loss is no number
   */
  async train(dataset: TrainingDataset, options: TrainOptions): Promise<TrainResult> {
    this.#checkAlive();
    const { checkpoint, settings, tokenizer } = this.#parts;
    const { vocabularySize, contextSize } = this.#limits;
    return trainer().train(
      {
        name: basename(checkpoint.path),
        shape: checkpoint.shape,
        contextSize,
        description: { ...settings.description, undrawable: new Int32Array() },
        encoder: {
          tokenizer,
          vocabularySize,
          encodeConversation: (messages, tools) => this.#chat.encodeTraining(messages, tools),
        },
      },
      dataset,
      options,
    );
  }

  /** Ends everything in flight as aborted, and gives the memory back. May be called again. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#parts.native.dispose();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** `info`: what a logger that is handed the model writes. */
  toJSON(): ModelInfo {
    return this.info;
  }

  static {
    describeWith(this, 'Model', (model) => model.info);
  }

  async #idsForScore(prompt: Prompt): Promise<Int32Array> {
    this.#checkAlive();
    const ids = await promptIds(prompt, this.#limits);
    this.#checkAlive(); // It may have been disposed while the text was encoded.
    return ids;
  }

  #checkAlive(): void {
    if (this.#disposal) throw new TramontaneError('DISPOSED', 'the model was disposed');
  }
}
