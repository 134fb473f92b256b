/**
 * The cache of files as huggingface_hub of Python lays it out, so that both use the same files:
 *
 *     models--OWNER--REPO/
 *       blobs/HASH                  the bytes, once, named by the file's ETag
 *       snapshots/COMMIT/PATH       a relative link to its blob
 *       refs/REVISION               the commit a branch or tag was when it was last asked for
 *       trees/COMMIT.json           all files of a commit, where they were listed
 *     .locks/
 *
 * Where no links can be made, as on Windows without developer mode, the bytes lie in the snapshot.
 */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { entriesOf, exists, filesUnder, readText } from './disk';
import { withoutLinks } from './environment';
import type { ListedFile, Listing } from './repository';
import { isInside } from './source';

export const COMMIT = /^[0-9a-f]{40}$/;

const TREE_FORMAT = 1;

/** The signature of directories that backups pass over, with huggingface_hub's kind of comment. */
const CACHE_TAG = [
  'Signature: 8a477f597d28d172789f06886806bc55',
  '# The files here can be downloaded again. https://bford.info/cachedir/ says what this is for.',
  '',
].join('\n');

/** One repository's part of the cache. */
export class RepositoryCache {
  readonly path: string;

  constructor(
    readonly cacheDirectory: string,
    readonly repository: string,
  ) {
    this.path = join(cacheDirectory, folderOf(repository));
  }

  /** Where the bytes of a file are kept. */
  blob(etag: string): string {
    return join(this.path, 'blobs', etag);
  }

  /** Held by who fetches a blob. huggingface_hub's own is of another kind, and has another name. */
  lock(etag: string): string {
    return join(
      this.cacheDirectory,
      '.locks',
      folderOf(this.repository),
      `${etag}.tramontane.lock`,
    );
  }

  snapshot(commit: string): string {
    return join(this.path, 'snapshots', commit);
  }

  /** Where a file of a commit is, or will be. */
  file(commit: string, name: string): string {
    return join(this.snapshot(commit), ...name.split('/'));
  }

  has(commit: string, name: string): Promise<boolean> {
    return exists(this.file(commit, name));
  }

  /** The commit of a revision, as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (COMMIT.test(revision)) return revision;
    const text = await readText(join(this.path, 'refs', ...revision.split('/')));
    return text !== undefined && COMMIT.test(text.trim()) ? text.trim() : undefined;
  }

  /** Notes which commit a revision is now. The snapshot is there from then on, maybe empty. */
  async setCommit(revision: string, commit: string): Promise<void> {
    await mkdir(join(this.path, 'blobs'), { recursive: true });
    await mkdir(this.snapshot(commit), { recursive: true });
    await this.tag();
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    await replace(join(this.path, 'refs', ...revision.split('/')), commit);
  }

  /**
   * Makes a blob appear in a snapshot.
   * @param isNew where there are no links, a new blob is moved there, so that its bytes lie on the
   *   disk once; one that was there before gets a copy
   */
  async link(etag: string, commit: string, name: string, isNew: boolean): Promise<string> {
    const path = this.file(commit, name);
    if (await exists(path)) return path;
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true }); // A link whose blob is gone.
    const blob = this.blob(etag);
    if (await linked(relative(dirname(path), blob), path)) return path;
    await (isNew ? rename(blob, path) : copyFile(blob, path));
    return path;
  }

  /** Names of the files of a snapshot whose bytes are there. */
  async filesOf(commit: string): Promise<string[]> {
    const found: string[] = [];
    for (const name of await filesUnder(this.snapshot(commit))) {
      if (await this.has(commit, name)) found.push(name);
    }
    return found.sort();
  }

  /** Commits of which there is something. */
  async commits(): Promise<string[]> {
    const entries = await entriesOf(join(this.path, 'snapshots'));
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  }

  /** Branches and tags by name, with their commits. */
  async refs(): Promise<Map<string, string>> {
    const root = join(this.path, 'refs');
    const found = new Map<string, string>();
    for (const name of await filesUnder(root)) {
      found.set(name, ((await readText(join(root, name))) ?? '').trim());
    }
    return found;
  }

  /** The names of all files of a commit, if they were listed once. */
  async tree(commit: string): Promise<string[] | undefined> {
    const text = await readText(this.treePath(commit));
    if (text === undefined) return undefined;
    try {
      const { format_version: version, files } = JSON.parse(text) as Record<string, unknown>;
      if (version !== TREE_FORMAT || typeof files !== 'object' || files === null) return undefined;
      return Object.keys(files).filter(isInside);
    } catch {
      return undefined; // Somebody's half a file: it is fetched again.
    }
  }

  /** Keeps a listing, as huggingface_hub does from its version 2 on. */
  async setTree({ commit, files }: Listing): Promise<void> {
    if (!files.every(({ blobId, size }) => blobId !== undefined && size !== undefined)) return;
    const sorted = [...files].sort((one, other) => (one.name < other.name ? -1 : 1));
    const tree = {
      format_version: TREE_FORMAT,
      files: Object.fromEntries(sorted.map((file) => [file.name, treeEntry(file)])),
    };
    await replace(this.treePath(commit), JSON.stringify(tree, null, 1));
  }

  private treePath(commit: string): string {
    return join(this.path, 'trees', `${commit}.json`);
  }

  private async tag(): Promise<void> {
    try {
      await writeFile(join(this.cacheDirectory, 'CACHEDIR.TAG'), CACHE_TAG, { flag: 'wx' });
    } catch {
      // It has one.
    }
  }
}

/** The name of a repository's directory. */
export function folderOf(repository: string): string {
  return `models--${repository.split('/').join('--')}`;
}

/** The repository of a directory's name; undefined for anything else. */
export function repositoryOf(folder: string): string | undefined {
  const [, owner, name] = /^models--([^/]+?)--([^/]+)$/.exec(folder) ?? [];
  return owner === undefined || name?.includes('--') === true ? undefined : `${owner}/${name!}`;
}

function treeEntry({ size, blobId, lfs }: ListedFile): object {
  return {
    size,
    blob_id: blobId,
    ...(lfs && { lfs_sha256: lfs.sha256, lfs_size: lfs.size }),
  };
}

/** @returns false where there are no links */
async function linked(target: string, path: string): Promise<boolean> {
  if (withoutLinks()) return false;
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return true; // Another process was as fast.
    if (['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'].includes(code ?? '')) {
      return false;
    }
    throw error;
  }
}

/** Writes a file that readers see whole or not at all. */
async function replace(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}
