/** The only place that knows the native addon: its types, and how it is found. */
import { join } from 'node:path';
import type { ModelShape, Weight } from './files/checkpoint';
import { TramontaneError, type TramontaneErrorCode } from './errors';

/** What native believes of a checkpoint, as far as it cannot check it again. */
export interface NativeDescription {
  readonly files: readonly string[];
  readonly weights: readonly Weight[];
  readonly shape: ModelShape;
  /** Keys a query sees; 0: all before it. */
  readonly window: number;
  readonly contextSize: number;
  readonly kvCacheTokens: number;
  readonly threads: number;
  readonly kvCacheType: 'f16' | 'f32';
  readonly compute: 'int8' | 'f32';
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
  readonly stopTokens: Int32Array;
  /** -1: none */
  readonly logprobs: number;
}

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
  generate(id: number, request: NativeRequest): void;
  /** Logits at `positions` (ascending, distinct) into `out`; without them the likelihood of `tokens`. */
  score(id: number, tokens: Int32Array, positions?: Int32Array, out?: Float32Array): void;
  abort(id: number): void;
  stats(): { pages: number; pagesInUse: number; pagesCached: number };
  dispose(): Promise<void>;
}

interface NativeAddon {
  load(
    description: NativeDescription,
    onEvents: (events: NativeEvent[]) => void,
  ): Promise<NativeModel>;
}

let addon: NativeAddon | undefined;

/**
 * The addon, loaded at first use: from `build/Release` where the package was compiled, else from
 * `prebuilds/<platform>-<arch>`.
 * @throws TramontaneError NATIVE_UNAVAILABLE
 */
export function native(): NativeAddon {
  if (addon) return addon;
  const root = join(__dirname, '..');
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- both are CommonJS
    const find = require('node-gyp-build') as (directory: string) => NativeAddon;
    addon = find(root);
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new TramontaneError(
      'NATIVE_UNAVAILABLE',
      `the native addon for ${process.platform}-${process.arch} could not be loaded (${reason}). ` +
        'Compile it with: npm rebuild tramontane --foreground-scripts ' +
        '(this needs a C++20 compiler and python3)',
      { cause },
    );
  }
  return addon;
}

/** An error from native as the package's own class. Anything without a code passes unchanged. */
export function fromNative(error: unknown): unknown {
  if (error instanceof TramontaneError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || typeof message !== 'string') return error;
  return new TramontaneError(code as TramontaneErrorCode, message, { cause: error });
}
