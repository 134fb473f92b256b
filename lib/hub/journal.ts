/**
 * Which pieces of a file have come, beside the file while it is incomplete: a line of what the file
 * is, then a line for each piece. A piece is noted when its bytes are on the disk, so that a process
 * may be killed at any moment, and a machine too.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { readText } from './disk';

const VERSION = 1;

/** What a file is; pieces of another one, or cut elsewhere, are of no use. */
export interface JournalHead {
  readonly etag: string;
  readonly size: number;
  readonly chunkBytes: number;
}

export class Journal {
  private constructor(
    private readonly file: FileHandle,
    /** Pieces that have come, by their index. */
    readonly done: ReadonlySet<number>,
  ) {}

  /** @param isUsable whether the incomplete file is there, with the size it will have */
  static async open(path: string, head: JournalHead, isUsable: boolean): Promise<Journal> {
    const first = JSON.stringify({ version: VERSION, ...head });
    const count = Math.ceil(head.size / head.chunkBytes);
    const lines = isUsable ? linesOf((await readText(path)) ?? '') : [];
    const done = new Set<number>();
    let length = 0;
    if (lines[0] === first) {
      length = first.length + 1;
      for (const line of lines.slice(1)) {
        // What comes after something else cannot be trusted: a disk lost what was written last.
        if (!/^\d{1,9}$/.test(line) || Number(line) >= count) break;
        done.add(Number(line));
        length += line.length + 1;
      }
    }
    const file = await open(path, 'a');
    await file.truncate(length);
    if (length === 0) await file.write(`${first}\n`);
    return new Journal(file, done);
  }

  /** @param index of a piece whose bytes are on the disk */
  async note(index: number): Promise<void> {
    await this.file.write(`${index}\n`);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** Lines that were written to their end. */
function linesOf(content: string): string[] {
  return content.split('\n').slice(0, -1);
}
