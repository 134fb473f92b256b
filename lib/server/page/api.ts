import { EventSourceParserStream } from 'eventsource-parser/stream';
import { isRecord, Stored, textOf } from './storage';

export interface Model {
  readonly id: string;
  /** Tokens; undefined where the server does not say. */
  readonly context: number | undefined;
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** What /v1/chat/completions takes, as far as the page sets it. */
export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly temperature?: number;
  readonly top_p?: number;
  readonly max_tokens?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly response_format?: unknown;
}

export interface Usage {
  readonly prompt: number;
  readonly completion: number;
}

export type ChatEvent =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly usage: Usage };

/** What the server said, or that it said nothing: `status` is then 0. */
export class ServerError extends Error {
  override readonly name = 'ServerError';

  constructor(
    message: string,
    readonly status: number,
    readonly param?: string,
    readonly code?: string,
    /** Seconds. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Asks for a key; undefined where none is given. */
export type AskKey = (refused: boolean) => Promise<string | undefined>;

export class Api {
  private readonly stored = new Stored('sessionStorage', 'key', textOf);
  private key = this.stored.read();

  constructor(private readonly askKey: AskKey) {}

  async models(): Promise<Model[]> {
    const response = await this.request('v1/models', {});
    const body: unknown = await response.json().catch(() => undefined);
    const list = isRecord(body) && Array.isArray(body['data']) ? (body['data'] as unknown[]) : [];
    return list.filter(isRecord).map((model) => ({
      id: textOf(model['id']),
      context: typeof model['max_model_len'] === 'number' ? model['max_model_len'] : undefined,
    }));
  }

  /** Ends with the stream; an abort throws its AbortError. */
  async *chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const response = await this.request('v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    if (response.body === null) throw new ServerError('The answer has no body.', response.status);
    const events = response.body
      .pipeThrough(new TextDecoderStream() as TransformStream<BufferSource, string>)
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    for (;;) {
      const { done, value } = await events.read().catch((error: unknown) => {
        throw unreachable(error, signal);
      });
      if (done || value.data === '[DONE]') return;
      yield* chatEvents(JSON.parse(value.data));
    }
  }

  private async request(path: string, init: RequestInit): Promise<Response> {
    for (;;) {
      const headers = new Headers(init.headers);
      if (this.key !== '') headers.set('authorization', `Bearer ${this.key}`);
      const response = await fetch(path, { ...init, headers }).catch((error: unknown) => {
        throw unreachable(error, init.signal);
      });
      if (response.ok) return response;
      const error = await errorOf(response);
      if (response.status !== 401) throw error;
      const key = await this.askKey(this.key !== '');
      if (key === undefined) throw error;
      this.key = key;
      this.stored.write(key);
    }
  }
}

function* chatEvents(chunk: unknown): Generator<ChatEvent> {
  if (!isRecord(chunk)) return;
  if (isRecord(chunk['error'])) throw serverError(chunk['error'], 500, undefined);
  const choices: unknown = chunk['choices'];
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  if (isRecord(choice)) {
    const delta = isRecord(choice['delta']) ? choice['delta'] : {};
    const text = textOf(delta['content']) || textOf(delta['refusal']);
    if (text !== '') yield { kind: 'text', text };
    const reason = textOf(choice['finish_reason']);
    if (reason !== '') yield { kind: 'finish', reason };
  }
  const usage = chunk['usage'];
  if (isRecord(usage)) {
    const { prompt_tokens: prompt, completion_tokens: completion } = usage;
    if (typeof prompt === 'number' && typeof completion === 'number') {
      yield { kind: 'usage', usage: { prompt, completion } };
    }
  }
}

async function errorOf(response: Response): Promise<ServerError> {
  const body: unknown = await response.json().catch(() => undefined);
  const error = isRecord(body) && isRecord(body['error']) ? body['error'] : {};
  const seconds = Number(response.headers.get('retry-after') ?? NaN);
  return serverError(error, response.status, Number.isFinite(seconds) ? seconds : undefined);
}

function serverError(
  error: Readonly<Record<string, unknown>>,
  status: number,
  retryAfter: number | undefined,
): ServerError {
  const message = textOf(error['message']) || `The server answered with status ${status}.`;
  const optional = (value: unknown) => textOf(value) || undefined;
  return new ServerError(
    message,
    status,
    optional(error['param']),
    optional(error['code']),
    retryAfter,
  );
}

function unreachable(error: unknown, signal: AbortSignal | null | undefined): unknown {
  return signal?.aborted === true ? error : new ServerError('The connection failed.', 0);
}
