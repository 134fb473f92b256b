/**
 * One file, fetched in pieces over several connections into `*.incomplete`, with a journal of the
 * pieces that have come, so that a process that was killed goes on where it was. It gets its name
 * when its hash is right, and is deleted when it is not.
 *
 * Own code, because the hub's package for JavaScript (@huggingface/hub 2.17) fetches a file over one
 * connection from its beginning, checks no hash, takes no lock and writes no refs.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TramontaneError } from '../errors';
import { sizeOf } from './disk';
import { Transient, type Answer, type Http } from './http';
import { Journal } from './journal';
import { failed } from './errors';

/** How a file is cut; tests cut smaller. */
export interface DownloadSettings {
  readonly chunkBytes: number;
  readonly connections: number;
}

export interface Digest {
  /** `git`: sha1 of git's header and the bytes, by which git names files. */
  readonly algorithm: 'sha256' | 'git';
  /** In lower case. */
  readonly hex: string;
}

/** What is fetched. */
export interface RemoteFile {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Another etag means another content. */
  readonly etag: string;
  readonly digest: Digest | undefined;
  /**
   * Asks for bytes, all of them where there is no range.
   * @throws Transient
   */
  request(range: Range | undefined, signal: AbortSignal): Promise<Answer>;
}

/** Bytes from `start` until before `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Where it goes. */
export interface Destination {
  readonly path: string;
  readonly incomplete: string;
  readonly journal: string;
}

export interface DownloadEvents {
  /** Bytes that have come; fewer than 0 where a server makes them come again. */
  onBytes(count: number): void;
  /** Bytes that an interrupted download has left; fewer than 0 where they are of no use. */
  onResumed(count: number): void;
  /** Part of the hash that is computed, from 0 to 1. */
  onVerify(fraction: number): void;
  /** Throws when this process may not write any more. */
  check(): Promise<void>;
}

const VERIFY_BYTES = 2 ** 20;

/** How the name of a file ends until all of it has come. */
export const INCOMPLETE = '.tramontane.incomplete';

/** The files beside a destination while it is incomplete. */
export function destinationOf(path: string): Destination {
  // Not Python's PATH.incomplete: some versions of it append to that one, whatever it holds.
  return { path, incomplete: path + INCOMPLETE, journal: `${path}.tramontane.journal` };
}

/**
 * Fetches what is missing, and gives the file its name.
 * @throws TramontaneError DOWNLOAD_FAILED, FILE_NOT_WRITABLE; the signal's reason
 */
export async function download(
  file: RemoteFile,
  to: Destination,
  http: Http,
  settings: DownloadSettings,
  events: DownloadEvents,
): Promise<void> {
  try {
    await mkdir(dirname(to.path), { recursive: true });
    await new Download(file, to, http, settings, events).run();
    await verify(file, to, http.signal, events);
    await events.check();
    await rename(to.incomplete, to.path);
    await rm(to.journal, { force: true });
  } catch (error) {
    throw notWritable(to, error);
  }
}

/** A server that sends the whole file whatever range is asked for. */
class RangesRefused extends Error {}

class Download {
  private file!: FileHandle;
  private journal!: Journal;
  /** Ends all connections when one has failed for good. */
  private readonly controller = new AbortController();

  constructor(
    private readonly remote: RemoteFile,
    private readonly to: Destination,
    private readonly http: Http,
    private readonly settings: DownloadSettings,
    private readonly events: DownloadEvents,
  ) {}

  async run(): Promise<void> {
    const { signal } = this.http;
    const abort = (): void => {
      this.controller.abort(signal.reason);
    };
    signal.addEventListener('abort', abort);
    try {
      await this.fetch();
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  private async fetch(): Promise<void> {
    const { remote, to, settings } = this;
    const { size, etag } = remote;
    const isUsable = (await sizeOf(to.incomplete)) === size;
    this.file = await open(to.incomplete, isUsable ? 'r+' : 'w+');
    try {
      await this.file.truncate(size);
      const head = { etag, size, chunkBytes: settings.chunkBytes };
      this.journal = await Journal.open(to.journal, head, isUsable);
      try {
        await this.fetchMissing();
      } finally {
        await this.journal.close();
      }
    } finally {
      await this.file.close();
    }
  }

  private async fetchMissing(): Promise<void> {
    const { size } = this.remote;
    const { chunkBytes, connections } = this.settings;
    const missing: number[] = [];
    for (let index = 0; index * chunkBytes < size; ++index) {
      if (this.journal.done.has(index)) this.events.onResumed(lengthOf(this.chunk(index)));
      else missing.push(index);
    }
    const queue = missing.values();
    // One after the other of what is left, by each connection; an iterator is shared.
    const worker = async (): Promise<void> => {
      for (const index of queue) await this.fetchChunk(index);
    };
    const workers = Array.from({ length: Math.min(connections, missing.length) }, async () => {
      try {
        await worker();
      } catch (error) {
        this.controller.abort(error);
        throw error;
      }
    });
    const outcomes = await Promise.allSettled(workers);
    if (outcomes.every(({ status }) => status === 'fulfilled')) return;
    const { reason } = this.controller.signal as { reason: unknown };
    if (!(reason instanceof RangesRefused)) throw reason;
    await this.fetchWhole();
  }

  private chunk(index: number): Range {
    const { chunkBytes } = this.settings;
    const start = index * chunkBytes;
    return { start, end: Math.min(start + chunkBytes, this.remote.size) };
  }

  /** Goes on in the middle where a connection is cut. */
  private async fetchChunk(index: number): Promise<void> {
    const { start, end } = this.chunk(index);
    const { signal } = this.controller;
    const patience = this.http.patience(signal);
    await this.events.check();
    for (let at = start; at < end;) {
      try {
        const answer = await this.ask({ start: at, end });
        for await (const piece of answer.body()) {
          signal.throwIfAborted();
          if (piece.length > end - at) throw tooLong(this.remote);
          await this.write(piece, at);
          at += piece.length;
          patience.reset();
        }
        if (at < end) throw new Transient(`${answer.url.host} cut the connection`);
      } catch (error) {
        signal.throwIfAborted();
        await patience.wait(error);
      }
    }
    await this.file.datasync();
    await this.journal.note(index);
  }

  /** From the beginning, again and again: all that a server without ranges allows. */
  private async fetchWhole(): Promise<void> {
    const { remote, events, http } = this;
    const patience = http.patience();
    const noted = [...this.journal.done].map((index) => lengthOf(this.chunk(index)));
    events.onResumed(-noted.reduce((sum, length) => sum + length, 0));
    for (;;) {
      let at = 0;
      try {
        const answer = this.answerOf(await remote.request(undefined, http.signal));
        for await (const piece of answer.body()) {
          if (piece.length > remote.size - at) throw tooLong(remote);
          await this.write(piece, at);
          at += piece.length;
        }
        if (at === remote.size) break;
        throw new Transient(`${answer.url.host} cut the connection, and knows no ranges`);
      } catch (error) {
        events.onBytes(-at);
        await patience.wait(error);
      }
    }
    await this.file.datasync();
  }

  private async ask(range: Range): Promise<Answer> {
    const { remote } = this;
    // Small files of the hub come from servers that need not know ranges.
    const isWhole = range.start === 0 && range.end === remote.size;
    const { signal } = this.controller;
    const answer = this.answerOf(await remote.request(isWhole ? undefined : range, signal));
    const { status, headers } = answer.response;
    if (isWhole) return answer;
    if (status === 200) {
      answer.drop();
      throw new RangesRefused();
    }
    const given = headers.get('content-range');
    if (given !== `bytes ${range.start}-${range.end - 1}/${remote.size}`) {
      answer.drop();
      const what = `${answer.url.host} answers with other bytes of ${remote.name} than were asked`;
      throw failed(`${what} (${given ?? 'no Content-Range'}): has it changed? Pull it again`);
    }
    return answer;
  }

  private answerOf(answer: Answer): Answer {
    if (answer.response.ok) return answer;
    answer.drop();
    const { status } = answer.response;
    throw failed(`${answer.url.host} answers ${status} for ${this.remote.name}`);
  }

  private async write(piece: Uint8Array, at: number): Promise<void> {
    for (let written = 0; written < piece.length;) {
      const { bytesWritten } = await this.file.write(
        piece,
        written,
        piece.length - written,
        at + written,
      );
      written += bytesWritten;
    }
    this.events.onBytes(piece.length);
  }
}

/** @throws TramontaneError DOWNLOAD_FAILED, after the file is deleted */
async function verify(
  { name, size, digest }: RemoteFile,
  { incomplete, journal }: Destination,
  signal: AbortSignal,
  events: DownloadEvents,
): Promise<void> {
  if (digest === undefined) return;
  const hash = startHash(digest, size);
  let bytes = 0;
  for await (const piece of createReadStream(incomplete, { highWaterMark: VERIFY_BYTES })) {
    signal.throwIfAborted();
    hash.update(piece as Buffer);
    bytes += (piece as Buffer).length;
    events.onVerify(size === 0 ? 1 : bytes / size);
  }
  const hex = hash.digest('hex');
  if (hex === digest.hex) return;
  await rm(incomplete, { force: true });
  await rm(journal, { force: true });
  const kind = digest.algorithm === 'git' ? "git's hash" : digest.algorithm;
  throw failed(
    `${name} came damaged: its ${kind} is ${hex}, and should be ${digest.hex}; it was deleted, pull it again`,
  );
}

function startHash({ algorithm }: Digest, size: number): Hash {
  if (algorithm === 'sha256') return createHash('sha256');
  return createHash('sha1').update(`blob ${size}\0`);
}

function lengthOf({ start, end }: Range): number {
  return end - start;
}

function tooLong({ name }: RemoteFile): TramontaneError {
  return failed(`${name}: the server sends more bytes than were asked for; pull it again`);
}

/** What the disk refuses, in one line; anything else as it is. */
function notWritable({ path }: Destination, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof TramontaneError || code === undefined || syscall === undefined) return error;
  const advice =
    code === 'ENOSPC'
      ? 'the disk is full: make room, and pull again; what has come is kept'
      : 'HF_HUB_CACHE names another directory';
  return new TramontaneError(
    'FILE_NOT_WRITABLE',
    `cannot write ${dirname(path)} (${code}): ${advice}`,
    { cause: error },
  );
}
