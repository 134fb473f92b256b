/** `tramontane bench-serve` against a server of which every answer is known. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { arrivals } from '../../lib/bench-serve/arrivals';
import type { Client, Prompt } from '../../lib/bench-serve/client';
import { EventStream } from '../../lib/bench-serve/event-stream';
import { Load, type Sample } from '../../lib/bench-serve/load';
import { plot } from '../../lib/bench-serve/plot';
import { Random } from '../../lib/bench-serve/random';
import { resultOf, type Result, type Settings } from '../../lib/bench-serve/result';
import { summarize } from '../../lib/bench-serve/statistics';
import { Model } from '../../lib';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { createServer as createApiServer } from '../server/checked-server';
import { outcome, run, start, type Outcome } from './command';

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: {
    readonly prompt?: string;
    readonly messages?: readonly { readonly content: string }[];
    readonly max_tokens?: number;
    readonly [name: string]: unknown;
  };
}

/** Answers with so many tokens as are asked for, a chunk each; what a test gives comes first. */
class Stub {
  readonly received: Received[] = [];
  sockets = 0;
  running = 0;
  mostRunning = 0;
  /** Of the routes that generate: true if it has answered. */
  answer: (response: ServerResponse, index: number) => boolean = () => false;
  /** Tokens of a word; 0 is a server without /tokenize. */
  tokensOf: (word: string) => number = () => 1;
  context = 32768;
  sendsUsage = true;
  chunkDelay = 0;
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const text = Buffer.concat(parts).toString();
        const body = (text === '' ? {} : JSON.parse(text)) as Received['body'];
        this.received.push({ path: request.url!, headers: request.headers, body });
        void this.respond(request.url!, body, response);
      });
    });
    this.server.on('connection', () => ++this.sockets);
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** The requests that generate. */
  get generations(): Received[] {
    return this.received.filter(({ path }) => path.endsWith('/completions'));
  }

  prompts(): string[] {
    return this.generations.map(({ body }) => body.prompt ?? body.messages![0]!.content);
  }

  count(text: string): number {
    return text.split(' ').reduce((sum, word) => sum + this.tokensOf(word), 1);
  }

  private async respond(
    path: string,
    body: Received['body'],
    response: ServerResponse,
  ): Promise<void> {
    if (path === '/v1/models') {
      response.end(JSON.stringify({ data: [{ id: 'served', root: 'org/loaded' }] }));
    } else if (path === '/tokenize') {
      const count = this.count(body.prompt ?? '');
      if (this.tokensOf('a') === 0 || body.prompt === undefined) response.statusCode = 404;
      const tokens = Array.from({ length: count }, (_, id) => id);
      response.end(JSON.stringify({ tokens, count, max_model_len: this.context }));
    } else {
      this.mostRunning = Math.max(this.mostRunning, ++this.running);
      response.on('close', () => --this.running);
      const index = this.generations.length - 1;
      if (!this.answer(response, index)) await this.stream(path, body, response);
    }
  }

  private async stream(path: string, body: Received['body'], response: ServerResponse) {
    const chat = path.includes('chat');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': ping\n\n');
    const tokens = body.max_tokens!;
    for (let token = 0; token < tokens; ++token) {
      if (this.chunkDelay > 0) await wait(this.chunkDelay);
      const text = ' tok';
      const finish_reason = token === tokens - 1 ? 'length' : null;
      response.write(
        event({
          choices: [chat ? { delta: { content: text }, finish_reason } : { text, finish_reason }],
          usage: null,
        }),
      );
    }
    const prompt = body.prompt ?? body.messages![0]!.content;
    if (this.sendsUsage) {
      const usage = { prompt_tokens: this.count(prompt), completion_tokens: tokens };
      response.write(event({ choices: [], usage }));
    }
    response.end('data: [DONE]\n\n');
  }
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

let stub: Stub;
let url: string;
let folder: string;

beforeEach(async () => {
  stub = new Stub();
  url = await stub.listen();
  folder = mkdtempSync(join(tmpdir(), 'bench-serve-'));
});

afterEach(async () => {
  await stub.close();
  rmSync(folder, { recursive: true });
});

const small = ['--num-prompts', '6', '--random-input-len', '20', '--random-output-len', '5'];

async function measure(...args: string[]): Promise<Result> {
  const { status, stdout, stderr } = await run('bench-serve', url, '--json', ...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout) as Result;
}

/** With no other keys in the environment than these. */
function runWithKeys(keys: NodeJS.ProcessEnv, ...args: string[]): Promise<Outcome> {
  const root = join(__dirname, '../..');
  const command = ['-r', join(root, 'scripts/typescript.js'), join(root, 'lib/cli/main.ts')];
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ...keys };
  return outcome(spawn(process.execPath, [...command, 'bench-serve', url, ...args], { env }));
}

describe('server-sent events', () => {
  const text =
    '\ufeffdata: {"a":"é🌬"}\n\n: ping\n\nevent: x\r\ndata:no space\r\ndata: second line\r\n\r\n' +
    'id: 1\rdata: carriage returns\r\rdata\n\ndata: [DONE]\n\ndata: never ended\n';
  const bytes = Buffer.from(text);
  const events = ['{"a":"é🌬"}', 'no space\nsecond line', 'carriage returns', '', '[DONE]'];

  test('in one piece', () => {
    expect(new EventStream().push(bytes)).toEqual(events);
  });

  test('byte by byte', () => {
    const stream = new EventStream();
    expect([...bytes].flatMap((byte) => stream.push(Uint8Array.of(byte)))).toEqual(events);
  });

  test('cut at any two places', () => {
    const wrong: [number, number][] = [];
    for (let first = 0; first <= bytes.length; ++first) {
      for (let second = first; second <= bytes.length; ++second) {
        const stream = new EventStream();
        const pieces = [bytes.subarray(0, first), bytes.subarray(first, second)];
        pieces.push(bytes.subarray(second));
        const read = pieces.flatMap((piece) => stream.push(piece));
        if (!isDeepStrictEqual(read, events)) wrong.push([first, second]);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('figures', () => {
  const settings: Settings = {
    endpoint: 'completions',
    model: { id: 'm', root: 'org/m' },
    numPrompts: 3,
    requestRate: Infinity,
    burstiness: 1,
    maxConcurrency: undefined,
    goodput: undefined,
  };
  const sample = (sentAt: number, ttft: number, gaps: number[], outputTokens: number): Sample => ({
    sentAt,
    queued: 0,
    ttft,
    gaps,
    latency: gaps.reduce((a, b) => a + b, ttft),
    inputTokens: 10,
    outputTokens,
    askedTokens: 5,
    hasUsage: true,
  });
  // The second has two tokens in a chunk, the third is one token.
  const completed = [
    sample(1000, 100, [20, 40, 60, 80], 5),
    sample(1100, 300, [100, 200], 4),
    sample(2500, 50, [], 1),
  ];
  const samples = { completed, failures: [], duration: 2000, interrupted: false };

  test('are those of vllm bench serve', () => {
    expect(resultOf(samples, settings)).toMatchObject({
      endpoint_type: 'openai',
      model_id: 'm',
      tokenizer_id: 'org/m',
      request_rate: 'inf',
      max_concurrency: null,
      duration: 2,
      completed: 3,
      failed: 0,
      total_input_tokens: 30,
      total_output_tokens: 10,
      request_throughput: 1.5,
      request_goodput: null,
      output_throughput: 5,
      total_token_throughput: 20,
      mean_ttft_ms: 150,
      median_ttft_ms: 100,
      // (300 - 100) / 4 and (600 - 300) / 3; an answer of one token has none.
      mean_tpot_ms: 75,
      median_tpot_ms: 75,
      std_tpot_ms: 25,
      p99_tpot_ms: expect.closeTo(99.5),
      median_itl_ms: 70,
      mean_itl_ms: expect.closeTo(500 / 6),
      median_e2el_ms: 300,
      max_output_tokens_per_s: 8,
      max_concurrent_requests: 2,
      ended_early: 2,
    });
  });

  test.each([
    [{ ttft: 100 }, 2],
    [{ tpot: 99 }, 2],
    [{ ttft: 100, tpot: 49 }, 1],
    [{ e2el: 300 }, 2],
    [{ e2el: 49 }, 0],
  ])('goodput within %j counts %i requests', (goodput, count) => {
    expect(resultOf(samples, { ...settings, goodput }).request_goodput).toBe(count / 2);
  });

  test('of the client’s queue are there with a concurrency, and in the whole with a rate', () => {
    const queued = { ...samples, completed: completed.map((one) => ({ ...one, queued: 7 })) };
    const plain = resultOf(queued, { ...settings, maxConcurrency: 2 });
    expect(plain.p99_client_queue_time_ms).toBe(7);
    expect(plain).not.toHaveProperty('mean_e2el_including_client_queue_ms');
    const paced = resultOf(queued, { ...settings, maxConcurrency: 2, requestRate: 4 });
    expect(paced.median_e2el_including_client_queue_ms).toBe(307);
    expect(resultOf(queued, settings)).not.toHaveProperty('p99_client_queue_time_ms');
  });

  test('are 0 where nothing was measured', () => {
    const none = { ...samples, completed: [] };
    expect(resultOf(none, settings)).toMatchObject({
      request_throughput: 0,
      p99_ttft_ms: 0,
      max_output_tokens_per_s: 0,
    });
  });

  test('percentiles lie between values, and deviations are the population’s', () => {
    const { median, p99, std } = summarize([4, 1, 3, 2]);
    expect([median, p99, std]).toEqual([2.5, expect.closeTo(3.97), expect.closeTo(1.118034)]);
  });
});

describe('arrivals', () => {
  const gaps = (burstiness: number) => {
    const times = arrivals(20_000, { rate: 10, burstiness }, new Random(1));
    return times.map((time, index) => time - (times[index - 1] ?? 0));
  };

  test('at rate inf are all at once', () => {
    expect(arrivals(3, { rate: Infinity, burstiness: 1 }, new Random(1))).toEqual([0, 0, 0]);
  });

  test.each([0.25, 1, 4])('of burstiness %d have a gamma distribution’s gaps', (burstiness) => {
    const { mean, std } = summarize(gaps(burstiness));
    expect(mean).toBeCloseTo(0.1, 10);
    expect(std / mean / Math.sqrt(1 / burstiness)).toBeCloseTo(1, 1);
  });

  test('of burstiness 1 are a Poisson process: a gap exceeds its mean with probability 1/e', () => {
    expect(gaps(1).filter((gap) => gap > 0.1).length / 20_000).toBeCloseTo(Math.exp(-1), 2);
  });

  test('of burstiness inf are even', () => {
    expect(gaps(Infinity).every((gap) => Math.abs(gap - 0.1) < 1e-6)).toBe(true);
  });

  test('are repeated by the seed', () => {
    const of = (seed: number) => arrivals(5, { rate: 2, burstiness: 1 }, new Random(seed));
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
    expect(of(1).at(-1)).toBeCloseTo(2.5);
  });
});

describe('a load', () => {
  const prompts = ['a', 'b', 'c', 'd', 'e'].map((input) => ({ input, outputTokens: 1 }));

  test('sends no more at once than it may, in order, and the others wait in its queue', async () => {
    const sent: unknown[] = [];
    const release: (() => void)[] = [];
    const client = {
      generate: async ({ input }: Prompt) => {
        sent.push(input);
        await new Promise<void>((resolve) => release.push(resolve));
        return { kind: 'none', message: '' };
      },
    } as unknown as Client;
    const load = new Load(client, 2, new AbortController().signal);
    const ended = load.run(prompts, [0, 0, 0, 0, 0]);
    for (let done = 0; done < prompts.length; ++done) {
      await wait(1);
      expect(sent).toEqual(['a', 'b', 'c', 'd', 'e'].slice(0, done + 2));
      expect(load.running).toBe(Math.min(2, prompts.length - done));
      release[done]!();
    }
    expect((await ended).failures).toHaveLength(5);
  });

  test('sends each when it is due', async () => {
    const sent: number[] = [];
    const client = {
      generate: () => {
        sent.push(performance.now());
        return Promise.resolve({ kind: 'none', message: '' });
      },
    } as unknown as Client;
    const load = new Load(client, Infinity, new AbortController().signal);
    await load.run(prompts.slice(0, 3), [0, 0.02, 0.04]);
    const early = sent.filter((at, index) => at < load.startedAt + index * 20 - 2);
    expect(early).toEqual([]);
  });
});

describe('random prompts', () => {
  test('are as long as the server counts, words of two tokens or not', async () => {
    stub.tokensOf = (word) => (word.length > 4 ? 2 : 1);
    const result = await measure(...small);
    expect(result.total_input_tokens).toBe(6 * 20);
    expect(new Set(stub.prompts()).size).toBe(7); // One of them warmed up.
  });

  test('share prefixes, in turn', async () => {
    const prefixes = ['--random-prefix-len', '12', '--random-prefixes', '2', '--warmup', '0'];
    const result = await measure(...small, ...prefixes);
    expect(result.total_input_tokens).toBe(6 * 32);
    const starts = stub.prompts().map((prompt) => prompt.split(' ').slice(0, 11).join(' '));
    expect(new Set(starts).size).toBe(2);
    expect(new Set(stub.prompts()).size).toBe(6);
  });

  test('are repeated by the seed', async () => {
    const sequential = [...small, '--max-concurrency', '1'];
    await measure(...sequential, '--seed', '5');
    await measure(...sequential, '--seed', '5');
    await measure(...sequential, '--seed', '6');
    const prompts = stub.prompts();
    expect(prompts.slice(7, 14)).toEqual(prompts.slice(0, 7));
    expect(prompts.slice(14)).not.toEqual(prompts.slice(0, 7));
  });

  test('are words where the server has no /tokenize, and that is said', async () => {
    stub.tokensOf = () => 0;
    const { status, stderr } = await run('bench-serve', url, ...small);
    expect(stderr).toBe(
      'tramontane: the server has no /tokenize that counts: a word is taken for a token\n',
    );
    expect(status).toBe(0);
    expect(stub.prompts()[0]!.split(' ')).toHaveLength(20);
  });

  test('that the context does not hold are refused before any is sent', async () => {
    stub.context = 24;
    const { status, stderr } = await run('bench-serve', url, ...small);
    expect(stderr).toMatch(/prompts of 20 tokens and outputs of 5 .* context of 24: see --random/);
    expect(status).toBe(2);
    expect(stub.generations).toEqual([]);
  });
});

describe('prompts of a file', () => {
  const write = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  };

  test('are its lines, each once', async () => {
    const file = write('lines.txt', 'First prompt\n\nSecond {prompt}\r\n');
    const result = await measure('--prompts', file, '--warmup', '0');
    expect(result).toMatchObject({ num_prompts: 2, completed: 2, total_output_tokens: 256 });
    expect(stub.prompts().sort()).toEqual(['First prompt', 'Second {prompt}']);
  });

  test('or JSON objects with messages and lengths of their own, and come again', async () => {
    const messages = [{ role: 'user', content: 'Hello' }];
    const objects = [{ prompt: 'a' }, { messages, output_tokens: 3 }];
    const file = write('lines.jsonl', objects.map((one) => JSON.stringify(one)).join('\n'));
    const sizes = ['--num-prompts', '3', '--random-output-len', '4', '--warmup', '0'];
    const chat = ['--endpoint', 'chat', '--max-concurrency', '1'];
    await measure('--prompts', file, ...sizes, ...chat);
    expect(stub.generations.map(({ body }) => [body.messages, body.max_tokens])).toEqual([
      [[{ role: 'user', content: 'a' }], 4],
      [messages, 3],
      [[{ role: 'user', content: 'a' }], 4],
    ]);
    const plain = await run('bench-serve', url, '--prompts', file);
    expect(plain).toMatchObject({ status: 2, stderr: expect.stringContaining('--endpoint chat') });
  });

  test.each([
    ['{"prompt": "a"}\n{"prompt"', /line 2: no JSON object/],
    ['{"text": "a"}', /line 1: neither prompt/],
    ['{"prompt": "a", "output_tokens": 0}', /line 1: output_tokens/],
    ['\n', /no prompt in it/],
  ])('%j is refused', async (text, message) => {
    const { status, stderr } = await run('bench-serve', url, '--prompts', write('bad', text));
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
  });
});

describe('requests', () => {
  test.each(['completions', 'chat'])('of %s ask for a stream with usage', async (endpoint) => {
    const result = await measure(...small, '--endpoint', endpoint);
    const chat = endpoint === 'chat';
    expect(result).toMatchObject({
      backend: chat ? 'openai-chat' : 'openai',
      model_id: 'served',
      tokenizer_id: 'org/loaded',
      completed: 6,
      total_output_tokens: 30,
      without_usage: 0,
      ended_early: 0,
      error_kinds: [],
    });
    const { path, body } = stub.generations[0]!;
    const prompt = stub.prompts()[0];
    expect(path).toBe(chat ? '/v1/chat/completions' : '/v1/completions');
    expect(body).toEqual({
      model: 'served',
      ...(chat ? { messages: [{ role: 'user', content: prompt }] } : { prompt }),
      max_tokens: 5,
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test('name the model of --model, and ask to ignore the end where told', async () => {
    await measure(...small, '--model', 'other', '--ignore-eos');
    expect(stub.generations[0]!.body).toMatchObject({ model: 'other', ignore_eos: true });
  });

  test('go to a URL that ends with /v1 too', async () => {
    url += '/v1/';
    expect((await measure(...small)).completed).toBe(6);
  });

  test('carry the key of the environment, ours before OpenAI’s, and never show it', async () => {
    const keyOf = async (keys: NodeJS.ProcessEnv) => {
      const ended = await runWithKeys(keys, ...small);
      return { ...ended, key: stub.generations.at(-1)!.headers.authorization };
    };
    expect((await keyOf({})).key).toBeUndefined();
    expect((await keyOf({ OPENAI_API_KEY: 'sk-theirs' })).key).toBe('Bearer sk-theirs');
    stub.answer = (response) => {
      response.statusCode = 401;
      response.end('Incorrect key sk-ours\u001b[31m');
      return true;
    };
    const keys = { OPENAI_API_KEY: 'sk-theirs', TRAMONTANE_API_KEY: 'sk-ours' };
    const { key, status, stdout, stderr } = await keyOf(keys);
    expect(key).toBe('Bearer sk-ours');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('/v1/completions fails: HTTP 401: Incorrect key *** [31m\n');
  });

  test('are no more at once than --max-concurrency, over connections that stay', async () => {
    stub.chunkDelay = 5;
    await measure(...small, '--num-prompts', '12', '--max-concurrency', '3');
    expect(stub.mostRunning).toBe(3);
    expect(stub.sockets).toBeLessThanOrEqual(3);
  });

  test('come at the rate and burstiness asked for', async () => {
    const traffic = ['--request-rate', '200', '--burstiness', '0.5', '--max-concurrency', '3'];
    const result = await measure(...small, ...traffic);
    expect(result).toMatchObject({ request_rate: 200, burstiness: 0.5, max_concurrency: 3 });
    expect(result).toHaveProperty('p99_e2el_including_client_queue_ms');
  });

  test('without usage have their chunks counted, and that is said', async () => {
    stub.sendsUsage = false;
    const { stdout } = await run('bench-serve', url, ...small);
    expect(stdout).toContain('120 tokens in, 30 out');
    expect(stdout).toContain('6 of 6 answers had no usage: their chunks were counted');
  });
});

describe('failures', () => {
  const busy = (response: ServerResponse) => {
    const error = { message: 'Try\nlater', type: 'rate_limit', code: 'queue_full', param: null };
    response.writeHead(429).end(JSON.stringify({ error }));
    return true;
  };

  test('are counted by kind and leave the others measured', async () => {
    stub.answer = (response, index) => {
      const chunk = event({ choices: [{ text: 'a', finish_reason: null }] });
      switch (index) {
        case 1:
        case 2:
          return busy(response);
        case 3:
          response.end(chunk);
          return true;
        case 4:
          response.write(chunk, () => response.destroy());
          return true;
        case 5:
          response.end(chunk + event({ error: { message: 'lost', code: 'server_error' } }));
          return true;
        case 6:
          response.end(JSON.stringify({ object: 'text_completion', choices: [] }));
          return true;
        default:
          return false;
      }
    };
    const result = await measure(...small, '--num-prompts', '10', '--max-concurrency', '1');
    expect(result).toMatchObject({ completed: 4, failed: 6, total_output_tokens: 20 });
    expect(result.error_kinds).toEqual([
      { kind: 'HTTP 429 queue_full', count: 2, message: 'Try later' },
      expect.objectContaining({ kind: 'a stream cut short', count: 1 }),
      expect.objectContaining({ kind: 'ECONNRESET', count: 1 }),
      { kind: 'an error within the stream server_error', count: 1, message: 'lost' },
      expect.objectContaining({ kind: 'no chunk with choices', count: 1 }),
    ]);
  });

  test('of all requests are shown, and exit with 1', async () => {
    stub.answer = busy;
    const { status, stdout } = await run('bench-serve', url, ...small, '--warmup', '0');
    expect(stdout).toContain('0 of 6 requests completed');
    expect(stdout).toContain('6 failed: HTTP 429 queue_full: Try later\n');
    expect(status).toBe(1);
  });

  test('a connection that was closed while idle is opened again', async () => {
    stub.answer = (response, index) => {
      // What a server does whose keep-alive ends just when the next request comes.
      if (index === 2 && stub.generations.length === 3) response.socket!.resetAndDestroy();
      return index === 2;
    };
    const result = await measure(...small, '--max-concurrency', '1');
    expect(result).toMatchObject({ completed: 6, failed: 0 });
  });

  test('to reach the server say so', async () => {
    await stub.close();
    const { status, stderr } = await run('bench-serve', url, ...small);
    expect(stderr).toBe(
      `tramontane: ${url} cannot be reached (ECONNREFUSED): is the server running?\n`,
    );
    expect(status).toBe(1);
    url = await (stub = new Stub()).listen();
  });
});

describe('output', () => {
  test('has requests a second beside tokens a second, and each latency', async () => {
    const goodput = ['--goodput', 'ttft:60000', 'tpot:60000'];
    const { stdout, stderr } = await run('bench-serve', url, ...small, ...goodput);
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      new RegExp(
        'served, openai\n6 of 6 requests completed in .* s: 120 tokens in, 30 out\n\n' +
          ' *requests/s +goodput/s +output tokens/s +total tokens/s\n *[\\d. ]+\n\n' +
          'ms +mean +median +p99 +std\n' +
          ['TTFT', 'TPOT', 'ITL', 'E2EL'].map((name) => `${name}( +[\\d.e-]+){4}\n`).join('') +
          '$',
      ),
    );
  });

  test('of several concurrencies is a row each, a list, and a plot', async () => {
    const file = join(folder, 'load.svg');
    const several = [...small, '--concurrencies', '1,3', '--plot', file];
    stub.chunkDelay = 2;
    const table = await run('bench-serve', url, ...several);
    expect(table.stdout).toMatch(/^served.*\nconcurrency +requests\/s .*\n +1 .*\n +3 .*\n$/);
    expect(stub.mostRunning).toBe(3);
    expect(new Set(stub.prompts()).size).toBe(13);
    const svg = readFileSync(file, 'utf8');
    expect(svg).toMatch(/^<svg .*<\/svg>\n$/s);
    expect(svg.match(/<circle class="median point"[^>]*><title>/g)).toHaveLength(4);
    const { stdout } = await run('bench-serve', url, ...several, '--json');
    const results = JSON.parse(stdout) as Result[];
    expect(results.map((result) => result.max_concurrency)).toEqual([1, 3]);
  });

  test('of a plot has names escaped and no point for what failed', () => {
    const settings: Settings = {
      endpoint: 'chat',
      model: { id: '<script>&"', root: 'r' },
      numPrompts: 1,
      requestRate: Infinity,
      burstiness: 1,
      maxConcurrency: 1,
      goodput: undefined,
    };
    const none = { completed: [], failures: [], duration: 1, interrupted: false };
    const svg = plot([resultOf(none, settings)]);
    expect(svg).toContain('&#60;script&#62;&#38;&#34;, openai-chat');
    expect(svg).not.toMatch(/NaN|Infinity|undefined|<script/);
  });

  test('comes at Ctrl-C with what was measured so far, and exit code 130', async () => {
    stub.answer = (response, index) => {
      if (index < 3) return false;
      response.write(event({ choices: [{ text: 'a', finish_reason: null }] }));
      return true;
    };
    const sizes = [...small, '--max-concurrency', '2', '--warmup', '0', '--json'];
    const child = start('bench-serve', url, ...sizes);
    const ended = outcome(child);
    while (stub.generations.length < 5) await wait(10);
    child.kill('SIGINT');
    const { status, stdout, stderr } = await ended;
    expect({ status, stderr }).toEqual({ status: 130, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ completed: 3, failed: 0, interrupted: true });
    while (stub.running > 0) await wait(10); // The requests in flight were given up.
  });

  test('is none at Ctrl-C before anything was measured', async () => {
    stub.answer = () => true;
    const child = start('bench-serve', url, ...small);
    const ended = outcome(child);
    while (stub.generations.length < 1) await wait(10);
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ status: 130, stdout: '', stderr: '' });
  });
});

describe('wrong usage', () => {
  test.each([
    [['not-a-url'], /It must be a URL/],
    [['http://user:secret@localhost'], /TRAMONTANE_API_KEY/],
    [['http://h', '--request-rate', '0'], /more than 0, or inf/],
    [['http://h', '--num-prompts', '0'], /at least 1/],
    [['http://h', '--warmup', '-1'], /at least 0/],
    [['http://h', '--concurrencies', '1,x'], /must be a number/],
    [['http://h', '--concurrencies', '1', '--max-concurrency', '2'], /exclude each other/],
    [['http://h', '--plot', 'a.svg'], /--plot needs --concurrencies/],
    [['--goodput', 'ttft:5', 'http://h'], /the URL comes before/],
    [['http://h', '--endpoint', 'images'], /completions, chat/],
  ])('%j is one line and exit code 2', async (args, message) => {
    const { status, stderr, stdout } = await run('bench-serve', ...args);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });

  test('a plot that cannot be written is refused before anything is measured', async () => {
    const plotFile = join(folder, 'none', 'a.svg');
    const args = [...small, '--concurrencies', '1', '--plot', plotFile];
    const { status, stderr } = await run('bench-serve', url, ...args);
    expect(stderr).toContain(plotFile);
    expect(status).toBe(1);
    expect(stub.received).toEqual([]);
  });
});

test('measures our own server, whose counts of tokens are those asked for', async () => {
  const model = await Model.load(EMBEDDED_MODEL);
  const server = createApiServer(model, { ui: false });
  try {
    url = await server.listen({ host: '127.0.0.1', port: 0 });
    const args = [...small, '--ignore-eos', '--max-concurrency', '3'];
    const all = { completed: 6, failed: 0, total_output_tokens: 30, without_usage: 0 };
    expect(await measure(...args)).toMatchObject({ ...all, total_input_tokens: 120 });
    expect(await measure(...args, '--endpoint', 'chat')).toMatchObject(all);
  } finally {
    await server.drain(5);
    await model.dispose();
  }
});
