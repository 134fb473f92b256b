/** Whether a model uses a cache file of GPTQ weights, which is made where it is missing. */
import type { Checkpoint, Weight } from '../files/checkpoint';
import {
  isCacheOf,
  planGptqCache,
  withCache,
  writeCache,
  type Watch,
} from '../files/gptq/cache-file';
import { fromNative, native, type NativeDescription } from './native';

export interface GptqCacheUse {
  readonly path: string;
  /** `unused`: no weight needs it, or it is not the CPU's int8 kernels that compute. */
  readonly use: 'read' | 'written' | 'unused';
}

/**
 * Lets the description of a model that the CPU computes use a cache file, which is written when it
 * is missing, damaged or was made of other files.
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, FILE_NOT_WRITABLE, OUT_OF_MEMORY
 */
export async function useGptqCache(
  path: string,
  checkpoint: Checkpoint,
  description: NativeDescription,
  watch: Watch,
): Promise<{ description: NativeDescription; gptqCache: GptqCacheUse }> {
  const plan = description.compute === 'int8' ? await planGptqCache(checkpoint) : undefined;
  if (plan === undefined) return { description, gptqCache: { path, use: 'unused' } };
  const { files, threads } = description;
  const isThere = await isCacheOf(plan, path, partOf(watch, 0));
  if (!isThere) {
    const order = async (weight: Weight, words: Uint8Array): Promise<void> => {
      await native()
        .orderGptq(files, weight, threads, words)
        .catch((error: unknown) => {
          throw fromNative(error);
        });
    };
    await writeCache(plan, path, order, partOf(watch, 0.5));
  }
  return {
    description: { ...description, ...withCache(description, plan, path) },
    gptqCache: { path, use: isThere ? 'read' : 'written' },
  };
}

/** Checking a file is one half of the work, writing another is the other. */
function partOf({ onProgress, ...watch }: Watch, start: number): Watch {
  return {
    ...watch,
    onProgress: (fraction) => {
      onProgress(start + fraction / 2);
    },
  };
}
