/**
 * Files that keep GPTQ weights in the order in which the CPU reads them, so that a start maps them
 * and need not make them again.
 *
 * A file begins with a description of what it was made of, in full, and the weights follow. It is
 * used when its first bytes are the ones this checkpoint would write and its length is right:
 * nothing is read from it that could be wrong.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { TramontaneError } from '../../errors';
import type { Checkpoint, FileRange, Weight } from '../checkpoint';

const MAGIC = 'tramontane GPTQ cache\n';
/** Of the order of inputs (cpp/cpu/gptq/gptq.cc) and of this file's form: raised when either changes. */
const VERSION = 1;
/** Weights begin at memory pages, of the systems with the largest. */
const ALIGNMENT = 65_536;

export interface CachedWeight {
  readonly weight: Weight;
  /** Of its words, in the cache file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GptqCachePlan {
  /** The file's beginning. */
  readonly header: Buffer;
  readonly weights: readonly CachedWeight[];
  /** Of the whole file. */
  readonly byteLength: number;
}

/** What the cache file of a checkpoint holds; undefined when no weight needs one. */
export async function planGptqCache(checkpoint: Checkpoint): Promise<GptqCachePlan | undefined> {
  const sizes = checkpoint.weights.flatMap((weight) => {
    if (weight.storage.format !== 'GPTQ') return [];
    const { orderedColumns, bits } = weight.storage.gptq;
    if (orderedColumns === undefined) return [];
    return [{ weight, byteLength: (orderedColumns / 32) * bits * weight.rows * 4 }];
  });
  if (sizes.length === 0) return undefined;
  const sources = await Promise.all(
    checkpoint.files.map(async ({ path, byteLength }) => {
      const { mtimeNs } = await stat(path, { bigint: true });
      return { name: basename(path), byteLength, modified: String(mtimeNs) };
    }),
  );
  const table = sizes.map(({ weight: { name, rows, columns, storage }, byteLength }) => {
    return { name, rows, columns, storage, byteLength };
  });
  const facts = JSON.stringify({ version: VERSION, sources, weights: table });
  const header = Buffer.from(`${MAGIC}${facts}\n`);
  let end = header.length;
  const weights = sizes.map(({ weight, byteLength }) => {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = offset + byteLength;
    return { weight, offset, byteLength };
  });
  return { header, weights, byteLength: end };
}

/**
 * Whether a file is the plan's. A cache of other files, of another version or damaged is not.
 * @throws TramontaneError INVALID_OPTION when it is no cache file at all, which is not overwritten;
 * FILE_NOT_READABLE
 */
export async function isCacheOf(plan: GptqCachePlan, path: string): Promise<boolean> {
  let file: FileHandle;
  try {
    const status = await stat(path);
    if (!status.isFile()) throw foreign(path);
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw unreadable(path, error);
  }
  try {
    const { size } = await file.stat();
    const found = Buffer.alloc(Math.min(plan.header.length, size));
    let done = 0;
    while (done < found.length) {
      const { bytesRead } = await file.read(found, done, found.length - done, done);
      if (bytesRead === 0) return false;
      done += bytesRead;
    }
    if (found.toString('latin1', 0, MAGIC.length) !== MAGIC) throw foreign(path);
    return size === plan.byteLength && found.equals(plan.header);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

/** The checkpoint with its weights in a cache file. */
export function withCache(
  { files, weights }: { readonly files: readonly string[]; readonly weights: readonly Weight[] },
  plan: GptqCachePlan,
  path: string,
): { files: string[]; weights: Weight[] } {
  const ranges = new Map(
    plan.weights.map(({ weight, offset, byteLength }): [Weight, FileRange] => {
      return [weight, { file: files.length, offset, byteLength }];
    }),
  );
  const cached = weights.map((weight): Weight => {
    const ordered = ranges.get(weight);
    if (ordered === undefined || weight.storage.format !== 'GPTQ') return weight;
    return { ...weight, storage: { format: 'GPTQ', gptq: { ...weight.storage.gptq, ordered } } };
  });
  return { files: [...files, path], weights: cached };
}

function foreign(path: string): TramontaneError {
  const problem = 'is no cache file of this package, and is not overwritten';
  return new TramontaneError(
    'INVALID_OPTION',
    `gptqCache: ${path} ${problem}; remove it or name another`,
  );
}

function unreadable(path: string, cause: unknown): unknown {
  if (cause instanceof TramontaneError) return cause;
  const problem = `gptqCache: ${path} cannot be read (${String(cause)})`;
  return new TramontaneError('FILE_NOT_READABLE', problem, { cause });
}
