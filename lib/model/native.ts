/** The only place that knows what the native addon offers. */
import type { AdapterFile } from '../adapters/adapter-file';
import type { ModelShape, Weight, WeightRole } from '../files/checkpoint';
import { TramontaneError, type TramontaneErrorCode } from '../errors';
import { loadAddon } from './addon';
import type { MemoryGroup } from './process-limits';

/** What native believes of a checkpoint, as far as it cannot check it again. */
export interface NativeDescription {
  readonly files: readonly string[];
  readonly mapping: 'shared' | 'private' | 'read';
  readonly weights: readonly Weight[];
  readonly shape: ModelShape;
  /** Keys a query sees; 0: all before it. */
  readonly window: number;
  readonly contextSize: number;
  /** Whether the option says so; a context of the file's shrinks to what fits. */
  readonly contextAsked: boolean;
  /** Requests that share steps, and that wait beside them, at most. */
  readonly maxRunning: number;
  readonly maxWaiting: number;
  /** Rows of the model that the tokenizer has no piece for: they are never drawn. */
  readonly undrawable: Int32Array;
  /** 0: what fits. */
  readonly kvCacheTokens: number;
  readonly memoryGroups: readonly MemoryGroup[];
  readonly threads: number;
  readonly kvCacheType: 'f16' | 'f32';
  readonly compute: 'int8' | 'f32';
  readonly backend: {
    readonly name: 'auto' | 'cpu' | 'cuda';
    /** Whether `auto` takes the CPU where CUDA cannot be had; else that is an error. */
    readonly fallsBack: boolean;
    /** Why it is `cpu`. */
    readonly cpuReason: string;
    /** Where the CUDA plug-in is, or why there is none. */
    readonly plugin:
      { readonly path: string } | { readonly path?: undefined; readonly problem: string };
    readonly device: number;
    readonly memoryFraction: number;
  };
}

/** A generation with every option spelled out. */
export interface NativeRequest {
  readonly prompt: Int32Array;
  readonly maxTokens: number;
  readonly temperature: number;
  /** 0: off */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly seed: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly biasTokens: Int32Array;
  readonly biasValues: Float32Array;
  readonly allowedTokens?: Int32Array;
  /**
   * Not together with `allowedTokens`. Those of `stopTokens` that have no text end the generation
   * where the grammar accepts; it ends by itself where nothing else could follow.
   */
  readonly grammar?: {
    readonly grammar: NativeGrammar;
    readonly vocabulary: NativeVocabulary;
    readonly dummySpace: boolean;
  };
  readonly stopTokens: Int32Array;
  /** -1: none */
  readonly logprobs: number;
  readonly priority: number;
  /** 0 to 2^48; only requests of the same one find each other's keys. */
  readonly cacheSalt: number;
  readonly adapter?: NativeAdapterUse;
}

/** A loaded adapter, and what its part is multiplied by. */
export interface NativeAdapterUse {
  readonly id: number;
  readonly scale: number;
}

/** A weight, and what an adapter adds to it. */
export interface NativeMerge {
  readonly files: readonly string[];
  readonly weight: Weight;
  readonly shape: ModelShape;
  /** With the pair of the weight alone. */
  readonly adapter: AdapterFile;
  readonly scale: number;
  readonly format: MergedFormat;
  readonly threads: number;
}

/** The formats that weights are written in. */
export type MergedFormat = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0';

/** What a score has beside its tokens, as of a {@link NativeRequest}. */
export type NativeScoreOptions = Pick<NativeRequest, 'cacheSalt' | 'adapter'> & {
  /** The token that the likelihood begins with. @default 1 */
  readonly first?: number;
};

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A token of a request, or its end. */
export interface NativeEvent {
  readonly id: number;
  readonly token?: number;
  readonly logprob?: number;
  readonly top?: TokenLogprob[];
  readonly finish?: 'stop' | 'length' | 'aborted' | 'scored' | 'failed';
  readonly cachedTokens?: number;
  readonly negativeLogLikelihood?: number;
  readonly timings?: { queuedMs: number; promptMs: number; generateMs: number };
  readonly error?: Error & { code: TramontaneErrorCode };
}

/** A loaded model. No call does more than copy its arguments; what comes of it arrives as events. */
export interface NativeModel {
  readonly implementation: string;
  readonly kvCacheTokens: number;
  /** Most tokens of prompt and output that one sequence can have: of the context, and of the cache. */
  readonly mostTokens: number;
  /** `option`, or what else decided; so is `contextSource`. */
  readonly kvCacheSource: string;
  readonly contextSize: number;
  readonly contextSource: string;
  /** Name of the GPU that computes. */
  readonly device?: string;
  /** `option`, or what kept `auto` from CUDA, or that nothing did. */
  readonly backendReason: string;
  generate(id: number, request: NativeRequest): void;
  /** Logits at `positions` (ascending, distinct) into `out`; without them the likelihood. */
  score(
    id: number,
    tokens: Int32Array,
    options: NativeScoreOptions,
    positions?: Int32Array,
    out?: Float32Array,
  ): void;
  /** Reads the adapter beside whatever runs. */
  loadAdapter(file: AdapterFile): Promise<{ readonly id: number; readonly bytes: number }>;
  /** Requests that use it go on. */
  unloadAdapter(id: number): void;
  abort(id: number): void;
  /** So many more of the request's tokens were taken: native runs at most 8 ahead of that. */
  acknowledge(id: number, tokens: number): void;
  /** Whether the process is kept alive for what is in flight. */
  keepAlive(awaited: boolean): void;
  stats(): {
    readonly pages: number;
    readonly pagesInUse: number;
    readonly pagesCached: number;
    readonly running: number;
    readonly waiting: number;
  };
  dispose(): Promise<void>;
}

/** What this machine can compute with. */
export interface NativeBackends {
  readonly cpu: {
    readonly implementations: string[];
    /** The one in use; absent when there is a problem. */
    readonly implementation?: string;
    readonly problem?: string;
  };
  /** Absent when no plug-in was named. */
  readonly cuda?: {
    readonly problem?: string;
    /** 13000 is 13.0; 0: no driver. Absent, like all below, when the plug-in could not be loaded. */
    readonly driverVersion?: number;
    readonly runtimeVersion?: number;
    readonly devices?: {
      readonly name: string;
      readonly computeCapability: string;
      readonly supported: boolean;
      readonly memoryBytes: number;
    }[];
  };
}

/** What the machine could do at most, measured on the threads and files of a model. */
export interface NativeMachineLimits {
  /** Reads all files once, and multiplies for about 20 ms. 0 operations: there is no such loop here. */
  measure(): Promise<{ readBytesPerSecond: number; int8OperationsPerSecond: number }>;
}

/** Samples one after another, each of which sees its own tokens alone. */
export interface NativeSequence {
  readonly tokens: Int32Array;
  /** The token that should follow each; -1: it is not learned. */
  readonly labels: Int32Array;
  /** Where samples start, ascending from 0. */
  readonly starts: Int32Array;
}

export interface NativeTrainerOptions {
  readonly rank: number;
  /** What an adapter's part is multiplied by: alpha / rank, or alpha / sqrt(rank). */
  readonly scale: number;
  readonly dropout: number;
  /** Of dropout, 0 to 2^48. */
  readonly seed: number;
  /** Roles of linear layers, each of which has an adapter in every layer. */
  readonly targets: readonly WeightRole[];
  /** Of a sequence. */
  readonly mostTokens: number;
}

export interface NativeAdamW {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** A longer gradient is scaled down to it; 0: none is. */
  readonly mostNorm: number;
  /** From 1 on. */
  readonly step: number;
}

/**
 * What an optimizer knows: by layer and, within it, by target, A [rank][inputs] and then the
 * transposed B [rank][outputs].
 */
export type NativeState = 'parameters' | 'firstMoments' | 'secondMoments';

/** Trains adapters of a model. Its own mapping of the files; one call at a time. */
export interface NativeTrainer {
  /** Before all other calls but cancel(). */
  open(): Promise<void>;
  /**
   * Adds the gradient of `scale` times the sum of a sequence's losses. `number` chooses what dropout
   * drops.
   * @returns that sum; undefined when cancelled, and the gradient is of no use
   */
  accumulate(sequence: NativeSequence, scale: number, number: number): Promise<number | undefined>;
  /** The same sum without a gradient and without dropout. */
  evaluate(sequence: NativeSequence): Promise<number | undefined>;
  /** A step of the optimizer. @returns the gradient's norm before clipping */
  update(options: NativeAdamW): Promise<number>;
  forgetGradient(): void;
  /** A copy. */
  read(state: NativeState): Float32Array;
  write(state: NativeState, values: Float32Array): void;
  /** For good: what is computed now ends soon. */
  cancel(): void;
}

/** The tables of a grammar, checked. May be used by several models at once. */
export interface NativeGrammar {
  /** Whether these bytes of UTF-8 are a whole text of the grammar. */
  accepts(text: Uint8Array): boolean;
}

/** The tokens of a tokenizer, arranged for finding those that a grammar allows. */
export interface NativeVocabulary {
  readonly vocabulary: unique symbol;
}

/** What a token is to a grammar. Control tokens, and ids without a piece, are NONE. */
export const TokenKind = { TEXT: 0, NONE: 1, BYTE: 2 } as const;

/** Where in a grammar a sequence of tokens is: for tests and measuring, and to follow a generation. */
export interface NativeMatcher {
  /** Bits of the tokens allowed next, a copy. */
  mask(): Uint32Array;
  /** False, and nothing has changed: the token is not allowed. */
  accept(token: number): boolean;
  rollback(tokens: number): void;
  /** Whether the text may end here. */
  readonly accepting: boolean;
  /** Whether it cannot go on. */
  readonly finished: boolean;
  /** What bytes may follow, for messages. */
  place(): string;
  /** Forgets what is kept to be fast; nothing else changes. */
  evict(): void;
  /** The microseconds that finding the mask took. */
  timeMask(): number;
}

/** What this process may still take. */
export interface NativeFreeMemory {
  readonly freeBytes: number;
  readonly limitBytes: number;
  /** What has the limit: `the machine`, or a file of a control group. */
  readonly limitedBy: string;
}

/** What a model needs beside its weights, on the CPU, and what there is. */
export interface NativeMemoryNeeds extends NativeFreeMemory {
  /** Of 32 tokens, all layers. */
  readonly pageBytes: number;
  /** That one sequence of a whole context holds at most. */
  readonly sequencePages: number;
  /** Of the largest steps, of prompts and of so many generations. */
  readonly scratchBytes: number;
}

interface NativeAddon {
  /** @throws INVALID_GRAMMAR for tables that matching could not rely on, as left recursion */
  readonly Grammar: new (nodes: Int32Array, edges: Int32Array, most: Int32Array) => NativeGrammar;
  readonly Matcher: new (
    grammar: NativeGrammar,
    vocabulary: NativeVocabulary,
    options: {
      /** Allowed where the text may end. */
      readonly endTokens: Int32Array;
      /** One space at the start, or after a control token, counts for nothing. */
      readonly dummySpace: boolean;
    },
  ) => NativeMatcher;
  /** Token i is `bytes` from `offsets[i]` to `offsets[i + 1]`, of kind `kinds[i]`. */
  buildVocabulary(
    bytes: Uint8Array,
    offsets: Int32Array,
    kinds: Uint8Array,
  ): Promise<NativeVocabulary>;
  readonly Trainer: new (
    description: NativeDescription,
    options: NativeTrainerOptions,
  ) => NativeTrainer;
  readonly MachineLimits: new (files: readonly string[], threads: number) => NativeMachineLimits;
  backends(plugin?: string): Promise<NativeBackends>;
  load(
    description: NativeDescription,
    onEvents: (events: NativeEvent[]) => void,
    /** Takes how much of the weights is read, or a GPU has, 0 to 1. What it throws, load() rejects with. */
    onProgress: (fraction: number) => void,
  ): Promise<NativeModel>;
  /** Reads no files but the system's. */
  memoryNeeds(description: NativeDescription, users: number): NativeMemoryNeeds;
  freeMemory(groups: readonly MemoryGroup[]): NativeFreeMemory;
  /** Brings the words of a GPTQ weight into the order in which the CPU reads them. */
  orderGptq(
    files: readonly string[],
    weight: Weight,
    threads: number,
    out: Uint8Array,
  ): Promise<void>;
  /** Writes the weight with the adapter's part into `out`, which is as long as that. */
  mergeWeight(merge: NativeMerge, out: Uint8Array): Promise<void>;
}

let addon: NativeAddon | undefined;

/**
 * The addon, loaded at first use.
 * @throws TramontaneError NATIVE_UNAVAILABLE
 */
export function native(): NativeAddon {
  addon ??= loadAddon() as NativeAddon;
  return addon;
}

/** An error from native as the package's own class. */
export function fromNative(error: unknown): TramontaneError {
  if (error instanceof TramontaneError) return error;
  const { code, message } = Object(error) as { code?: unknown; message?: unknown };
  const text = typeof message === 'string' ? message : String(error);
  return typeof code === 'string'
    ? new TramontaneError(code as TramontaneErrorCode, text, { cause: error })
    : new TramontaneError('COMPUTE_FAILED', `the native addon failed: ${text}`, { cause: error });
}
