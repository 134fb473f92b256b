import type { Checkpoint, Weight } from '../files/checkpoint';
import { fileBytes, tensorsOf } from '../files/inspect';
import { openCheckpoint } from '../files/open';
import { filePath, type FileUrl } from '../files/path';
import { fetched } from '../hub/resolve';
import * as check from './checks';
import { checkLoadOptions, settle, type LoadOptions } from './load-options';
import { native } from './native';

const PAGE_TOKENS = 32;
/** The tokenizer and what describes the weights, in JavaScript's heap: measured for 32,000 pieces. */
const BYTES_A_PIECE = 250;

export interface MemoryOptions extends LoadOptions {
  /** Conversations that are kept at the same time, each of a whole context. @default 1 */
  readonly users?: number;
}

/** What a model will take on the CPU, in bytes. */
export interface MemoryEstimate {
  /**
   * All tensors. Mapped, they are shared with other processes and may be dropped by the system, which
   * makes each token as slow as the disk; of `mapping: 'read'`, the whole files.
   */
  readonly weights: number;
  /** Of GPTQ weights, the words that are brought in order: beside the file's, mapped of `gptqCache`. */
  readonly orderedWeights: number;
  /** Keys and values of `users` conversations of `contextSize` tokens. */
  readonly kvCache: number;
  /** Buffers of the largest steps. */
  readonly scratch: number;
  readonly tokenizer: number;
  /** Of all of these. */
  readonly total: number;
  /** Of `total`, what the system cannot drop and read again: all but mapped files. */
  readonly own: number;
  /** Tokens of one conversation. */
  readonly contextSize: number;
  readonly users: number;
  /** Of keys and values. */
  readonly bytesPerToken: number;
  /** What this process may still take now; files that the system keeps in memory make room. */
  readonly free: { readonly bytes: number; readonly limitedBy: string };
  /**
   * Whether all of it stays in memory. Where `own` fits and `total` does not, the model works, and
   * each token waits for the disk.
   */
  readonly fits: boolean;
  /** Where it does not fit: what to change, one option each. */
  readonly advice: readonly string[];
}

/** The bytes of a weight in its files. */
export function weightBytes({ storage }: Weight): number {
  if (storage.format !== 'GPTQ') return storage.range.byteLength;
  const { qweight, qzeros, scales } = storage.gptq;
  return qweight.byteLength + qzeros.byteLength + scales.byteLength;
}

function orderedBytes({ storage, rows }: Weight): number {
  if (storage.format !== 'GPTQ') return 0;
  const { orderedColumns = 0, bits } = storage.gptq;
  return (orderedColumns / 8) * bits * rows;
}

function sum(weights: readonly Weight[], bytes: (weight: Weight) => number): number {
  return weights.reduce((total, weight) => total + bytes(weight), 0);
}

/**
 * What a model will take of memory on the CPU, from its headers alone; nothing is loaded.
 * @param path as for `Model.load`
 * @param options as for `Model.load`, and how many conversations there are to be at once
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, INVALID_FILE, UNSUPPORTED_FILE
 * @example
 * ```ts
 * const { total, fits, advice } = await estimateMemory('mistral-7b.Q4_K_M.gguf', {
 *   contextSize: 8192,
 *   users: 16,
 * });
 * ```
 */
export async function estimateMemory(
  path: string | FileUrl,
  options: MemoryOptions = {},
): Promise<MemoryEstimate> {
  checkMemoryOptions(options);
  const file = filePath('the path of a model', await fetched(path));
  return estimateOf(await openCheckpoint(file), options);
}

/** @throws TramontaneError INVALID_OPTION */
export function checkMemoryOptions({ users = 1, ...options }: MemoryOptions): void {
  check.integer('users', users, 1, 1_000_000);
  checkLoadOptions(options);
}

/** The same of headers that were read, with options that were checked. */
export function estimateOf(
  checkpoint: Checkpoint,
  { users = 1, ...options }: MemoryOptions,
): MemoryEstimate {
  const { description } = settle(options, checkpoint);
  const { contextSize, window } = description;
  const { pageBytes, sequencePages, scratchBytes, freeBytes, limitedBy } = native().memoryNeeds(
    { ...description, undrawable: new Int32Array() },
    users,
  );
  const tensors = tensorsOf(checkpoint);
  const weights = options.mapping === 'read' ? fileBytes(checkpoint) : sum(tensors, weightBytes);
  // They were read from the file once: its own words count too.
  const orderedWeights = options.compute === 'f32' ? 0 : sum(tensors, orderedBytes);
  const tokenizer = BYTES_A_PIECE * checkpoint.shape.vocabularySize;
  const beside = weights + orderedWeights + scratchBytes + tokenizer;
  const kvCache = users * sequencePages * pageBytes;
  const total = beside + kvCache;
  const isCached = options.gptqCache !== undefined;
  const dropped = (options.mapping === 'read' ? 0 : weights) + (isCached ? orderedWeights : 0);
  const fits = total <= freeBytes;
  const advice: string[] = [];
  if (!fits) {
    const room = freeBytes - beside;
    const pages = Math.floor(room / pageBytes);
    if (room < pageBytes) {
      advice.push('a file with fewer bits a weight: the weights alone leave no room');
    } else {
      if (options.kvCacheType === 'f32') advice.push("kvCacheType: 'f16', which halves the cache");
      const least = Math.floor(pages / users) * PAGE_TOKENS;
      // With a window a sequence holds no more than that, however long it is.
      if (least >= PAGE_TOKENS && (window === 0 || least < window)) {
        advice.push(`contextSize: ${String(least)}`);
      }
      const fewer = Math.floor(pages / sequencePages);
      if (fewer >= 1 && fewer < users) advice.push(`users: ${String(fewer)}`);
    }
    if (options.mapping === 'read') advice.push("mapping: 'shared', which the system may drop");
    if (orderedWeights > 0 && !isCached) advice.push('gptqCache: a file, which it may drop too');
  }
  return {
    weights,
    orderedWeights,
    kvCache,
    scratch: scratchBytes,
    tokenizer,
    total,
    own: total - dropped,
    contextSize,
    users,
    bytesPerToken: pageBytes / PAGE_TOKENS,
    free: { bytes: freeBytes, limitedBy },
    fits,
    advice,
  };
}
