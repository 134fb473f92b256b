/** Files and folders in memory, for tests that make or break their bytes. */
import type { ByteSource, Folder } from '../../lib/files/byte-source';
import { TramontaneError } from '../../lib/errors';

/** A file: `start`, then zeros up to `byteLength`. Counts what is read of it. */
export class MemoryFile implements ByteSource {
  bytesRead = 0;
  closed = 0;

  constructor(
    readonly path: string,
    readonly start: Buffer,
    readonly byteLength = start.length,
  ) {}

  read(offset: number, length: number): Promise<Buffer> {
    if (offset < 0 || length < 0 || offset + length > this.byteLength) {
      throw new RangeError(`read of [${offset}, ${offset + length}) of ${this.byteLength} bytes`);
    }
    this.bytesRead += length;
    const bytes = Buffer.alloc(length);
    if (offset < this.start.length) this.start.copy(bytes, 0, offset, offset + length);
    return Promise.resolve(bytes);
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }
}

export type Contents = Record<string, Buffer | string | { start: Buffer; byteLength: number }>;

/** A folder of such files. */
export class MemoryFolder implements Folder {
  readonly path = 'memory';
  readonly names: ReadonlySet<string>;
  readonly opened: MemoryFile[] = [];

  constructor(private readonly contents: Contents) {
    this.names = new Set(Object.keys(contents));
  }

  open(name: string): Promise<ByteSource> {
    const content = this.contents[name];
    if (content === undefined) {
      throw new TramontaneError('FILE_NOT_READABLE', `memory/${name}: no such file or directory`);
    }
    const file =
      typeof content === 'string' || Buffer.isBuffer(content)
        ? new MemoryFile(`memory/${name}`, Buffer.from(content))
        : new MemoryFile(`memory/${name}`, content.start, content.byteLength);
    this.opened.push(file);
    return Promise.resolve(file);
  }
}

/** The directory of a file that is alone. */
export const alone = (): Folder => new MemoryFolder({});

/** A safetensors header over `dataLength` bytes of zeros. Entries are given as written. */
export function safetensors(
  entries: Record<string, unknown> | string,
  dataLength: number,
): { start: Buffer; byteLength: number } {
  const text = typeof entries === 'string' ? entries : JSON.stringify(entries);
  const json = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return { start: Buffer.concat([length, json]), byteLength: 8 + json.length + dataLength };
}
