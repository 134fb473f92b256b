/** Requests to an OpenAI-compatible server, and when each piece of an answer came. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { EventStream } from './event-stream';

export type Endpoint = 'completions' | 'chat';

export interface Prompt {
  /** A text, or the messages of a conversation, which only `chat` takes. */
  readonly input: string | readonly object[];
  /** How many tokens it should be, where that is known. */
  readonly tokens?: number;
  readonly outputTokens: number;
}

/** What came, in milliseconds from when the request was sent. */
export interface Answer {
  /** To the first chunk with choices. */
  readonly ttft: number;
  /** Between one chunk with choices and the next. */
  readonly gaps: readonly number[];
  /** To the last chunk with choices. */
  readonly latency: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Whether the server said how many tokens there were: else chunks with text were counted. */
  readonly hasUsage: boolean;
  readonly askedTokens: number;
}

export interface Failure {
  /** What failures are counted by, such as `HTTP 429 queue_full`. */
  readonly kind: string;
  readonly message: string;
}

export interface ClientOptions {
  /** Up to the part before `/v1`. */
  readonly url: URL;
  readonly endpoint: Endpoint;
  readonly ignoreEos: boolean;
  readonly apiKey: string | undefined;
  /** Connections at the same time, kept open between requests. */
  readonly connections: number;
}

export interface ModelName {
  /** What requests call it. */
  readonly id: string;
  /** What was loaded, where the server says it. */
  readonly root: string;
}

/** A body longer than this is no error message. */
const ERROR_BYTES = 64 * 1024;

export class Client {
  model: ModelName = { id: '', root: '' };
  private readonly agent: HttpAgent;
  private readonly base: string;
  private readonly secure: boolean;
  private tokenizer: Tokenizer | undefined;

  constructor(private readonly options: ClientOptions) {
    const { url, connections } = options;
    this.secure = url.protocol === 'https:';
    this.base = url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
    const agent = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections };
    this.agent = this.secure ? new HttpsAgent(agent) : new HttpAgent(agent);
  }

  close(): void {
    this.agent.destroy();
  }

  get route(): string {
    return this.options.endpoint === 'chat' ? '/v1/chat/completions' : '/v1/completions';
  }

  /** The first model of the server, or the one it has by this name. */
  async findModel(name: string | undefined, signal: AbortSignal): Promise<void> {
    const { status, text } = await this.fetch('GET', '/v1/models', undefined, signal);
    if (status !== 200) {
      // A model that is named needs no list.
      if (name === undefined) throw new Error(this.noList(failureOf(status, text)));
      this.model = { id: name, root: name };
      return;
    }
    const models = (parse(text) as { data?: { id?: unknown; root?: unknown }[] } | undefined)?.data;
    const found = models?.find(({ id }) => name === undefined || id === name);
    const id = name ?? found?.id;
    if (typeof id !== 'string' || /\p{Cc}/u.test(id)) {
      throw new Error(`${this.base}/v1/models lists no model: give its name by --model`);
    }
    this.model = { id, root: typeof found?.root === 'string' ? found.root : id };
  }

  private noList(failure: Failure): string {
    const { kind, message } = this.clean(failure);
    const advice = /^HTTP 40[13]/.test(kind)
      ? 'set TRAMONTANE_API_KEY to its key'
      : "give the model's name by --model";
    return `${this.base}/v1/models answers ${kind} (${message}): ${advice}`;
  }

  /**
   * Finds out how the server counts tokens.
   * @returns false where it does not: then `countTokens()` must not be called
   */
  async findTokenizer(signal: AbortSignal): Promise<boolean> {
    for (const tokenizer of TOKENIZERS) {
      const answer = await this.tokenize(tokenizer, 'one two', signal);
      if (answer !== undefined && answer.count > 0) {
        this.tokenizer = tokenizer;
        return true;
      }
    }
    return false;
  }

  /**
   * Tokens of a text, with those a completion puts before it; a chat's come on top.
   * @returns also the server's context, where it says so
   */
  async countTokens(text: string, signal: AbortSignal): Promise<TokenCount> {
    const answer = await this.tokenize(this.tokenizer!, text, signal);
    if (answer === undefined) throw new Error(`${this.base}/tokenize failed for a prompt`);
    return answer;
  }

  private async tokenize(
    body: Tokenizer,
    text: string,
    signal: AbortSignal,
  ): Promise<TokenCount | undefined> {
    const special = this.options.endpoint === 'completions';
    const answer = await this.fetch(
      'POST',
      '/tokenize',
      JSON.stringify(body(this.model.id, text, special)),
      signal,
    );
    if (answer.status !== 200) return undefined;
    const { tokens, max_model_len: context } = (parse(answer.text) ?? {}) as {
      tokens?: unknown;
      max_model_len?: unknown;
    };
    if (!Array.isArray(tokens)) return undefined;
    return { count: tokens.length, ...(typeof context === 'number' && { context }) };
  }

  /**
   * Sends one prompt and reads the stream of its answer.
   * @param onChunk called for each chunk with choices
   * @throws the signal's reason, once it is aborted; all else is a `Failure`
   */
  async generate(
    prompt: Prompt,
    signal: AbortSignal,
    onChunk?: () => void,
  ): Promise<Answer | Failure> {
    const body = JSON.stringify(this.body(prompt));
    const reading = new Reading(performance.now(), prompt, onChunk);
    try {
      const response = await this.send('POST', this.route, body, signal);
      if (response.statusCode !== 200) {
        const text = await textOf(response, ERROR_BYTES);
        return this.clean(failureOf(response.statusCode!, text));
      }
      for await (const bytes of response) {
        const failure = reading.push(bytes as Buffer);
        if (failure !== undefined) return this.clean(failure);
      }
      return this.clean(reading.end());
    } catch (error) {
      signal.throwIfAborted();
      return this.clean(networkFailure(error));
    }
  }

  private body({ input, outputTokens }: Prompt): object {
    const messages = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
    return {
      model: this.model.id,
      ...(this.options.endpoint === 'chat' ? { messages } : { prompt: input }),
      max_tokens: outputTokens,
      stream: true,
      stream_options: { include_usage: true },
      ...(this.options.ignoreEos && { ignore_eos: true }),
    };
  }

  private async fetch(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    try {
      const response = await this.send(method, path, body, signal);
      return { status: response.statusCode!, text: await textOf(response, Infinity) };
    } catch (error) {
      signal.throwIfAborted();
      const { kind } = networkFailure(error);
      throw new Error(`${this.base} cannot be reached (${kind}): is the server running?`, {
        cause: error,
      });
    }
  }

  private send(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    retried = false,
  ): Promise<IncomingMessage> {
    const { apiKey } = this.options;
    const headers = {
      ...(body !== undefined && {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      }),
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    };
    return new Promise((resolve, reject) => {
      const start = this.secure ? httpsRequest : httpRequest;
      const request = start(this.base + path, { method, headers, agent: this.agent, signal });
      request.on('response', resolve);
      request.on('error', (error: NodeJS.ErrnoException) => {
        // The server may close a connection that was idle just when it is used again.
        if (request.reusedSocket && error.code === 'ECONNRESET' && !retried) {
          resolve(this.send(method, path, body, signal, true));
        } else {
          reject(error);
        }
      });
      request.end(body);
    });
  }

  /** Messages of a server go to terminals and files: no escape sequences, no key. */
  private clean<T extends Answer | Failure>(result: T): T {
    if (!('kind' in result)) return result;
    const { apiKey } = this.options;
    const clean = (text: string) =>
      (apiKey === undefined ? text : text.replaceAll(apiKey, '***'))
        .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
        .trim()
        .slice(0, 300);
    return { ...result, kind: clean(result.kind), message: clean(result.message) };
  }
}

interface TokenCount {
  readonly count: number;
  readonly context?: number;
}

/** The body of a request to /tokenize. */
type Tokenizer = (model: string, text: string, special: boolean) => object;

/** vLLM's request of /tokenize, and llama.cpp's, which answers the first with no tokens. */
const TOKENIZERS: readonly Tokenizer[] = [
  (model, prompt, special) => ({ model, prompt, add_special_tokens: special }),
  (_, content, special) => ({ content, add_special: special }),
];

interface Chunk {
  readonly error?: unknown;
  readonly choices?: readonly {
    readonly text?: string | null;
    readonly delta?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
  } | null;
}

/** An answer while its bytes come. */
class Reading {
  private readonly events = new EventStream();
  private readonly gaps: number[] = [];
  private firstAt: number | undefined;
  private lastAt = 0;
  private texts = 0;
  private usage: NonNullable<Chunk['usage']> = {};
  private finished = false;

  constructor(
    private readonly sentAt: number,
    private readonly prompt: Prompt,
    private readonly onChunk: (() => void) | undefined,
  ) {}

  push(bytes: Buffer): Failure | undefined {
    const now = performance.now();
    for (const data of this.events.push(bytes)) {
      if (data === '[DONE]') {
        this.finished = true;
        continue;
      }
      const chunk = parse(data) as Chunk | undefined;
      if (chunk === undefined) return { kind: 'an event that is no JSON', message: data };
      if (chunk.error !== undefined) return errorOf('an error within the stream', chunk, data);
      if (chunk.usage) this.usage = chunk.usage;
      if (chunk.choices?.[0] !== undefined) this.take(chunk.choices[0], now);
    }
    return undefined;
  }

  private take(choice: NonNullable<Chunk['choices']>[number], now: number): void {
    if (this.firstAt === undefined) this.firstAt = now;
    else this.gaps.push(now - this.lastAt);
    this.lastAt = now;
    if (choice.text || choice.delta?.content) ++this.texts;
    if (choice.finish_reason) this.finished = true;
    this.onChunk?.();
  }

  end(): Answer | Failure {
    if (this.firstAt === undefined) {
      return { kind: 'no chunk with choices', message: 'the answer was no stream of completions' };
    }
    if (!this.finished) {
      const message = 'the stream ended without a finish_reason or [DONE]';
      return { kind: 'a stream cut short', message };
    }
    const { prompt_tokens: input, completion_tokens: output } = this.usage;
    return {
      ttft: this.firstAt - this.sentAt,
      gaps: this.gaps,
      latency: this.lastAt - this.sentAt,
      inputTokens: input ?? this.prompt.tokens ?? 0,
      outputTokens: output ?? this.texts,
      hasUsage: input !== undefined && output !== undefined,
      askedTokens: this.prompt.outputTokens,
    };
  }
}

function failureOf(status: number, text: string): Failure {
  return errorOf(`HTTP ${status}`, parse(text), text);
}

/** By the status and the code, as far as an error body of OpenAI's shape says one. */
function errorOf(kind: string, body: unknown, text: string): Failure {
  const error = (body as { error?: unknown } | undefined)?.error;
  if (typeof error !== 'object' || error === null) {
    return { kind, message: typeof error === 'string' ? error : text || kind };
  }
  const { message, type, code } = error as Record<string, unknown>;
  const name = [code, type].find((one) => typeof one === 'string' && one !== '');
  return {
    kind: name === undefined ? kind : `${kind} ${name as string}`,
    message: typeof message === 'string' ? message : text,
  };
}

function networkFailure(error: unknown): Failure {
  const { code, message } = error as NodeJS.ErrnoException;
  return { kind: code ?? 'a broken connection', message: message || (code ?? '') };
}

async function textOf(response: IncomingMessage, most: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response) {
    parts.push(part as Buffer);
    bytes += (part as Buffer).length;
    if (bytes > most) break;
  }
  return Buffer.concat(parts).toString();
}

/** undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
