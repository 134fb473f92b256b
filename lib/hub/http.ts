/**
 * Requests to the hub and to what it redirects to, on Node's own fetch. Redirects are followed here
 * and not by fetch: the token goes to the endpoint's host alone, and the hub says what a file is in
 * the headers of the redirect itself.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { TramontaneError } from '../errors';
import type { Token } from './environment';
import { failed } from './errors';

/** How requests are made; tests make it faster. */
export interface HttpSettings {
  /** Milliseconds without a byte after which a connection is given up. */
  readonly timeoutMs: number;
  /** Tries in a row that bring no byte before a request fails. */
  readonly tries: number;
  /** Milliseconds before the second try; each further one waits twice as long. */
  readonly pauseMs: number;
}

const MOST_REDIRECTS = 10;
/** Tries of a question, and not of bytes. */
const MOST_BRIEF_TRIES = 4;
const MOST_PAUSE_MS = 15_000;
/** A server that asks for more patience than this is not waited for. */
const MOST_RETRY_AFTER_MS = 300_000;
const TRANSIENT: readonly number[] = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** Of a listing; the largest repositories have some thousand files. */
const MOST_JSON_BYTES = 8 * 2 ** 20;

/** A failure that may pass: a connection that broke, a server that is busy. */
export class Transient extends Error {
  override readonly name = 'Transient';

  constructor(
    message: string,
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Waits between the tries of one request, each time longer, until there were too many. */
export class Patience {
  private failures = 0;

  constructor(
    private readonly settings: HttpSettings,
    private readonly signal: AbortSignal,
  ) {}

  /** A byte came: what fails next is a first failure. */
  reset(): void {
    this.failures = 0;
  }

  /** @throws TramontaneError DOWNLOAD_FAILED when it is at its end, or anything that does not pass */
  async wait(error: unknown): Promise<void> {
    this.signal.throwIfAborted();
    if (!(error instanceof Transient)) throw error;
    const { tries, pauseMs } = this.settings;
    const { retryAfterMs = 0, message } = error;
    if (++this.failures >= tries || retryAfterMs > MOST_RETRY_AFTER_MS) {
      const asked = retryAfterMs > 0 ? `; it asks to wait ${seconds(retryAfterMs)}` : '';
      const tried = this.failures > 1 ? ` (tried ${this.failures} times)` : '';
      throw failed(`${message}${tried}${asked}; try again, what has come is kept`, {
        cause: error,
      });
    }
    const pause = Math.min(pauseMs * 2 ** (this.failures - 1), MOST_PAUSE_MS);
    // Some of it by chance, so that connections which were cut together do not come back together.
    const jittered = pause * (0.75 + 0.5 * Math.random());
    await wait(Math.max(jittered, retryAfterMs), undefined, { signal: this.signal });
  }
}

export class Http {
  constructor(
    readonly endpoint: URL,
    readonly token: Token | undefined,
    readonly settings: HttpSettings,
    readonly signal: AbortSignal,
  ) {}

  /** @param signal ends the waiting, where it is not all requests' */
  patience(signal = this.signal): Patience {
    return new Patience(this.settings, signal);
  }

  /**
   * One request, without a second try, that follows redirects.
   * @param follow `own` gives a redirect to another host back as the answer, if it says what the
   *   file is
   * @throws Transient
   */
  async once(
    method: 'GET' | 'HEAD',
    url: URL,
    headers: Readonly<Record<string, string>> = {},
    follow: 'all' | 'own' = 'all',
    signal = this.signal,
  ): Promise<Answer> {
    let at: URL = url;
    const passed: Headers[] = [];
    for (let redirects = 0; redirects <= MOST_REDIRECTS; ++redirects) {
      const answer = { ...(await this.send(method, at, headers, signal)), passed };
      const { status } = answer.response;
      if (TRANSIENT.includes(status)) {
        answer.drop();
        throw new Transient(`${at.host} answers ${status}`, retryAfter(answer.response));
      }
      const to = REDIRECTS.includes(status) ? answer.response.headers.get('location') : null;
      if (to === null) return answer;
      if (!URL.canParse(to, at.href)) break;
      const next = new URL(to, at.href);
      const saysAll = answer.response.headers.has('x-repo-commit');
      if (follow === 'own' && next.host !== at.host && saysAll) {
        return { ...answer, location: next };
      }
      passed.push(answer.response.headers);
      answer.drop();
      if (!/^https?:$/.test(next.protocol)) break;
      at = next;
    }
    throw failed(`${url.host} redirects, but to no place`);
  }

  /**
   * The same with more tries, but few: people wait for it.
   * @throws TramontaneError DOWNLOAD_FAILED
   */
  async patiently(
    method: 'GET' | 'HEAD',
    url: URL,
    headers: Readonly<Record<string, string>> = {},
    follow: 'all' | 'own' = 'all',
  ): Promise<Answer> {
    const patience = this.briefPatience();
    for (;;) {
      try {
        return await this.once(method, url, headers, follow);
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  /** @throws TramontaneError DOWNLOAD_FAILED for what is no JSON; the answer where it is an error */
  async json(url: URL): Promise<Answer | { readonly value: unknown }> {
    const patience = this.briefPatience();
    for (;;) {
      try {
        const answer = await this.once('GET', url, { accept: 'application/json' });
        if (!answer.response.ok) return answer;
        const pieces: Uint8Array[] = [];
        let bytes = 0;
        for await (const piece of answer.body()) {
          bytes += piece.length;
          if (bytes > MOST_JSON_BYTES) throw notJson(url, 'too long');
          pieces.push(piece);
        }
        return { value: parse(url, Buffer.concat(pieces).toString()) };
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  private briefPatience(): Patience {
    const tries = Math.min(this.settings.tries, MOST_BRIEF_TRIES);
    return new Patience({ ...this.settings, tries }, this.signal);
  }

  private async send(
    method: 'GET' | 'HEAD',
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Omit<Answer, 'passed'>> {
    const { settings, token } = this;
    signal.throwIfAborted();
    const idle = new IdleTimer(settings.timeoutMs, signal);
    const isOwn = url.host === this.endpoint.host && url.protocol === this.endpoint.protocol;
    try {
      const response = await fetch(url.href, {
        method,
        redirect: 'manual',
        signal: idle.signal,
        headers: {
          'user-agent': 'tramontane',
          'accept-encoding': 'identity',
          ...headers,
          ...(isOwn && token !== undefined && { authorization: `Bearer ${token.value}` }),
        },
      });
      if (method === 'HEAD') idle.stop();
      return {
        response,
        location: undefined,
        url,
        drop: () => {
          idle.stop();
          response.body?.cancel().catch(() => undefined);
        },
        body: () => bodyOf(response, url, idle, signal),
      };
    } catch (error) {
      idle.stop();
      throw asTransient(error, url, idle, signal);
    }
  }
}

export interface Answer {
  readonly response: Response;
  /** Where it was asked last. */
  readonly url: URL;
  /** Where a redirect leads that was not followed. */
  readonly location: URL | undefined;
  /** Headers of the redirects that were followed, in order. */
  readonly passed: readonly Headers[];
  /** Gives the connection up. */
  drop(): void;
  /** @throws Transient when the connection breaks */
  body(): AsyncIterable<Uint8Array>;
}

async function* bodyOf(
  response: Response,
  url: URL,
  idle: IdleTimer,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  try {
    if (response.body === null) return;
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      idle.restart();
      yield piece;
      idle.restart();
    }
  } catch (error) {
    throw asTransient(error, url, idle, signal);
  } finally {
    idle.stop();
  }
}

/** Aborts a request that is silent for too long, or whose caller gave it up. */
class IdleTimer {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout;
  hasFired = false;

  constructor(
    readonly ms: number,
    private readonly outer: AbortSignal,
  ) {
    outer.addEventListener('abort', this.abort);
    this.timer = this.start();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  restart(): void {
    clearTimeout(this.timer);
    this.timer = this.start();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.outer.removeEventListener('abort', this.abort);
  }

  private readonly abort = (): void => {
    this.controller.abort(this.outer.reason);
  };

  private start(): NodeJS.Timeout {
    return setTimeout(() => {
      this.hasFired = true;
      this.controller.abort(new Error('silent'));
    }, this.ms);
  }
}

function asTransient(error: unknown, url: URL, idle: IdleTimer, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof Transient || error instanceof TramontaneError) return error;
  if (idle.hasFired) return new Transient(`${url.host} was silent for ${seconds(idle.ms)}`);
  const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
  const reason = cause?.code ?? cause?.message ?? message;
  // What names no host, or a host without the right certificate, does not pass by waiting.
  if (/^(CERT_|ERR_TLS|DEPTH_|SELF_|UNABLE_)/.test(reason)) {
    const advice = 'a proxy may be in the way: NODE_EXTRA_CA_CERTS names its certificate';
    return failed(`${url.host} cannot be trusted (${reason}); ${advice}`, { cause: error });
  }
  return new Transient(`the connection to ${url.host} failed (${reason})`, undefined, {
    cause: error,
  });
}

/** Of `Retry-After`: seconds, or a date. */
function retryAfter({ headers }: Response): number | undefined {
  const text = headers.get('retry-after')?.trim();
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return 1000 * Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function parse(url: URL, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notJson(url, 'no JSON');
  }
}

function notJson(url: URL, what: string): TramontaneError {
  const advice = 'is it a hub? See HF_ENDPOINT, and proxies';
  return failed(`the answer of ${url.host} is ${what}; ${advice}`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
