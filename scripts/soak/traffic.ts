/** Clients as they are: patient, hasty, slow, gone, and wrong. */
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../lib/bench-serve/random';
import { fuzzedPost, words, type Post } from './bodies';
import { isAllowed, isServersFault } from './fuzz';

/** What a client does with its answer; the number is its part of a thousand. */
const KINDS = {
  /** Reads all. */
  patient: 463,
  /** Goes before there is an answer, at once or later: in the queue, or in the prompt. */
  'gone before the first token': 184,
  /** Goes after some events. */
  'gone between tokens': 140,
  /** Reads a little, waits, and goes on. */
  slow: 70,
  /** Does not read, and stays: the server has to give it up. */
  deaf: 3,
  /** Its connection is cut while it sends. */
  'cut while sending': 60,
  /** Its body is wrong. */
  wrong: 80,
} as const;
export type Kind = keyof typeof KINDS;

const DRAW: readonly Kind[] = Object.entries(KINDS).flatMap(([kind, count]) =>
  Array<Kind>(count).fill(kind as Kind),
);

/** An answer that takes longer is one that never comes. */
const PATIENCE_MS = 120_000;

/** Time for the server to fill the sockets of a client that does not read, and to give it up. */
const DEAF_MS = 15_000;

export interface TrafficReport {
  /** Requests by what their clients did. */
  readonly kinds: Readonly<Record<string, number>>;
  /** Answers that came, by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Clients that went while they were answered. */
  readonly left: number;
  /** What must not be. */
  readonly faults: readonly string[];
}

/** More than is generated before a client has gone. */
const ENDLESS = 3000;

/** Lengths of prompts: mostly short, some of a thousand tokens. */
function promptOf(random: Random): string {
  const [least, most] = random.choose([
    [1, 10],
    [1, 60],
    [50, 200],
    [400, 900],
  ] as const);
  return words(random, least + Math.floor(random.uniform() * (most - least)));
}

function generating(random: Random, stream: boolean, maxTokens: number): Post {
  const prompt = promptOf(random);
  const sampling = {
    stream,
    temperature: 1,
    seed: Math.floor(random.uniform() * 1e6),
    ignore_eos: maxTokens === ENDLESS,
  };
  const messages = [{ role: 'user', content: prompt }];
  return random.choose<Post>([
    {
      path: '/v1/completions',
      body: { ...sampling, prompt, max_tokens: maxTokens, n: random.choose([1, 1, 1, 3]) },
    },
    {
      path: '/v1/chat/completions',
      body: { ...sampling, messages, max_tokens: maxTokens, logprobs: random.uniform() < 0.2 },
    },
    {
      path: '/v1/responses',
      body: { ...sampling, input: prompt, max_output_tokens: maxTokens },
    },
    { path: '/v1/messages', body: { ...sampling, messages, max_tokens: maxTokens } },
    {
      path: '/v1/fim/completions',
      body: { ...sampling, prompt, suffix: 'the end.', max_tokens: maxTokens },
    },
  ]);
}

export class Traffic {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #kinds: Record<string, number> = {};
  readonly #statuses: Record<string, number> = {};
  readonly #faults: string[] = [];
  #left = 0;
  /** Open until the end: that the server works for them no longer is its own doing. */
  readonly #deafSockets: Socket[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  get report(): TrafficReport {
    return { kinds: this.#kinds, statuses: this.#statuses, left: this.#left, faults: this.#faults };
  }

  /** Sends the requests of seeds `first` and on, so many of them at once. */
  async send(first: number, count: number, atOnce: number): Promise<void> {
    let next = first;
    const client = async (): Promise<void> => {
      while (next < first + count) await this.one(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, client));
  }

  close(): void {
    this.#agent.destroy();
    for (const socket of this.#deafSockets) socket.destroy();
  }

  /** One request, to its end. */
  async one(seed: number): Promise<void> {
    const random = new Random(seed);
    const kind = random.choose(DRAW);
    this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1;
    try {
      await this.#behave(kind, random);
    } catch (error) {
      this.#faults.push(`${kind} (seed ${seed}): ${(error as Error).message}`);
    }
  }

  async #behave(kind: Kind, random: Random): Promise<void> {
    switch (kind) {
      case 'patient': {
        const tokens = 1 + Math.floor(random.uniform() ** 3 * 200);
        const post = generating(random, random.uniform() < 0.6, tokens);
        return this.#complete(post.path, await this.#answer(post.path, JSON.stringify(post.body)));
      }
      case 'gone before the first token': {
        const post = generating(random, random.uniform() < 0.5, ENDLESS);
        const leave = AbortSignal.timeout(Math.floor(random.uniform() ** 2 * 200));
        return this.#leaving(post, leave);
      }
      case 'gone between tokens': {
        const post = generating(random, true, ENDLESS);
        const response = await this.#answer(post.path, JSON.stringify(post.body));
        const pieces = 1 + Math.floor(random.uniform() * 20);
        if (response.statusCode !== 200) return this.#complete(post.path, response);
        let seen = 0;
        response.on('data', () => {
          if (++seen === pieces) response.destroy();
        });
        await once(response, 'close');
        this.#left += 1;
        return;
      }
      case 'slow': {
        const post = generating(random, true, 100);
        const response = await this.#answer(post.path, JSON.stringify(post.body));
        return this.#complete(post.path, response, () => delay(random.uniform() * 20));
      }
      case 'deaf':
        return this.#deaf();
      case 'cut while sending':
        return this.#cut(random);
      case 'wrong': {
        const { path, payload } = fuzzedPost(random);
        const response = await this.#answer(path, payload);
        return this.#complete(path, response);
      }
    }
  }

  /** @returns the answer, with its body to be read */
  async #answer(path: string, payload: string, leave?: AbortSignal): Promise<IncomingMessage> {
    const late = AbortSignal.timeout(PATIENCE_MS);
    const sent = request({
      agent: this.#agent,
      host: '127.0.0.1',
      port: this.#port,
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
      signal: leave ? AbortSignal.any([late, leave]) : late,
    });
    sent.end(payload);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const status = response.statusCode!;
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    if (!isAllowed(status, path)) {
      throw new Error(`status ${status} for ${path} ${payload.slice(0, 2000)}`);
    }
    return response;
  }

  /** Reads to the end, which has to be one. */
  async #complete(
    path: string,
    response: IncomingMessage,
    pause?: () => Promise<void>,
  ): Promise<void> {
    let text = '';
    response.setEncoding('utf8');
    for await (const piece of response) {
      text += piece as string;
      await pause?.();
    }
    if (isServersFault(text)) throw new Error(`${path} failed: ${text.slice(-2000)}`);
    const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true;
    const ends =
      /(?:\[DONE\]|"type":"message_stop".*|"type":"response\.(?:completed|incomplete)".*)\n\n$/;
    if (isStream && !ends.test(text) && !/\{"error":|"type":"error"/.test(text)) {
      throw new Error(`${path} has a stream without an end: ${text.slice(-2000)}`);
    }
    if (!isStream) JSON.parse(text);
  }

  async #leaving({ path, body }: Post, leave: AbortSignal): Promise<void> {
    try {
      const response = await this.#answer(path, JSON.stringify(body), leave);
      await this.#complete(path, response);
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException;
      if (!leave.aborted || (code !== 'ECONNRESET' && name !== 'AbortError')) throw error;
    }
  }

  /** Asks for more than the sockets between hold, and reads nothing of it. */
  async #deaf(): Promise<void> {
    const body = JSON.stringify({
      prompt: 'One day',
      n: 4,
      max_tokens: 4000,
      ignore_eos: true,
      stream: true,
      logprobs: 5,
    });
    const socket = connect(this.#port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(head('/v1/completions', Buffer.byteLength(body)) + body);
    this.#deafSockets.push(socket);
    await delay(DEAF_MS);
  }

  async #cut(random: Random): Promise<void> {
    const { path, body } = generating(random, true, 100);
    const payload = JSON.stringify(body);
    const whole = head(path, Buffer.byteLength(payload)) + payload;
    const socket = connect(this.#port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'connect');
    // What is refused is answered, and closed, before all of it is there.
    const closed = once(socket, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
    socket.write(whole.slice(0, Math.floor(random.uniform() * whole.length)));
    await delay(random.uniform() * 20);
    if (random.uniform() < 0.5) socket.resetAndDestroy();
    else socket.destroy();
    await closed;
  }
}

function head(path: string, length: number): string {
  return (
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${length}\r\nConnection: close\r\n\r\n`
  );
}
