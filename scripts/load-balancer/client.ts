/**
 * A client of completions that tries again, by the rules of OpenAI's: after errors of the connection,
 * 408, 409, 429 and 5xx. A stream that breaks is asked for anew, which it does not do.
 */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

export interface Target {
  readonly port: number;
  readonly certificate: string;
  readonly key: string;
}

export interface Question {
  readonly session: string;
  readonly prompt: string;
  readonly seed: number;
  readonly stream: boolean;
}

const tries = 6;
const maxTokens = 200;

export class Client {
  /** Why requests were sent again, and how often. */
  readonly retries = new Map<string, number>();
  private readonly agent: Agent;

  constructor(private readonly target: Target) {
    this.agent = new Agent({ ca: target.certificate, keepAlive: true });
  }

  /** The text of a completion; an error after the last try. */
  async complete(question: Question): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      let wait = 250 * 2 ** (attempt - 1);
      let reason: string;
      try {
        const response = await this.send(question);
        const body = await text(response);
        const status = response.statusCode!;
        if (status === 200) return question.stream ? streamed(body) : whole(body);
        reason = `status ${status}`;
        if (![408, 409, 429].includes(status) && status < 500) {
          throw new Refused(`${reason}: ${body}`);
        }
        const after = Number(response.headers['retry-after']);
        if (after > 0) wait = after * 1000;
      } catch (error) {
        if (error instanceof Refused) throw error;
        reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      }
      if (attempt === tries) throw new Error(`${question.session}: ${reason}, ${tries} times`);
      this.retries.set(reason, (this.retries.get(reason) ?? 0) + 1);
      await delay(wait);
    }
  }

  close(): void {
    this.agent.destroy();
  }

  private async send({ session, prompt, seed, stream }: Question): Promise<IncomingMessage> {
    const sent = request({
      agent: this.agent,
      host: '127.0.0.1',
      servername: 'localhost',
      port: this.target.port,
      method: 'POST',
      path: '/v1/completions',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${this.target.key}`,
        'x-session-id': session,
      },
    });
    sent.end(JSON.stringify({ model: 'breeze', prompt, seed, stream, max_tokens: maxTokens }));
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return response;
  }
}

class Refused extends Error {}

async function text(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let body = '';
  for await (const piece of response) body += piece as string;
  return body;
}

interface Completion {
  readonly choices: readonly { readonly text: string }[];
  readonly error?: { readonly message: string };
}

function whole(body: string): string {
  return (JSON.parse(body) as Completion).choices[0]!.text;
}

function streamed(body: string): string {
  const events = body
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice('data: '.length));
  if (events.pop() !== '[DONE]') throw new Error('the stream broke off');
  return events
    .map((event) => {
      const { choices, error } = JSON.parse(event) as Completion;
      if (error) throw new Error(`the stream ended: ${error.message}`);
      return choices[0]?.text ?? '';
    })
    .join('');
}
