/// <reference lib="esnext.disposable" preserve="true" />
import { TramontaneError } from '../errors';
import type { Checkpoint, GptqFacts, SlidingWindow } from '../files/checkpoint';
import { openCheckpoint } from '../files/open';
import { checkGenerateOptions, type GenerateOptions } from './generate-options';
import { ActiveGeneration, type Generation } from './generation';
import { useGptqCache, type GptqCacheUse } from './gptq-cache';
import { fileBytes } from '../files/inspect';
import { checkLoadOptions, settle, type LoadOptions, type Settings } from './load-options';
import {
  fromNative,
  native,
  type NativeDescription,
  type NativeEvent,
  type NativeModel,
} from './native';
import * as check from './checks';
import { preload } from './preload';
import { createTokenizer } from '../tokenizer/create';
import type { Tokenizer } from '../tokenizer/tokenizer';

export type { LoadOptions, LoadProgress } from './load-options';

/** Facts about a loaded model. */
export interface ModelInfo {
  readonly architecture: string;
  readonly name?: string;
  readonly path: string;
  /** Of all its files together. */
  readonly fileBytes: number;
  /** Tensors per storage format. */
  readonly formats: Readonly<Record<string, number>>;
  /** How the weights of a GPTQ checkpoint are quantized. */
  readonly gptq?: GptqFacts;
  /** What became of the option `gptqCache`. */
  readonly gptqCache?: GptqCacheUse;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly vocabularySize: number;
  /** Most tokens of prompt and output together. */
  readonly contextSize: number;
  readonly slidingWindow: SlidingWindow;
  /** The set of kernels in use: `avx2`, `scalar`, ..., `cuda sm_90` */
  readonly implementation: string;
  readonly backend: {
    readonly name: 'cpu' | 'cuda';
    /** The GPU's name. */
    readonly device?: string;
    /** `option`, or what kept `auto` from CUDA, or that nothing did. */
    readonly source: string;
  };
  readonly threads: { readonly count: number; readonly source: string };
  readonly kvCache: {
    readonly type: string;
    readonly tokens: number;
    /** Pages of 32 tokens that running sequences hold. */
    readonly pagesInUse: number;
    /** Pages kept for prompts that start the same way. */
    readonly pagesCached: number;
  };
}

/** Logits to compute, beside the tokens. */
export interface LogitsOptions {
  /** Positions whose next-token logits are wanted, in any order. @default the last */
  readonly positions?: readonly number[];
}

interface Score {
  resolve: (negativeLogLikelihood: number) => void;
  reject: (reason: unknown) => void;
}

function backendInfo({ device, backendReason }: NativeModel): ModelInfo['backend'] {
  if (device === undefined) return { name: 'cpu', source: backendReason };
  return { name: 'cuda', device, source: backendReason };
}

async function withGptqCache(
  { gptqCache, signal }: LoadOptions,
  checkpoint: Checkpoint,
  { description }: Settings,
  progress: (phase: string, fraction: number) => void,
): Promise<{ description: NativeDescription; gptqCache?: GptqCacheUse }> {
  if (gptqCache === undefined) return { description };
  return useGptqCache(gptqCache, checkpoint, description, {
    ...(signal && { signal }),
    onProgress: (fraction) => {
      progress('cache', 0.6 + 0.3 * fraction);
    },
  });
}

/**
 * A model in memory. Its files are mapped, not read; any number of generations share its threads
 * and its KV cache. Dispose of it to give the memory back (`await using` does).
 */
export class Model implements AsyncDisposable {
  readonly tokenizer: Tokenizer;
  private readonly generations = new Map<number, ActiveGeneration>();
  private readonly scores = new Map<number, Score>();
  private nextId = 1;
  private disposal: Promise<void> | undefined;

  private constructor(
    private readonly native: NativeModel,
    private readonly checkpoint: Checkpoint,
    private readonly settings: Settings,
    tokenizer: Tokenizer,
    route: { events?: (events: NativeEvent[]) => void },
    private readonly gptqCache?: GptqCacheUse,
  ) {
    this.tokenizer = tokenizer;
    route.events = (events) => {
      for (const event of events) this.receive(event);
    };
  }

  /**
   * Loads a model from a GGUF file, or from a Hugging Face directory, GPTQ included.
   * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, FILE_NOT_WRITABLE, INVALID_FILE,
   * UNSUPPORTED_FILE, OUT_OF_MEMORY, BACKEND_UNAVAILABLE, NATIVE_UNAVAILABLE; the signal's reason when it is aborted
   */
  static async load(path: string, options: LoadOptions = {}): Promise<Model> {
    if (typeof path !== 'string' || path === '') {
      throw check.invalidOption('path', 'the path of a model file or directory', path);
    }
    checkLoadOptions(options);
    const { signal, onProgress } = options;
    const progress = (phase: string, fraction: number): void => {
      signal?.throwIfAborted();
      onProgress?.({ phase, fraction });
    };
    progress('header', 0);
    const checkpoint = await openCheckpoint(path, signal ? { signal } : {});
    const settings = settle(options, checkpoint);
    progress('tokenizer', 0.3);
    const tokenizer = createTokenizer(checkpoint.tokenizer);
    if (tokenizer.vocabularySize > checkpoint.shape.vocabularySize) {
      throw new TramontaneError(
        'INVALID_FILE',
        `${path}: the tokenizer has ${String(tokenizer.vocabularySize)} tokens, but the model ` +
          `only ${String(checkpoint.shape.vocabularySize)}`,
      );
    }
    if (options.preload === true) {
      await preload(checkpoint.files, (fraction) => {
        progress('preload', 0.3 + 0.3 * fraction);
      });
    }
    progress('weights', 0.6);
    const { description, gptqCache } = await withGptqCache(options, checkpoint, settings, progress);
    const route: { events?: (events: NativeEvent[]) => void } = {};
    const loaded = await native()
      .load(description, (events) => route.events?.(events))
      .catch((error: unknown) => {
        throw fromNative(error);
      });
    const model = new Model(loaded, checkpoint, settings, tokenizer, route, gptqCache);
    try {
      progress('ready', 1);
    } catch (error) {
      await model.dispose();
      throw error;
    }
    return model;
  }

  get info(): ModelInfo {
    const { checkpoint, settings } = this;
    const { shape } = checkpoint;
    const stats = this.native.stats();
    return {
      architecture: checkpoint.architecture,
      ...(checkpoint.name !== undefined && { name: checkpoint.name }),
      path: checkpoint.path,
      fileBytes: fileBytes(checkpoint),
      formats: checkpoint.formats,
      ...(checkpoint.gptq !== undefined && { gptq: checkpoint.gptq }),
      ...(this.gptqCache !== undefined && { gptqCache: this.gptqCache }),
      layers: shape.layers,
      hiddenSize: shape.hiddenSize,
      heads: shape.heads,
      kvHeads: shape.kvHeads,
      headSize: shape.headSize,
      vocabularySize: shape.vocabularySize,
      contextSize: settings.description.contextSize,
      slidingWindow: settings.slidingWindow,
      implementation: this.native.implementation,
      backend: backendInfo(this.native),
      threads: settings.threads,
      kvCache: {
        type: settings.description.kvCacheType,
        tokens: this.native.kvCacheTokens,
        pagesInUse: stats.pagesInUse,
        pagesCached: stats.pagesCached,
      },
    };
  }

  /**
   * Continues a prompt. Starts at once, beside whatever else runs; nothing needs to be awaited.
   * @param prompt text, which gets a BOS token if the file says so, or token ids, taken as they are
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED
   */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    this.checkAlive();
    const { contextSize, kvCacheTokens } = this.settings.description;
    const vocabularySize = this.checkpoint.shape.vocabularySize;
    const checked = checkGenerateOptions(options, vocabularySize, this.checkpoint.endTokens);
    const ids = this.promptIds(prompt);
    const windowed = this.settings.slidingWindow.size !== null;
    const room = (windowed ? contextSize : Math.min(contextSize, kvCacheTokens)) - ids.length;

    const id = this.nextId++;
    const { request, signal, stop } = checked;
    const generation = new ActiveGeneration({
      tokenizer: this.tokenizer,
      promptTokens: ids.length,
      seed: request.seed,
      stop,
      stopTokens: request.stopTokens,
      logprobs: request.logprobs >= 0,
      abort: () => {
        this.native.abort(id);
      },
    });
    if (signal?.aborted || ids.length === contextSize) {
      generation.receive({ id, finish: signal?.aborted ? 'aborted' : 'length' });
      return generation;
    }
    const maxTokens = checked.maxTokens ?? Math.max(1, room);
    this.start(() => {
      this.native.generate(id, { ...request, prompt: ids, maxTokens });
    });
    this.generations.set(id, generation);
    if (signal) {
      const abort = (): void => {
        generation.abort();
      };
      signal.addEventListener('abort', abort, { once: true });
      const remove = (): void => {
        signal.removeEventListener('abort', abort);
      };
      generation.result().then(remove, remove);
    }
    return generation;
  }

  /**
   * Next-token logits after each of `positions`.
   * @returns [positions][vocabularySize], row by row
   * @throws TramontaneError INVALID_OPTION, INVALID_PROMPT, DISPOSED, COMPUTE_FAILED
   */
  async logits(tokens: readonly number[], options: LogitsOptions = {}): Promise<Float32Array> {
    this.checkAlive();
    check.checkNames('logits()', options, ['positions']);
    const ids = this.promptIds(tokens);
    const asked = options.positions ?? [ids.length - 1];
    if (asked.length === 0) throw check.invalidOption('positions', 'not empty', asked);
    asked.forEach((position, index) => {
      check.integer(`positions[${String(index)}]`, position, 0, ids.length - 1);
    });
    const sorted = Int32Array.from(new Set(asked)).sort();
    const { vocabularySize } = this.checkpoint.shape;
    const computed = new Float32Array(sorted.length * vocabularySize);
    await this.score(ids, sorted, computed);
    if (sorted.length === asked.length && sorted.every((position, i) => position === asked[i])) {
      return computed;
    }
    const out = new Float32Array(asked.length * vocabularySize);
    asked.forEach((position, row) => {
      const from = sorted.indexOf(position) * vocabularySize;
      out.set(computed.subarray(from, from + vocabularySize), row * vocabularySize);
    });
    return out;
  }

  /**
   * The perplexity of a text: exp of the mean negative log-likelihood of tokens 1 to n-1, each given
   * all before it.
   * @throws TramontaneError INVALID_PROMPT (at least two tokens are needed), DISPOSED
   */
  async perplexity(tokens: readonly number[]): Promise<number> {
    this.checkAlive();
    const ids = this.promptIds(tokens);
    if (ids.length < 2) {
      throw new TramontaneError('INVALID_PROMPT', 'perplexity() needs at least two tokens');
    }
    return Math.exp((await this.score(ids)) / (ids.length - 1));
  }

  /** Ends everything in flight as aborted, and gives the memory back. May be called again. */
  dispose(): Promise<void> {
    this.disposal ??= this.native.dispose();
    return this.disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private checkAlive(): void {
    if (this.disposal) throw new TramontaneError('DISPOSED', 'the model was disposed');
  }

  private promptIds(prompt: string | readonly number[]): Int32Array {
    const { contextSize } = this.settings.description;
    const ids =
      typeof prompt === 'string'
        ? Int32Array.from(this.tokenizer.encode(prompt, { bos: this.tokenizer.addBos }))
        : check.tokenIds('prompt', prompt, this.checkpoint.shape.vocabularySize);
    if (prompt.length === 0) {
      throw new TramontaneError('INVALID_PROMPT', 'the prompt is empty');
    }
    if (ids.length > contextSize) {
      throw new TramontaneError(
        'INVALID_PROMPT',
        `the prompt has ${String(ids.length)} tokens, but the context holds ${String(contextSize)}`,
      );
    }
    return ids;
  }

  private start(submit: () => void): void {
    try {
      submit();
    } catch (error) {
      throw fromNative(error);
    }
  }

  private score(tokens: Int32Array, positions?: Int32Array, out?: Float32Array): Promise<number> {
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      this.start(() => {
        this.native.score(id, tokens, positions, out);
      });
      this.scores.set(id, { resolve, reject });
    });
  }

  private receive(event: NativeEvent): void {
    const generation = this.generations.get(event.id);
    if (generation) {
      if (generation.receive(event)) this.generations.delete(event.id);
      return;
    }
    const score = this.scores.get(event.id);
    if (!score || event.finish === undefined) return;
    this.scores.delete(event.id);
    if (event.finish === 'scored') {
      score.resolve(event.negativeLogLikelihood ?? NaN);
    } else if (event.finish === 'aborted') {
      score.reject(new TramontaneError('DISPOSED', 'the model was disposed'));
    } else {
      score.reject(fromNative(event.error));
    }
  }
}
