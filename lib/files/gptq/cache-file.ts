/**
 * Files that keep GPTQ weights in the order in which the CPU reads them, so that a start maps them
 * and need not make them again.
 *
 * A file begins with a description of what it was made of, in full; the weights follow, and at the
 * end is a checksum of their words. It is used when its first bytes are the ones this checkpoint
 * would write, its length is right and the checksum is that of the words. That is found out once, as
 * it means to read them all: a small file beside this one, `NAME.checked`, then says which file was
 * found to be right.
 */
import { createHash, randomBytes, webcrypto, type Hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { TramontaneError } from '../../errors';
import type { Checkpoint, FileRange, Weight } from '../checkpoint';

const MAGIC = 'tramontane GPTQ cache\n';
/** Of the order of inputs (cpp/cpu/gptq/gptq.cc) and of this file's form: raised when either changes. */
const VERSION = 2;
/** Weights begin at memory pages, of the systems with the largest. */
const ALIGNMENT = 65_536;
/** Of SHA-256. */
const CHECKSUM_BYTES = 32;
/** Words are hashed in pieces of this size, by threads of Node's own. */
const PIECE = 2 ** 20;
/** Pieces that are hashed at a time: as many as Node has such threads. */
const CONCURRENCY = 4;

export interface CachedWeight {
  readonly weight: Weight;
  /** Of its words, in the cache file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GptqCachePlan {
  /** The file's beginning. */
  readonly header: Uint8Array;
  readonly weights: readonly CachedWeight[];
  /** Where the checksum is. */
  readonly checksumAt: number;
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
  return { header, weights, checksumAt: end, byteLength: end + CHECKSUM_BYTES };
}

export interface Watch {
  readonly signal?: AbortSignal;
  /** How much is done, 0 to 1. May throw, which ends the work. */
  readonly onProgress: (fraction: number) => void;
}

/**
 * Whether a file is the plan's. A cache of other files, of another version or damaged is not. Unless
 * it was checked before and did not change since, all its words are read, off the event loop.
 * @throws TramontaneError INVALID_OPTION when it is no cache file at all, which is not overwritten;
 * FILE_NOT_READABLE; what `watch` throws
 */
export async function isCacheOf(plan: GptqCachePlan, path: string, watch: Watch): Promise<boolean> {
  let file: FileHandle;
  try {
    if (!(await stat(path)).isFile()) throw foreign(path);
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw unreadable(path, error);
  }
  try {
    const status = await file.stat({ bigint: true });
    const found = Buffer.alloc(Math.min(plan.header.length, Number(status.size)));
    if (!(await readAll(file, found, 0))) return false;
    if (found.toString('latin1', 0, MAGIC.length) !== MAGIC) throw foreign(path);
    if (Number(status.size) !== plan.byteLength || !found.equals(plan.header)) return false;
    const note = checkedNote(status);
    const noted = await readFile(`${path}.checked`, 'utf8').catch(() => '');
    if (noted === note) return true;
    if (!(await hasItsChecksum(file, plan, watch))) return false;
    // Where it cannot be written, the next load checks again.
    if (noted === '' || noted.startsWith(CHECKED)) {
      await writeFile(`${path}.checked`, note).catch(() => undefined);
    }
    return true;
  } catch (error) {
    watch.signal?.throwIfAborted();
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

const CHECKED = 'tramontane GPTQ cache, checked\n';

/** What is noted of a file that was checked: anything that writes to it changes these numbers. */
function checkedNote({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${CHECKED}${[ino, size, mtimeNs, ctimeNs].join(' ')}\n`;
}

async function hasItsChecksum(
  file: FileHandle,
  plan: GptqCachePlan,
  watch: Watch,
): Promise<boolean> {
  const checksum = createHash('sha256');
  const memory = new Uint8Array(CONCURRENCY * PIECE);
  for (const { offset, byteLength } of plan.weights) {
    for (let done = 0; done < byteLength; done += memory.length) {
      watch.signal?.throwIfAborted();
      const words = memory.subarray(0, Math.min(memory.length, byteLength - done));
      if (!(await readAll(file, words, offset + done))) return false;
      await hashWords(checksum, words);
    }
    watch.onProgress((offset + byteLength) / plan.byteLength);
  }
  const stored = Buffer.alloc(CHECKSUM_BYTES);
  return (await readAll(file, stored, plan.checksumAt)) && checksum.digest().equals(stored);
}

/** Adds the hash of each piece to a checksum. */
async function hashWords(checksum: Hash, words: Uint8Array): Promise<void> {
  for (let from = 0; from < words.length; from += CONCURRENCY * PIECE) {
    const pieces: Promise<ArrayBuffer>[] = [];
    for (let i = from; i < Math.min(from + CONCURRENCY * PIECE, words.length); i += PIECE) {
      pieces.push(webcrypto.subtle.digest('SHA-256', words.subarray(i, i + PIECE)));
    }
    for (const hash of await Promise.all(pieces)) checksum.update(new Uint8Array(hash));
  }
}

/** Fills `bytes` from a place on; false when the file ends before. */
async function readAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<boolean> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, offset + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/**
 * Writes a file of another name, then renames it: others see the whole file or none, and of
 * several that write at the same time the last one's stays, which is like the others.
 * @param order puts the words of a weight in order, into memory it is given
 * @throws TramontaneError FILE_NOT_WRITABLE; what `order` and `watch` throw
 */
export async function writeCache(
  plan: GptqCachePlan,
  path: string,
  order: (weight: Weight, words: Uint8Array) => Promise<void>,
  watch: Watch,
): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await fill(file, plan, order, watch);
      await file.sync();
    } finally {
      await file.close();
    }
    await replace(temporary, path, plan, watch);
  } catch (error) {
    await rm(temporary, { force: true });
    watch.signal?.throwIfAborted();
    if (!isOfTheSystem(error)) throw error;
    const problem = `gptqCache: ${path} cannot be written (${String(error)})`;
    throw new TramontaneError('FILE_NOT_WRITABLE', problem, { cause: error });
  }
}

async function fill(
  file: FileHandle,
  plan: GptqCachePlan,
  order: (weight: Weight, words: Uint8Array) => Promise<void>,
  { onProgress }: Watch,
): Promise<void> {
  const memory = new ArrayBuffer(Math.max(...plan.weights.map(({ byteLength }) => byteLength)));
  const checksum = createHash('sha256');
  await writeAll(file, plan.header, 0);
  for (const { weight, offset, byteLength } of plan.weights) {
    const words = new Uint8Array(memory, 0, byteLength);
    await order(weight, words);
    await hashWords(checksum, words);
    await writeAll(file, words, offset);
    onProgress((offset + byteLength) / plan.byteLength);
  }
  await writeAll(file, checksum.digest(), plan.checksumAt);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

async function replace(
  temporary: string,
  path: string,
  plan: GptqCachePlan,
  watch: Watch,
): Promise<void> {
  try {
    await rename(temporary, path);
  } catch (error) {
    // Windows does not replace a file that somebody has mapped. If it is the same, all is well.
    if (!(await isCacheOf(plan, path, watch))) throw error;
    await rm(temporary, { force: true });
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

/** Whether an error is one of Node's file system, and not ours or what a callback threw. */
function isOfTheSystem(error: unknown): boolean {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return !(error instanceof TramontaneError) && typeof code === 'string';
}

function unreadable(path: string, cause: unknown): unknown {
  if (!isOfTheSystem(cause)) return cause;
  const problem = `gptqCache: ${path} cannot be read (${String(cause)})`;
  return new TramontaneError('FILE_NOT_READABLE', problem, { cause });
}
