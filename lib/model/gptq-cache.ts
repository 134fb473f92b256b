/** Makes and finds the cache file of a GPTQ checkpoint. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { TramontaneError } from '../errors';
import type { Checkpoint } from '../files/checkpoint';
import { isCacheOf, planGptqCache, withCache, type GptqCachePlan } from '../files/gptq/cache-file';
import { fromNative, native, type NativeDescription } from './native';

export interface GptqCacheUse {
  readonly path: string;
  /** `unused`: no weight needs it, or it is not the CPU's int8 kernels that compute. */
  readonly use: 'read' | 'written' | 'unused';
}

interface Watch {
  readonly signal?: AbortSignal;
  /** How much of the file is written, 0 to 1. May throw the signal's reason. */
  readonly onProgress: (fraction: number) => void;
}

function usesCpu({ name, plugin }: NativeDescription['backend']): boolean {
  return name === 'cpu' || (name === 'auto' && plugin.path === undefined);
}

/**
 * Lets a model's description use a cache file, which is written when it is missing or was made of
 * other files.
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, FILE_NOT_WRITABLE, OUT_OF_MEMORY
 */
export async function useGptqCache(
  path: string,
  checkpoint: Checkpoint,
  description: NativeDescription,
  watch: Watch,
): Promise<{ description: NativeDescription; gptqCache: GptqCacheUse }> {
  const applies = description.compute === 'int8' && usesCpu(description.backend);
  const plan = applies ? await planGptqCache(checkpoint) : undefined;
  if (plan === undefined) return { description, gptqCache: { path, use: 'unused' } };
  const isThere = await isCacheOf(plan, path);
  if (!isThere) await writeCache(path, plan, description, watch);
  return {
    description: { ...description, ...withCache(description, plan, path) },
    gptqCache: { path, use: isThere ? 'read' : 'written' },
  };
}

/**
 * Writes a file of another name, then renames it: others see the whole file or none, and of
 * several that write at the same time the last one's stays, which is like the others.
 */
async function writeCache(
  path: string,
  plan: GptqCachePlan,
  description: NativeDescription,
  watch: Watch,
): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await fill(file, plan, description, watch);
      await file.sync();
    } finally {
      await file.close();
    }
    await replace(temporary, path, plan);
  } catch (error) {
    await rm(temporary, { force: true });
    watch.signal?.throwIfAborted();
    if (error instanceof TramontaneError) throw error;
    const problem = `gptqCache: ${path} cannot be written (${String(error)})`;
    throw new TramontaneError('FILE_NOT_WRITABLE', problem, { cause: error });
  }
}

async function fill(
  file: FileHandle,
  plan: GptqCachePlan,
  { files, threads }: NativeDescription,
  { onProgress }: Watch,
): Promise<void> {
  const most = Math.max(...plan.weights.map(({ byteLength }) => byteLength));
  const memory = new ArrayBuffer(most);
  await writeAll(file, plan.header, 0);
  for (const { weight, offset, byteLength } of plan.weights) {
    const words = new Uint8Array(memory, 0, byteLength);
    await native()
      .orderGptq(files, weight, threads, words)
      .catch((error: unknown) => {
        throw fromNative(error);
      });
    await writeAll(file, words, offset);
    onProgress((offset + byteLength) / plan.byteLength);
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

async function replace(temporary: string, path: string, plan: GptqCachePlan): Promise<void> {
  try {
    await rename(temporary, path);
  } catch (error) {
    // Windows does not replace a file that somebody has mapped. If it is the same, all is well.
    if (!(await isCacheOf(plan, path))) throw error;
    await rm(temporary, { force: true });
  }
}
