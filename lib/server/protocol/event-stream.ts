/** Server-sent events to one client, no faster than it reads. */
import type { ServerResponse } from 'node:http';
import { once } from 'node:events';

export interface EventStreamOptions {
  /** Headers beside those of the stream. */
  readonly headers: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  /** Time without anything sent after which a comment is, for proxies that end idle connections. */
  readonly pingMs: number;
  /** Time after which a client that does not read is given up. */
  readonly slowReaderMs: number;
}

/** The client did not read for too long. */
export class SlowReader extends Error {
  override readonly name = 'SlowReader';
}

/**
 * Opens with its first event, or its first comment: until then the answer may still become an
 * error with a status of its own.
 */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #options: EventStreamOptions;
  #timer: NodeJS.Timeout;

  constructor(response: ServerResponse, options: EventStreamOptions) {
    this.#response = response;
    this.#options = options;
    this.#timer = setInterval(() => {
      // What was written waits already for a client that does not read.
      if (this.#response.writableNeedDrain) return;
      this.#open();
      this.#response.write(': ping\n\n');
    }, options.pingMs).unref();
  }

  get isOpen(): boolean {
    return this.#response.headersSent;
  }

  /** @throws SlowReader; the promise waits while the client has enough to read */
  async send(data: object | '[DONE]', event?: string): Promise<void> {
    this.#open();
    this.#timer.refresh();
    const json = typeof data === 'string' ? data : JSON.stringify(data);
    const name = event === undefined ? '' : `event: ${event}\n`;
    if (this.#response.write(`${name}data: ${json}\n\n`)) return;
    await this.#drained();
  }

  end(): void {
    clearInterval(this.#timer);
    if (this.isOpen) this.#response.end();
  }

  #open(): void {
    if (this.isOpen) return;
    this.#response.writeHead(200, {
      ...this.#options.headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
  }

  async #drained(): Promise<void> {
    if (this.#response.destroyed) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      stop.abort();
    }, this.#options.slowReaderMs);
    try {
      await Promise.race([
        once(this.#response, 'drain', { signal: stop.signal }),
        once(this.#response, 'close', { signal: stop.signal }),
      ]);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      throw new SlowReader(`the client has not read for ${this.#options.slowReaderMs} ms`);
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
}
