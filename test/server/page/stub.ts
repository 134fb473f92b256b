/** A server that says to the page what a test wants. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { json } from 'node:stream/consumers';
import { pagePolicy } from '../../../lib/server/routes/page';

export interface Asked {
  readonly key: string | undefined;
  readonly body: ChatBody;
}

interface ChatBody extends Readonly<Record<string, unknown>> {
  readonly messages: readonly unknown[];
}

/** What it says to a request of a chat. */
export type Reply = (response: ServerResponse, asked: Asked) => Promise<void> | void;

export class Stub {
  readonly asked: Asked[] = [];
  /** Streams that the page ended. */
  aborted = 0;
  models: readonly Record<string, unknown>[] = [
    { id: 'mistral-7b-instruct', object: 'model', max_model_len: 32768 },
    { id: 'small', object: 'model' },
  ];
  key: string | undefined;
  reply: Reply = answering(['Good ', 'day.']);
  private readonly server: Server;

  constructor(private readonly page: string) {
    this.server = createServer((request, response) => {
      void this.answer(request, response);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authorization } = request.headers;
    if (request.url === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.setHeader('content-security-policy', pagePolicy(this.page));
      response.end(this.page);
    } else if (this.key !== undefined && authorization !== `Bearer ${this.key}`) {
      refusing(401, { message: 'Incorrect API key provided.', code: 'invalid_api_key' })(response);
    } else if (request.url === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: this.models }));
    } else if (request.url === '/v1/chat/completions') {
      const body = (await json(request)) as ChatBody;
      this.asked.push({ key: authorization, body });
      response.on('close', () => {
        if (!response.writableFinished) this.aborted++;
      });
      await this.reply(response, this.asked.at(-1)!);
    } else {
      response.writeHead(404).end();
    }
  }
}

/** An event of a stream. */
export function send(response: ServerResponse, event: unknown): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(`data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`);
}

export function piece(content: string): unknown {
  return { choices: [{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }] };
}

interface Manner {
  readonly finish?: string;
  readonly everyMs?: number;
  /** Leaves the stream open after the pieces. */
  readonly open?: boolean;
}

export function answering(
  pieces: readonly string[],
  { finish = 'stop', everyMs = 0, open = false }: Manner = {},
): Reply {
  return async (response) => {
    for (const content of pieces) {
      send(response, piece(content));
      await sleep(everyMs);
    }
    if (open) return;
    send(response, { choices: [{ index: 0, delta: {}, finish_reason: finish }] });
    const usage = { prompt_tokens: 21, completion_tokens: pieces.length };
    send(response, { choices: [], usage: { ...usage, total_tokens: 21 + pieces.length } });
    send(response, '[DONE]');
    response.end();
  };
}

export function refusing(
  status: number,
  error: Record<string, unknown>,
  headers: Record<string, string> = {},
): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    const whole = { type: 'invalid_request_error', param: null, code: null, ...error };
    response.end(JSON.stringify({ error: whole }));
  };
}
