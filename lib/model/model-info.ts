import type { Checkpoint, GptqFacts, SlidingWindow } from '../files/checkpoint';
import { fileBytes } from '../files/inspect';
import type { GptqCacheUse } from './gptq-cache';
import type { Settings } from './load-options';
import type { NativeModel } from './native';

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
  /** `option`, `file`, or the sum that says why it is smaller than the file's. */
  readonly contextSource: string;
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
  /** Requests: those that take part in steps now, and the rest. */
  readonly requests: {
    readonly running: number;
    readonly waiting: number;
    readonly maxRunning: number;
    readonly maxWaiting: number;
  };
  /**
   * How the model writes conversations, what says so, and whether that has calls of tools; absent for
   * a model that only continues.
   */
  readonly chat?: { readonly name: string; readonly source: string; readonly tools: boolean };
  readonly kvCache: {
    readonly type: string;
    readonly tokens: number;
    /** `option`, how many full sequences, or the sum of what fits. */
    readonly source: string;
    /** Pages of 32 tokens that running sequences hold. */
    readonly pagesInUse: number;
    /** Pages kept for prompts that start the same way. */
    readonly pagesCached: number;
  };
}

function backendInfo({ device, backendReason }: NativeModel): ModelInfo['backend'] {
  if (device === undefined) return { name: 'cpu', source: backendReason };
  return { name: 'cuda', device, source: backendReason };
}

/** What a model is, and what it is doing now. */
export function modelInfo(
  native: NativeModel,
  checkpoint: Checkpoint,
  settings: Settings,
  gptqCache: GptqCacheUse | undefined,
  chat: ModelInfo['chat'],
): ModelInfo {
  const { shape } = checkpoint;
  const stats = native.stats();
  return {
    architecture: checkpoint.architecture,
    ...(checkpoint.name !== undefined && { name: checkpoint.name }),
    path: checkpoint.path,
    fileBytes: fileBytes(checkpoint),
    formats: checkpoint.formats,
    ...(checkpoint.gptq !== undefined && { gptq: checkpoint.gptq }),
    ...(gptqCache !== undefined && { gptqCache }),
    layers: shape.layers,
    hiddenSize: shape.hiddenSize,
    heads: shape.heads,
    kvHeads: shape.kvHeads,
    headSize: shape.headSize,
    vocabularySize: shape.vocabularySize,
    contextSize: native.contextSize,
    contextSource: native.contextSource,
    slidingWindow: settings.slidingWindow,
    implementation: native.implementation,
    backend: backendInfo(native),
    threads: settings.threads,
    requests: {
      running: stats.running,
      waiting: stats.waiting,
      maxRunning: settings.description.maxRunning,
      maxWaiting: settings.description.maxWaiting,
    },
    ...(chat !== undefined && { chat }),
    kvCache: {
      type: settings.description.kvCacheType,
      tokens: native.kvCacheTokens,
      source: native.kvCacheSource,
      pagesInUse: stats.pagesInUse,
      pagesCached: stats.pagesCached,
    },
  };
}
