/**
 * Where headers are read from: byte ranges of a file, or files of a directory. Parsers take these
 * interfaces and not paths, so they run on bytes in memory as well.
 */
import { constants, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TramontaneError } from '../errors';
import { adviceFor } from './path';
import { invalid } from './problems';

/** A file of known length whose bytes are read in ranges. */
export interface ByteSource {
  /** For messages, and for whoever maps the file later. */
  readonly path: string;
  readonly byteLength: number;
  /**
   * Exactly `length` bytes from `offset` on, in memory of their own, aligned for typed arrays. The
   * range must lie inside the file.
   */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** A directory. */
export interface Folder {
  readonly path: string;
  readonly names: ReadonlySet<string>;
  open(name: string): Promise<ByteSource>;
}

/** Opens a regular file. Aborting `signal` makes the next read reject with its reason. */
export async function openFile(path: string, signal?: AbortSignal): Promise<ByteSource> {
  signal?.throwIfAborted();
  // Looked at before it is opened: opening a named pipe would wait for a writer forever.
  const status = await readable(path, () => stat(path));
  if (!status.isFile()) {
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: not a regular file`);
  }
  const handle = await readable(path, () => open(path, constants.O_RDONLY));
  return {
    path,
    byteLength: status.size,
    async read(offset, length) {
      const bytes = Buffer.allocUnsafeSlow(length);
      let done = 0;
      while (done < length) {
        signal?.throwIfAborted();
        const position = offset + done;
        const { bytesRead } = await readable(path, () =>
          handle.read(bytes, done, length - done, position),
        );
        if (bytesRead === 0) throw invalid(path, 'file ends early: it was cut short', position);
        done += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

/** Lists a directory. */
export async function openFolder(path: string, signal?: AbortSignal): Promise<Folder> {
  signal?.throwIfAborted();
  const names = new Set(await readable(path, () => readdir(path)));
  return { path, names, open: (name) => openFile(join(path, name), signal) };
}

/** Whether a path is a directory. */
export async function isDirectory(path: string): Promise<boolean> {
  return (await readable(path, () => stat(path))).isDirectory();
}

/** All bytes of a small file; one longer than `limit` is invalid. */
export async function readWhole(source: ByteSource, limit: number): Promise<Buffer> {
  if (source.byteLength > limit) {
    throw invalid(source.path, `${source.byteLength} bytes, and such a file has at most ${limit}`);
  }
  return source.read(0, source.byteLength);
}

/** Runs `use` on a file of a folder, and closes the file whatever happens. */
export async function withFile<T>(
  folder: Folder,
  name: string,
  use: (source: ByteSource) => Promise<T>,
): Promise<T> {
  const source = await folder.open(name);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

async function readable<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    const reason = REASONS.get(code) ?? `cannot be read (${String(cause)})`;
    const advice = code === 'ENOENT' ? adviceFor(path) : '';
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: ${reason}${advice}`, { cause });
  }
}

const REASONS = new Map([
  ['ENOENT', 'no such file or directory'],
  ['EACCES', 'permission denied'],
  ['ENOTDIR', 'a part of the path is not a directory'],
  ['EMFILE', 'too many open files'],
]);
