import { findCudaPlugin } from './cuda-plugin';
import { isTemplate, TEMPLATE_NAMES, type ChatTemplate } from '../chat/encode-chat';
import { TramontaneError } from '../errors';
import type { Checkpoint, SlidingWindow } from '../files/checkpoint';
import { defaultThreads, memoryGroups } from './process-limits';
import type { NativeDescription } from './native';
import * as check from './checks';

export interface LoadProgress {
  /**
   * `download` and `verify` of a model that is fetched first, `header`, `tokenizer`, `preload` and
   * `cache` (see the options), `weights`, `ready`.
   */
  readonly phase: string;
  /** Of the whole load, from 0 to 1. */
  readonly fraction: number;
}

/** Options of {@link Model.load}. */
export interface LoadOptions {
  /** Threads that compute. @default the CPUs the process may use, container quotas included */
  readonly threads?: number;
  /**
   * Most tokens of prompt and output together. Larger than the file's only with a sliding window.
   * @default the file's, or what the memory for `kvCacheTokens` holds; `model.info` says which
   */
  readonly contextSize?: number;
  /** Keys each token sees, its own included; false: all before it. @default the file's */
  readonly slidingWindow?: number | false;
  /**
   * `int8`: quantized weights meet activations quantized to 8 bits. `f32`: weights are decoded and
   * everything is computed in f32; slow and exact.
   * @default 'int8'
   */
  readonly compute?: 'int8' | 'f32';
  /** @default 'f16' */
  readonly kvCacheType?: 'f16' | 'f32';
  /**
   * Tokens the KV cache holds, over all sequences. On the CPU, memory is used as it fills, and pages
   * that nobody uses are given back when memory runs short.
   * @default what fits: on the CPU one full sequence, and up to four in half of the memory that
   * containers and the machine leave beside weights, scratch, the process and its other models; on a
   * GPU up to 128 in `memoryFraction`. `model.info.kvCache.source` has the sum
   */
  readonly kvCacheTokens?: number;
  /** Requests that share the model's steps at once, from 1 to 128; others wait. @default 128 */
  readonly maxRunning?: number;
  /**
   * Requests that may wait beside them. One more fails at once with QUEUE_FULL, so that a server
   * can say it is busy instead of letting its users wait without an end.
   * @default 1024
   */
  readonly maxWaiting?: number;
  /**
   * What computes. `cuda` is an error where it cannot be used or the model does not fit; `auto`
   * then takes the CPU, and `model.info.backend` says why.
   * @default 'auto'
   */
  readonly backend?: 'auto' | 'cpu' | 'cuda';
  /** The GPU, counted as CUDA_VISIBLE_DEVICES leaves them. @default 0 */
  readonly device?: number;
  /** The part of the GPU's free memory that may be used, above 0 and at most 1. @default 0.9 */
  readonly memoryFraction?: number;
  /**
   * A file that keeps GPTQ weights with act-order in the order in which the CPU reads them. The
   * first load writes it, later ones map it and start faster. One file for each model; it is
   * written anew when the model's files have changed.
   * @default none: they are brought in order at each load, in memory
   */
  readonly gptqCache?: string;
  /**
   * Reads the files before the load is done, so that the first tokens do not wait for a disk. They
   * stay in the system's cache of files, which gives them up when memory is short.
   * @default false: they are read when they are first used
   */
  readonly preload?: boolean;
  /**
   * How the files come into memory. `shared`: mapped, so that all processes and models which use a
   * file share its pages, and the system may drop them and read them again; `private` where the file
   * system knows no shared mappings (FUSE with direct_io, 9p). `private`: asks for that at once. A
   * mapped file that changes ends requests with COMPUTE_FAILED. `read`: a copy of its own, which
   * takes the files' size of memory and the time to read them; what becomes of the files later does
   * not matter.
   * @default 'shared'
   */
  readonly mapping?: 'shared' | 'private' | 'read';
  /**
   * How the model writes conversations, for chat(): a format by its name, or `{ jinja: text }`.
   * @default what the files say; `model.info.chat` has it
   */
  readonly chatTemplate?: ChatTemplate;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Gives the load up, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

const NAMES = [
  'threads',
  'contextSize',
  'slidingWindow',
  'compute',
  'kvCacheType',
  'kvCacheTokens',
  'maxRunning',
  'maxWaiting',
  'backend',
  'device',
  'memoryFraction',
  'gptqCache',
  'preload',
  'mapping',
  'chatTemplate',
  'onProgress',
  'signal',
] as const satisfies readonly (keyof LoadOptions)[];

const MOST_TOKENS = 2 ** 30;

/** Checks what can be checked before the file is known. @throws TramontaneError INVALID_OPTION */
export function checkLoadOptions(options: LoadOptions): void {
  check.checkNames('Model.load()', options, NAMES);
  const { threads, contextSize, slidingWindow, compute, kvCacheType, kvCacheTokens } = options;
  if (threads !== undefined) check.integer('threads', threads, 1, 1024);
  if (contextSize !== undefined) check.integer('contextSize', contextSize, 1, MOST_TOKENS);
  if (slidingWindow !== undefined && slidingWindow !== false) {
    check.integer('slidingWindow', slidingWindow, 1, MOST_TOKENS);
  }
  if (compute !== undefined) check.oneOf('compute', compute, ['int8', 'f32']);
  if (kvCacheType !== undefined) check.oneOf('kvCacheType', kvCacheType, ['f16', 'f32']);
  if (kvCacheTokens !== undefined) check.integer('kvCacheTokens', kvCacheTokens, 1, MOST_TOKENS);
  const { maxRunning, maxWaiting } = options;
  if (maxRunning !== undefined) check.integer('maxRunning', maxRunning, 1, 128);
  if (maxWaiting !== undefined) check.integer('maxWaiting', maxWaiting, 0, 1_000_000);
  checkBackend(options);
  const { gptqCache } = options;
  if (gptqCache !== undefined && (typeof gptqCache !== 'string' || gptqCache === '')) {
    throw check.invalidOption('gptqCache', 'the path of a file', gptqCache);
  }
  if (options.preload !== undefined) check.boolean('preload', options.preload);
  const { mapping } = options;
  if (mapping !== undefined) check.oneOf('mapping', mapping, ['shared', 'private', 'read']);
  const { chatTemplate } = options;
  if (chatTemplate !== undefined && !isTemplate(chatTemplate)) {
    throw check.invalidOption(
      'chatTemplate',
      TEMPLATE_NAMES.join(', ') + ' or { jinja }',
      chatTemplate,
    );
  }
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function') {
    throw check.invalidOption('onProgress', 'a function', options.onProgress);
  }
  if (options.signal !== undefined) check.signal('signal', options.signal);
}

function checkBackend({ backend, device, memoryFraction }: LoadOptions): void {
  if (backend !== undefined) check.oneOf('backend', backend, ['auto', 'cpu', 'cuda']);
  if (device !== undefined) check.integer('device', device, 0, 1023);
  if (memoryFraction !== undefined) check.number('memoryFraction', memoryFraction, 0.01, 1);
  if (backend === 'cpu' && (device !== undefined || memoryFraction !== undefined)) {
    const name = device !== undefined ? 'device' : 'memoryFraction';
    throw new TramontaneError('INVALID_OPTION', `${name} is for a GPU, but backend is cpu`);
  }
}

export interface Settings {
  readonly slidingWindow: SlidingWindow;
  readonly threads: { readonly count: number; readonly source: string };
  /** What the tokenizer tells is not known yet. */
  readonly description: Omit<NativeDescription, 'undrawable'>;
}

/** What options and file come to together. @throws TramontaneError INVALID_OPTION */
export function settle(options: LoadOptions, checkpoint: Checkpoint): Settings {
  const { shape } = checkpoint;
  const slidingWindow: SlidingWindow =
    options.slidingWindow === undefined
      ? checkpoint.slidingWindow
      : { size: options.slidingWindow || null, source: 'option' };
  const contextSize = options.contextSize ?? shape.contextSize;
  if (contextSize > shape.contextSize && slidingWindow.size === null) {
    throw check.invalidOption(
      'contextSize',
      `at most ${String(shape.contextSize)}, which the file says (more needs a sliding window)`,
      contextSize,
    );
  }
  const threads =
    options.threads === undefined ? defaultThreads() : { count: options.threads, source: 'option' };
  const { backend = 'auto', device = 0, memoryFraction = 0.9 } = options;

  return {
    slidingWindow,
    threads,
    description: {
      files: checkpoint.files.map((file) => file.path),
      mapping: options.mapping ?? 'shared',
      weights: checkpoint.weights,
      shape,
      window: Math.min(slidingWindow.size ?? 0, MOST_TOKENS),
      contextSize: Math.min(contextSize, MOST_TOKENS),
      contextAsked: options.contextSize !== undefined,
      kvCacheTokens: options.kvCacheTokens ?? 0,
      memoryGroups: memoryGroups(),
      threads: threads.count,
      kvCacheType: options.kvCacheType ?? 'f16',
      compute: options.compute ?? 'int8',
      maxRunning: options.maxRunning ?? 128,
      maxWaiting: options.maxWaiting ?? 1024,
      backend: {
        name: backend,
        fallsBack: true,
        cpuReason: 'option',
        plugin: findCudaPlugin(),
        device,
        memoryFraction,
      },
    },
  };
}
