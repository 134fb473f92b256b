/** How whatever reads a model takes sources too: what is not here is fetched first. */
import { access, realpath, utimes, stat } from 'node:fs/promises';
import { aliases } from './aliases';
import { pull, pulling, type PullOptions } from './public';
import { isRemote } from './source';

/**
 * Makes a path of a source that may have to be fetched; gives anything else back as it is. What is
 * in the cache is taken as it is there, without a network: `pull()` asks for what is newest.
 * @param value what a caller names a model by, unchecked
 * @throws TramontaneError as `pull()` does
 */
export async function fetched<T>(
  value: T,
  options: Pick<PullOptions, 'signal' | 'onProgress'> = {},
): Promise<T | string> {
  if (!isRemote(value) && !(await isAlias(value))) return value;
  const source = value as string;
  const path = (await pulling().findPulled(source)) ?? (await pull(source, options));
  await touch(path);
  return path;
}

/** Whether a value may have to be fetched: a source of the hub, a URL, an alias. */
export async function isFetched(value: unknown): Promise<boolean> {
  return isRemote(value) || (await isAlias(value));
}

/** A file or directory of an alias's name is meant before the alias. */
async function isAlias(value: unknown): Promise<boolean> {
  if (typeof value !== 'string') return false;
  const known = aliases.some(({ name }) => name === value.toLowerCase());
  if (!known) return false;
  try {
    await access(value);
    return false;
  } catch {
    return true;
  }
}

/** Notes the use of a model: many file systems note no reading. */
async function touch(path: string): Promise<void> {
  try {
    const file = await realpath(path);
    await utimes(file, new Date(), (await stat(file)).mtime);
  } catch {
    // A cache that is read-only serves as well.
  }
}
