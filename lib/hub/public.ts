/** `pull()` as programs call it; its types need none of Node's. */
import type * as Pull from './pull';

/** What fetches, loaded when something is: most programs only read files of their own. */
export function pulling(): typeof Pull {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('./pull') as typeof Pull;
}

/** How far a {@link pull} is. */
export interface PullProgress {
  /**
   * `choose`: it is known what is fetched. `wait`: another process fetches the same file. `download`,
   * `verify`: bytes come, and their hash is computed. `ready`: all is there.
   */
  readonly phase: 'choose' | 'wait' | 'download' | 'verify' | 'ready';
  /** The file it is about, by its name in the repository. */
  readonly file: string;
  /** Of all files together: those that have come, and those that were there already. */
  readonly bytes: number;
  /** Of those, what did not have to come now. */
  readonly cachedBytes: number;
  readonly totalBytes: number;
  /** From 0 to 1: of the hash in `verify`, else of the bytes. */
  readonly fraction: number;
  /** A line for people, where something was chosen for them or is waited for. */
  readonly note?: string;
}

/** Options of {@link pull}. */
export interface PullOptions {
  /** A branch, a tag or a commit. @default what the source says, or `main` */
  readonly revision?: string | undefined;
  /**
   * What the hub knows you by; false: nothing.
   * @default HF_TOKEN, or the file that `hf auth login` writes
   */
  readonly token?: string | false | undefined;
  /** Called ten times a second at most, and at each change of phase. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Gives up; what has come is kept. The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * A cache of the hub's layout.
   * @default HF_HUB_CACHE, or `hub` in HF_HOME, or `~/.cache/huggingface/hub`
   */
  readonly cacheDirectory?: string | undefined;
}

/**
 * Fetches a model, unless it is there, and gives its path for `Model.load()`. What was interrupted
 * goes on where it was; hashes are checked; several processes may pull the same.
 * @param source `hf:OWNER/REPO[@REVISION][:QUANT]`, `hf:OWNER/REPO[@REVISION]/FILE`, an `https:` URL
 *   (with `#sha256=HEX` its hash is checked), a `file:` URL, or an alias (`tramontane list --aliases`)
 * @returns the path of the file, the first one's of a split model, or of the directory
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE for what does not exist, ACCESS_DENIED,
 *   DOWNLOAD_FAILED, FILE_NOT_WRITABLE; the signal's reason when it is aborted
 */
export async function pull(
  source: string | { readonly protocol: string; readonly href: string },
  options: PullOptions = {},
): Promise<string> {
  return pulling().pullWith(source, options);
}
