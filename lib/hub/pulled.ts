/** What was pulled: what there is, and how it goes away. */
import { open, readlink, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { TramontaneError } from '../errors';
import { repositoryOf, RepositoryCache } from './cache';
import { choose, chooseFile, ggufsOf, safetensorsOf } from './choose';
import { allocatedBytes, entriesOf, filesUnder } from './disk';
import { destinationOf, INCOMPLETE } from './download';
import { hubCacheDirectory } from './environment';
import { cacheOf, parseWith, URL_FILE, urlDirectory, urlFolder } from './pull';
import type { PullOptions } from './public';
import { nameOf, type HubSource } from './source';
import { invalid, missing } from './errors';

/** A model that is here. */
export interface PulledModel {
  /** What `Model.load()` and the commands take. */
  readonly source: string;
  /** Of its file, the first one's, or its directory. */
  readonly path: string;
  /** How its weights are stored, as far as names and config.json say. */
  readonly quant?: string;
  readonly bytes: number;
  readonly lastUsed: Date;
}

export interface Pulled {
  readonly models: readonly PulledModel[];
  /** Downloads that were interrupted, and can go on. */
  readonly incomplete: readonly { readonly path: string; readonly bytes: number }[];
}

export interface Removed {
  readonly source: string;
  /** Of files that are gone; what other models share stays. */
  readonly freedBytes: number;
}

type Place = Pick<PullOptions, 'cacheDirectory'>;

/** A config.json is some kilobytes. */
const MOST_CONFIG_BYTES = 2 ** 20;

/** All models of the cache that can be loaded, by name; those of Python's tools too. */
export async function listPulled(place: Place = {}): Promise<Pulled> {
  const directory = place.cacheDirectory ?? hubCacheDirectory();
  const models: PulledModel[] = [];
  const incomplete: { path: string; bytes: number }[] = [];
  for (const { name } of await entriesOf(directory)) {
    const repository = repositoryOf(name);
    if (repository === undefined) continue;
    const cache = new RepositoryCache(directory, repository);
    models.push(...(await modelsOf(cache)));
    incomplete.push(...(await incompleteIn(join(cache.path, 'blobs'))));
  }
  const urls = urlDirectory(place);
  for (const { name } of await entriesOf(urls)) {
    const folder = join(urls, name);
    incomplete.push(...(await incompleteIn(folder)));
    const source = await firstLine(join(folder, URL_FILE));
    const file = (await entriesOf(folder)).find((entry) => isModelFile(entry.name))?.name;
    if (source === undefined || file === undefined) continue;
    const path = join(folder, file);
    models.push({ source, path, ...quantOption(file), ...(await sums([path])) });
  }
  models.sort((one, other) => (one.source < other.source ? -1 : 1));
  return { models, incomplete };
}

/**
 * Deletes what a source names: a file of a repository, all of a revision, or all of the repository;
 * bytes that something else uses stay.
 * @throws TramontaneError INVALID_OPTION for a path, FILE_NOT_READABLE for what is not here
 */
export async function removePulled(source: unknown, place: Place = {}): Promise<Removed> {
  const found = parseWith(source, place);
  const name = nameOf(found);
  switch (found.kind) {
    case 'file':
      throw invalid(`${name} was not pulled: delete it as you do other files`);
    case 'url': {
      const folder = urlFolder(found, place);
      const freedBytes = await bytesIn(folder);
      if ((await entriesOf(folder)).length === 0) throw notHere(name);
      await rm(folder, { recursive: true, force: true });
      return { source: name, freedBytes };
    }
    case 'hub':
      return { source: name, freedBytes: await removeFromHub(found, cacheOf(found, place)) };
  }
}

/** Deletes what interrupted downloads have left. @returns the bytes that were freed */
export async function removeIncomplete(place: Place = {}): Promise<number> {
  const { incomplete } = await listPulled(place);
  for (const { path } of incomplete) {
    await rm(path, { force: true });
    await rm(destinationOf(path.slice(0, -INCOMPLETE.length)).journal, { force: true });
  }
  return incomplete.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function modelsOf(cache: RepositoryCache): Promise<PulledModel[]> {
  const refs = await cache.refs();
  const models: PulledModel[] = [];
  for (const commit of await cache.commits()) {
    const names = [...refs].filter(([, to]) => to === commit).map(([ref]) => ref);
    const revision = names.includes('main') ? 'main' : (names[0] ?? commit);
    const source: HubSource = { kind: 'hub', repository: cache.repository, revision };
    const files = await cache.filesOf(commit);
    const ggufs = ggufsOf(files);
    for (const { files: parts, quant } of ggufs) {
      const isOnly = ggufs.filter((other) => other.quant === quant).length === 1;
      const named = quant !== undefined && isOnly ? { quant } : { file: parts[0]! };
      models.push({
        source: nameOf({ ...source, ...named }),
        path: cache.file(commit, parts[0]!),
        ...(quant !== undefined && { quant }),
        ...(await sums(parts.map((file) => cache.file(commit, file)))),
      });
    }
    const folder = safetensorsOf(files);
    if (folder.length === 0) continue;
    const path = cache.snapshot(commit);
    models.push({
      source: nameOf(source),
      path,
      ...(await storedAs(join(path, 'config.json'))),
      ...(await sums(folder.map((file) => cache.file(commit, file)))),
    });
  }
  return models;
}

async function removeFromHub(source: HubSource, cache: RepositoryCache): Promise<number> {
  const { revision, file, quant } = source;
  const before = await bytesIn(cache.path);
  const isWhole = file === undefined && quant === undefined && revision === 'main';
  if (isWhole) {
    if ((await entriesOf(cache.path)).length === 0) throw notHere(nameOf(source));
    await rm(cache.path, { recursive: true, force: true });
    return before;
  }
  const commit = await cache.commitOf(revision);
  const here = commit === undefined ? [] : await cache.filesOf(commit);
  const files = wanted(source, here);
  if (commit === undefined || files.length === 0) throw notHere(nameOf(source));
  for (const name of files) await removeFile(cache, commit, name);
  await removeEmpty(cache, commit);
  return before - (await bytesIn(cache.path));
}

/** Which of the files here a source names. */
function wanted(source: HubSource, here: readonly string[]): readonly string[] {
  const { file, quant } = source;
  if (file !== undefined) return chooseFile(file).files.filter((name) => here.includes(name));
  if (quant === undefined) return here;
  try {
    return choose(nameOf(source), here, quant).files;
  } catch {
    return [];
  }
}

/** Deletes a name, and its blob when no other name has it. */
async function removeFile(cache: RepositoryCache, commit: string, name: string): Promise<void> {
  const path = cache.file(commit, name);
  const blob = await blobOf(cache, path);
  await rm(path, { force: true });
  await removeEmptyFolders(dirname(path), cache.snapshot(commit));
  if (blob === undefined) return;
  for (const other of await cache.commits()) {
    for (const used of await cache.filesOf(other)) {
      if ((await blobOf(cache, cache.file(other, used))) === blob) return;
    }
  }
  await rm(blob, { force: true });
}

/** Where a link leads, if that is a blob of the repository. */
async function blobOf(cache: RepositoryCache, path: string): Promise<string | undefined> {
  try {
    const blob = resolve(dirname(path), await readlink(path));
    return dirname(blob) === resolve(cache.path, 'blobs') ? blob : undefined;
  } catch {
    return undefined; // The file itself lies there.
  }
}

/** What refers to a snapshot goes with its last file, and the repository with its last snapshot. */
async function removeEmpty(cache: RepositoryCache, commit: string): Promise<void> {
  if ((await cache.filesOf(commit)).length > 0) return;
  await rm(cache.snapshot(commit), { recursive: true, force: true });
  await rm(join(cache.path, 'trees', `${commit}.json`), { force: true });
  for (const [ref, to] of await cache.refs()) {
    if (to === commit) await rm(join(cache.path, 'refs', ...ref.split('/')), { force: true });
  }
  if ((await cache.commits()).length === 0) await rm(cache.path, { recursive: true, force: true });
}

async function removeEmptyFolders(folder: string, root: string): Promise<void> {
  try {
    for (let at = folder; at !== root && at.startsWith(root); at = dirname(at)) await rmdir(at);
  } catch {
    // It holds something else.
  }
}

async function incompleteIn(folder: string): Promise<{ path: string; bytes: number }[]> {
  const found = (await entriesOf(folder)).filter(({ name }) => name.endsWith(INCOMPLETE));
  return Promise.all(
    found.map(async ({ name }) => {
      const path = join(folder, name);
      return { path, bytes: await allocatedBytes(path) };
    }),
  );
}

/** Others begin with a dot, or are of a download. */
function isModelFile(name: string): boolean {
  return !name.startsWith('.') && !name.includes('.tramontane.');
}

async function sums(paths: readonly string[]): Promise<{ bytes: number; lastUsed: Date }> {
  const all = await Promise.all(paths.map((path) => stat(path)));
  return {
    bytes: all.reduce((sum, { size }) => sum + size, 0),
    lastUsed: new Date(Math.max(...all.map(({ atimeMs }) => atimeMs))),
  };
}

/** Bytes that a directory takes on the disk; links count as nothing. */
async function bytesIn(folder: string): Promise<number> {
  const names = await filesUnder(folder);
  const sizes = await Promise.all(names.map((name) => allocatedBytes(join(folder, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function quantOption(file: string): { quant?: string } {
  const { quant } = chooseFile(basename(file));
  return quant === undefined ? {} : { quant };
}

/** What a config.json says of the weights: `GPTQ 4 bit`, `BF16`. */
async function storedAs(path: string): Promise<{ quant?: string }> {
  try {
    const config = JSON.parse(await beginning(path, MOST_CONFIG_BYTES)) as Record<string, unknown>;
    const quantization = config['quantization_config'];
    if (typeof quantization === 'object' && quantization !== null) {
      const { quant_method: method, bits } = quantization as Record<string, unknown>;
      if (typeof method !== 'string' || !/^[\w-]{1,20}$/.test(method)) return {};
      const width = typeof bits === 'number' ? ` ${bits} bit` : '';
      return { quant: method.toUpperCase() + width };
    }
    const type = config['torch_dtype'] ?? config['dtype'];
    const short = { bfloat16: 'BF16', float16: 'F16', float32: 'F32' }[String(type)];
    return short === undefined ? {} : { quant: short };
  } catch {
    return {}; // inspect says more of such a file.
  }
}

async function firstLine(path: string): Promise<string | undefined> {
  try {
    return (await beginning(path, 2 ** 14)).split('\n', 1)[0];
  } catch {
    return undefined;
  }
}

async function beginning(path: string, most: number): Promise<string> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(most), 0, most, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

function notHere(name: string): TramontaneError {
  return missing(`${name} is not here; tramontane list shows what is`);
}
