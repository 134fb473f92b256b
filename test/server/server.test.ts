// Answers are JSON of any form, which is what is tested.
/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-argument,
   @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return,
   @typescript-eslint/restrict-plus-operands */
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { once } from 'node:events';
import type { Model } from '../../lib/index';
import type { Server, ServerOptions } from '../../lib/server';
import { Breeze, createServer } from './checked-server';
import { sentEvents } from './sse';

const KEYS = ['alice:sk-alice-12345', 'bob:sk-bob-1234567'];
const WITH_KEY = { authorization: 'Bearer sk-alice-12345' };

const breeze = new Breeze({ maxRunning: 8 });
let model: Model;
beforeAll(() => {
  ({ model } = breeze);
});
const serve = (options: ServerOptions = {}): Server => breeze.serve(options);

interface Answer {
  readonly status: number;
  readonly json: any;
  readonly text: string;
  readonly headers: Record<string, unknown>;
}

async function post(server: Server, url: string, body: unknown, headers = {}): Promise<Answer> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await server.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload,
  });
  const { body: text, statusCode: status } = answer;
  return {
    status,
    text,
    headers: answer.headers,
    json: text.startsWith('{') ? JSON.parse(text) : undefined,
  };
}

/** The data of the events of a stream. */
function eventsOf(text: string): any[] {
  return sentEvents(text)
    .filter(({ data }) => data !== '[DONE]')
    .map(({ data }) => JSON.parse(data) as unknown);
}

describe('completions', () => {
  test('are what generate() gives for the same seed, streamed or not', async () => {
    const server = serve();
    const body = { model: 'breeze', prompt: 'Once upon a time', max_tokens: 24, seed: 7 };
    const expected = await model
      .generate('Once upon a time', { maxTokens: 24, seed: 7, temperature: 1 })
      .text();
    const { json } = await post(server, '/v1/completions', body);
    expect(json.choices).toEqual([
      { text: expected, index: 0, logprobs: null, finish_reason: 'length' },
    ]);
    expect(json.usage).toMatchObject({
      completion_tokens: 24,
      total_tokens: json.usage.prompt_tokens + 24,
    });
    const { text, headers } = await post(server, '/v1/completions', { ...body, stream: true });
    expect(headers).toMatchObject({
      'content-type': expect.stringContaining('text/event-stream'),
      'x-accel-buffering': 'no',
    });
    const events = eventsOf(text);
    expect(events.map((event) => event.choices[0].text).join('')).toBe(expected);
    expect(events.at(-1).choices[0].finish_reason).toBe('length');
    expect(events.every((event) => !('usage' in event))).toBe(true);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  test('among 64 clients are the same to the bit', async () => {
    const server = serve();
    await server.listen({ port: 0 });
    const { port } = server.server.address() as { port: number };
    const served = await Promise.all(
      Array.from({ length: 64 }, async (_, seed) => {
        const response = await fetch(`http://127.0.0.1:${port}/v1/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ prompt: 'The dog', max_tokens: 16, seed, stream: seed % 2 === 1 }),
        });
        const text = await response.text();
        return text.startsWith('{')
          ? (JSON.parse(text) as { choices: { text: string }[] }).choices[0]!.text
          : eventsOf(text)
              .map((event) => event.choices[0].text as string)
              .join('');
      }),
    );
    for (let seed = 0; seed < 64; ++seed) {
      const alone = await model.generate('The dog', { maxTokens: 16, seed, temperature: 1 }).text();
      expect(served[seed]).toBe(alone);
    }
  });

  test('of several prompts, n each, with log-probabilities and usage', async () => {
    const server = serve();
    const body = { prompt: ['One day', 'A cat'], n: 2, max_tokens: 3, seed: 1, logprobs: 2 };
    const { json } = await post(server, '/v1/completions', body);
    expect(json.choices.map((choice: { index: number }) => choice.index)).toEqual([0, 1, 2, 3]);
    for (const { logprobs, text } of json.choices) {
      expect(logprobs.tokens).toHaveLength(3);
      expect(logprobs.token_logprobs.every((value: number) => value <= 0)).toBe(true);
      expect(Object.keys(logprobs.top_logprobs[0])).toHaveLength(2);
      expect(logprobs.text_offset[0]).toBe(0);
      expect(logprobs.tokens.join('').trim()).toBe(text.trim());
    }
    expect(json.usage.completion_tokens).toBe(12);
    const counts = ['One day', 'A cat'].map(
      (text) => model.tokenizer.encode(text, { bos: true }).length,
    );
    expect(json.usage.prompt_tokens).toBe(counts[0]! + counts[1]!);
    const streamed = await post(server, '/v1/completions', {
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const events = eventsOf(streamed.text);
    for (const index of [0, 1, 2, 3]) {
      const own = events
        .flatMap((event) => event.choices)
        .filter((choice) => choice.index === index);
      expect(own.map((choice) => choice.text).join('')).toBe(json.choices[index].text);
    }
    expect(events.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 12 } });
    expect(events.slice(0, -1).every((event) => event.usage === null)).toBe(true);
  });

  test('with echo begin with the prompt; max_tokens is 16 where it is left out', async () => {
    const { json } = await post(serve(), '/v1/completions', {
      prompt: 'One day',
      echo: true,
      seed: 1,
      ignore_eos: true,
    });
    expect(json.choices[0].text).toMatch(/^One day/);
    expect(json.usage.completion_tokens).toBe(16);
  });

  test("the server's cap on tokens holds, named or not", async () => {
    const server = serve({ maxTokensCap: 5 });
    for (const asked of [{}, { max_tokens: 100 }]) {
      const { json } = await post(server, '/v1/chat/completions', {
        messages: [{ role: 'user', content: 'Hi' }],
        ignore_eos: true,
        ...asked,
      });
      expect(json.usage.completion_tokens).toBe(5);
    }
  });
});

describe('errors', () => {
  test.each([
    ['no JSON', '{', { status: 400, param: null, code: 'ctp_invalid_json_body' }],
    ['no prompt', {}, { status: 400, param: 'prompt', code: 'missing_required_parameter' }],
    ['an empty prompt', { prompt: '' }, { status: 400, param: 'prompt', code: 'invalid_prompt' }],
    [
      'an unknown field',
      { prompt: 'a', max_tokns: 1 },
      { status: 400, param: 'max_tokns', code: 'unknown_parameter' },
    ],
    [
      'a refused field',
      { prompt: 'a', best_of: 2 },
      { status: 400, param: 'best_of', code: 'unsupported_parameter' },
    ],
    [
      'a wrong type',
      { prompt: 'a', max_tokens: '5' },
      { status: 400, param: 'max_tokens', code: 'invalid_value' },
    ],
    [
      'out of range',
      { prompt: 'a', temperature: 3 },
      { status: 400, param: 'temperature', code: 'invalid_value' },
    ],
    [
      'a token that does not exist',
      { prompt: [1, 2_000_000] },
      { status: 400, param: 'prompt', code: 'invalid_prompt' },
    ],
    [
      'too long',
      { prompt: 'x'.repeat(100_000) },
      { status: 400, param: 'prompt', code: 'context_length_exceeded' },
    ],
    [
      'an unknown model',
      { prompt: 'a', model: 'gpt-4' },
      { status: 404, param: 'model', code: 'model_not_found' },
    ],
    ['a bad grammar', { prompt: 'a', guided_regex: '(' }, { status: 400, code: 'invalid_grammar' }],
    ['prototypes', '{"prompt": "a", "__proto__": {"x": 1}}', { status: 400 }],
    [
      "another model's token in logit_bias",
      { prompt: 'a', logit_bias: { 2000000: 1 } },
      { status: 400, param: 'logit_bias', code: 'invalid_value' },
    ],
  ])(
    '%s',
    async (
      _,
      body,
      { status, ...error }: { status: number; param?: string | null; code?: string },
    ) => {
      for (const stream of [false, true]) {
        const sent = typeof body === 'string' ? body : { ...body, stream };
        const answer = await post(serve(), '/v1/completions', sent);
        expect(answer.status).toBe(status);
        expect(answer.json.error).toMatchObject(error);
        expect(Object.keys(answer.json.error).sort()).toEqual(['code', 'message', 'param', 'type']);
      }
    },
  );

  test('a lenient server passes over what it does not know', async () => {
    const server = serve({ lenient: true });
    const body = { prompt: 'a', max_tokens: 1, max_tokns: 1, best_of: 2, user: null };
    expect((await post(server, '/v1/completions', body)).status).toBe(200);
  });

  test('an over-long conversation names both numbers', async () => {
    const { status, json } = await post(serve(), '/v1/chat/completions', {
      messages: [{ role: 'user', content: 'x '.repeat(9000) }],
    });
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ param: 'messages', code: 'context_length_exceeded' });
    expect(json.error.message).toMatch(/\d+ tokens.*4096/);
  });

  test('a body that is too large, of another type, and a route that is not there', async () => {
    const server = serve({ bodyLimit: 2048 });
    expect((await post(server, '/v1/completions', { prompt: 'x'.repeat(4000) })).status).toBe(413);
    expect(
      (await post(server, '/v1/completions', 'a=b', { 'content-type': 'text/plain' })).status,
    ).toBe(415);
    expect((await post(server, '/v1/nothing', {})).json.error.code).toBe('not_found');
  });

  test('a request that takes too long is ended', async () => {
    const { status, json } = await post(serve({ requestTimeout: 0.05 }), '/v1/completions', {
      prompt: 'a',
      max_tokens: 4000,
      ignore_eos: true,
    });
    expect([status, json.error.code]).toEqual([408, 'request_timeout']);
  });
});

describe('chat', () => {
  const messages = [{ role: 'user', content: 'Tell me a story.' }];

  test('is what chat() gives, streamed or not', async () => {
    const server = serve();
    const expected = await model
      .chat([{ role: 'user', content: 'Tell me a story.' }], {
        seed: 3,
        maxTokens: 12,
        temperature: 1,
      })
      .text();
    const { json } = await post(server, '/v1/chat/completions', {
      messages,
      seed: 3,
      max_tokens: 12,
    });
    expect(json.choices[0]).toMatchObject({
      message: { role: 'assistant', content: expected, refusal: null },
      finish_reason: 'length',
    });
    const { text } = await post(server, '/v1/chat/completions', {
      messages,
      seed: 3,
      max_completion_tokens: 12,
      stream: true,
    });
    const events = eventsOf(text);
    expect(events[0].choices[0].delta).toEqual({ role: 'assistant', content: '', refusal: null });
    expect(events.map((event) => event.choices[0].delta.content ?? '').join('')).toBe(expected);
    expect(events.at(-1).choices[0]).toMatchObject({ delta: {}, finish_reason: 'length' });
  });

  const tools = [
    {
      type: 'function',
      function: {
        name: 'weather',
        parameters: {
          type: 'object',
          properties: { hot: { type: 'boolean' } },
          required: ['hot'],
          additionalProperties: false,
        },
      },
    },
  ];

  test.each([
    ['required', 'tool_calls'],
    ['any', 'tool_calls'],
    [{ type: 'function', function: { name: 'weather' } }, 'stop'],
  ])('calls tools with tool_choice %j', async (choice, reason) => {
    const server = serve();
    const body = { messages, tools, tool_choice: choice, parallel_tool_calls: false, seed: 1 };
    const { json } = await post(server, '/v1/chat/completions', body);
    const [{ message, finish_reason: reached }] = json.choices;
    expect(reached).toBe(reason);
    expect(message.content).toBeNull();
    expect(message.tool_calls).toHaveLength(1);
    expect(JSON.parse(message.tool_calls[0].function.arguments)).toEqual({
      hot: expect.any(Boolean),
    });
    const { text } = await post(server, '/v1/chat/completions', { ...body, stream: true });
    const deltas = eventsOf(text).flatMap((event) => event.choices[0].delta.tool_calls ?? []);
    expect(deltas[0]).toEqual({
      index: 0,
      id: expect.stringMatching(/^\w{9}$/),
      type: 'function',
      function: { name: 'weather', arguments: '' },
    });
    expect(
      deltas.slice(1).every((delta) => delta.id === undefined && delta.function.name === undefined),
    ).toBe(true);
    expect(deltas.map((delta) => delta.function.arguments).join('')).toBe(
      message.tool_calls[0].function.arguments,
    );
    expect(eventsOf(text).at(-1).choices[0].finish_reason).toBe(reason);
    // The conversation goes on with the call and its result.
    const next = [
      ...messages,
      message,
      { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '30 degrees' },
    ];
    expect(
      (await post(server, '/v1/chat/completions', { messages: next, tools, max_tokens: 2 })).status,
    ).toBe(200);
  });

  test('a call that is cut off ends with length, and is there as far as it went', async () => {
    const server = serve();
    const known = [{ ...tools[0]!, function: { ...tools[0]!.function, name: 'w' } }];
    let cut = 0;
    for (const most of [3, 12, 16, 20]) {
      const body = { messages, tools: known, tool_choice: 'required', max_tokens: most, seed: 1 };
      const { json } = await post(server, '/v1/chat/completions', body);
      const [{ message, finish_reason: reached }] = json.choices;
      expect(reached).toBe('length');
      const { text } = await post(server, '/v1/chat/completions', { ...body, stream: true });
      const deltas = eventsOf(text).flatMap((event) => event.choices[0].delta.tool_calls ?? []);
      const calls = message.tool_calls ?? [];
      expect(calls.map((call: any) => call.function.arguments).join('')).toBe(
        deltas.map((delta) => delta.function.arguments).join(''),
      );
      expect(calls.map((call: any) => call.function.name)).toEqual(
        deltas.flatMap((delta) => delta.function.name ?? []),
      );
      if (calls.length === 0) continue;
      cut += 1;
      expect(message.content).toBeNull();
      expect(calls[0]).toMatchObject({ id: expect.stringMatching(/^\w{9}$/), type: 'function' });
    }
    expect(cut).toBeGreaterThan(0);
  });

  test('holds its answer to a schema', async () => {
    const schema = {
      type: 'object',
      properties: { mood: { enum: ['good', 'bad'] } },
      required: ['mood'],
      additionalProperties: false,
    };
    const server = serve();
    const format = { type: 'json_schema', json_schema: { name: 'mood', schema, strict: true } };
    const { json } = await post(server, '/v1/chat/completions', {
      messages,
      response_format: format,
    });
    expect(JSON.parse(json.choices[0].message.content)).toEqual({
      mood: expect.stringMatching(/^(good|bad)$/),
    });
    const any = await post(server, '/v1/chat/completions', {
      messages,
      response_format: { type: 'json_object' },
      max_tokens: 400,
      seed: 2,
    });
    if (any.json.choices[0].finish_reason === 'stop')
      JSON.parse(any.json.choices[0].message.content);
    expect(
      (
        await post(server, '/v1/chat/completions', {
          messages,
          response_format: { type: 'json_schema' },
        })
      ).json.error.param,
    ).toBe('response_format.json_schema');
  });

  test('gives log-probabilities with bytes', async () => {
    const { json } = await post(serve(), '/v1/chat/completions', {
      messages,
      logprobs: true,
      top_logprobs: 3,
      max_tokens: 4,
    });
    const { content } = json.choices[0].logprobs;
    expect(content).toHaveLength(4);
    for (const { token, bytes, top_logprobs: top } of content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top).toHaveLength(3);
    }
  });
});

describe('keys', () => {
  test('no route but /health and /ready answers without one', async () => {
    const server = serve({ apiKeys: KEYS });
    const routes: { method: string; url: string }[] = [];
    server.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) routes.push({ method: one, url });
    });
    await server.ready();
    expect(routes.length).toBeGreaterThan(15);
    for (const { method, url } of [...routes, { method: 'GET', url: '/none' }]) {
      for (const headers of [
        {},
        { authorization: 'Bearer sk-alice-12346' },
        { authorization: 'Basic sk-alice-12345' },
        { 'x-api-key': '' },
      ]) {
        const { statusCode } = await server.inject({
          method: method as 'GET',
          url: url.replace('*', 'breeze'),
          headers,
        });
        const isOpen = url === '/health' || url === '/ready';
        expect([method, url, statusCode]).toEqual([method, url, isOpen ? 200 : 401]);
      }
    }
  });

  test("lets keys in by either header, and tells them apart from each other's limits", async () => {
    const server = serve({ apiKeys: KEYS, tokensPerMinute: 10 });
    const body = { prompt: 'One day', max_tokens: 12, ignore_eos: true };
    expect((await post(server, '/v1/completions', body, WITH_KEY)).status).toBe(200);
    const second = await post(server, '/v1/completions', body, WITH_KEY);
    expect([second.status, second.json.error.code]).toEqual([429, 'key_tokens_per_minute']);
    expect(Number(second.headers['retry-after'])).toBeGreaterThan(0);
    expect(
      (await post(server, '/v1/completions', body, { 'x-api-key': 'sk-bob-1234567' })).status,
    ).toBe(200);
  });

  test('whose requests would be refused anyway are told before the body is read', async () => {
    const send = async (server: Server): Promise<number> => {
      const body = { model: 'breeze', prompt: 'One day', max_tokens: 12, ignore_eos: true };
      expect((await post(server, '/v1/completions', body, WITH_KEY)).status).toBe(200);
      const { statusCode } = await server.inject({
        method: 'POST',
        url: '/v1/completions',
        headers: { ...WITH_KEY, 'content-type': 'application/json' },
        payload: 'no JSON',
      });
      return statusCode;
    };
    const options = { apiKeys: KEYS, tokensPerMinute: 10 };
    expect(await send(serve(options))).toBe(429);
    // Which of two models it is for stands in the body.
    const two = createServer({ breeze: model, other: model }, options);
    expect(await send(two)).toBe(400);
    await two.close();
  });

  test('are nowhere to be seen', async () => {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const server = serve({ apiKeys: KEYS, logger: { level: 'trace', stream } });
    const secret = 'a secret prompt';
    const answers = [
      await post(server, '/v1/completions', { prompt: secret, max_tokens: 1 }, WITH_KEY),
      await post(server, '/v1/completions', { prompt: secret, nonsense: 1 }, WITH_KEY),
      await post(
        server,
        '/v1/completions',
        { prompt: secret },
        { authorization: 'Bearer sk-wrong-key-1' },
      ),
      await server
        .inject({ url: '/metrics', headers: WITH_KEY })
        .then(({ body }) => ({ text: body })),
    ];
    const seen = [...lines, ...answers.map(({ text }) => text)].join('\n');
    expect(lines.length).toBeGreaterThan(3);
    for (const hidden of [
      'sk-alice',
      'sk-bob',
      'sk-wrong',
      createHash('sha256').update('sk-alice-12345').digest('hex'),
      secret,
    ]) {
      expect(seen).not.toContain(hidden);
    }
    expect(lines.join('')).toContain('"key":"alice"');
  });

  test('prompts are logged where that was asked for', async () => {
    const lines: string[] = [];
    const server = serve({
      logPrompts: true,
      logger: { stream: { write: (line: string) => lines.push(line) } },
    });
    const { json } = await post(server, '/v1/completions', {
      prompt: 'to be logged',
      max_tokens: 5,
      seed: 1,
    });
    expect(lines.join('')).toContain('to be logged');
    expect(lines.map((line) => (JSON.parse(line) as { answer?: string }).answer)).toContain(
      json.choices[0].text,
    );
  });

  test.each([['short'], ['with space in it'], ['schlüssel-lang']])('%j is none', (key) => {
    expect(() => createServer(model, { apiKeys: [key] })).toThrow(/API key 1 must have/);
  });
});

describe('hosts and origins', () => {
  const ask = (server: Server, headers: Record<string, string>) =>
    server.inject({ url: '/v1/models', headers });

  test('a name of elsewhere that leads here is refused on loopback', async () => {
    const server = serve();
    await server.listen({ port: 0, host: '127.0.0.1' });
    const { port } = server.server.address() as { port: number };
    const statusFor = async (host: string) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(`GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      const [data] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return Number(/^HTTP\/1.1 (\d+)/.exec(data.toString())![1]);
    };
    expect(await statusFor(`localhost:${port}`)).toBe(200);
    expect(await statusFor(`127.0.0.1:${port}`)).toBe(200);
    expect(await statusFor('attacker.example')).toBe(403);
    expect(await statusFor('127.0.0.1.attacker.example')).toBe(403);
  });

  test('only allowed hosts are answered', async () => {
    const server = serve({ allowedHosts: ['api.example'] });
    expect((await ask(server, { host: 'api.example:8000' })).statusCode).toBe(200);
    expect((await ask(server, { host: 'localhost' })).statusCode).toBe(403);
  });

  test('pages of other origins may not read, unless they are allowed, and never with credentials', async () => {
    const origin = 'https://app.example';
    expect((await ask(serve(), { origin })).headers['access-control-allow-origin']).toBeUndefined();
    const { headers } = await ask(serve({ allowedOrigins: [origin] }), { origin });
    expect(headers['access-control-allow-origin']).toBe(origin);
    expect(headers['access-control-allow-credentials']).toBeUndefined();
    const other = await ask(serve({ allowedOrigins: [origin] }), {
      origin: 'https://other.example',
    });
    expect(other.headers['access-control-allow-origin']).not.toBe('https://other.example');
  });
});

describe('clients that go, and servers that end', () => {
  const LONG = { prompt: 'One day', max_tokens: 4000, ignore_eos: true };

  /** Waits until something runs; what is ahead of its reader counts as waiting. */
  async function running(): Promise<void> {
    const end = Date.now() + 20_000;
    while (model.info.requests.running + model.info.requests.waiting === 0) {
      if (Date.now() > end) throw new Error('nothing runs');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Waits until nothing runs or waits any more. */
  async function idle(): Promise<void> {
    const end = Date.now() + 20_000;
    while (model.info.requests.running + model.info.requests.waiting > 0) {
      if (Date.now() > end) throw new Error('requests are still there');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async function listening(options: ServerOptions = {}): Promise<{ server: Server; url: string }> {
    const server = serve(options);
    return { server, url: await server.listen({ port: 0, host: '127.0.0.1' }) };
  }

  const send = (url: string, body: object, signal?: AbortSignal) =>
    fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    });

  test.each([[false], [true]])('a client that goes ends its work; streamed: %s', async (stream) => {
    const { url } = await listening();
    const controller = new AbortController();
    const answer = send(url, { ...LONG, stream }, controller.signal);
    answer.catch(() => undefined);
    await running();
    controller.abort();
    await idle();
  });

  test('a client that waits in the queue leaves it', async () => {
    const { url } = await listening({ maxConcurrent: 1 });
    const [first, second] = [new AbortController(), new AbortController()];
    const answers = [send(url, LONG, first.signal), send(url, LONG, second.signal)];
    for (const answer of answers) answer.catch(() => undefined);
    await running();
    second.abort();
    first.abort();
    await idle();
  });

  test('a client that does not read is given up, and holds nothing', async () => {
    const { url } = await listening({ slowReaderTimeout: 0.2 });
    const { port } = new URL(url);
    const socket = connect(Number(port), '127.0.0.1');
    const body = JSON.stringify({
      prompt: ['One day', 'A cat', 'The dog', 'Lily'],
      n: 4,
      max_tokens: 4000,
      ignore_eos: true,
      stream: true,
      logprobs: 5,
    });
    socket.pause();
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await running();
    await idle();
    socket.destroy();
  });

  test('drain() finishes what runs, refuses what comes, and closes', async () => {
    const { server, url } = await listening();
    const answered = send(url, { prompt: 'One day', max_tokens: 1000, ignore_eos: true });
    await running();
    const keptAlive = await fetch(`${url}/ready`);
    expect(keptAlive.status).toBe(200);
    const drained = server.drain(60);
    expect((await server.inject({ url: '/ready' })).statusCode).toBe(503);
    const refused = await server.inject({ url: '/v1/models' });
    expect([refused.statusCode, refused.headers['retry-after']]).toEqual([503, '5']);
    expect(refused.headers.connection).toBe('close');
    const answer = await answered;
    expect(
      ((await answer.json()) as { usage: { completion_tokens: number } }).usage.completion_tokens,
    ).toBe(1000);
    await drained;
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  test('drain() aborts what has not come to its end in time', async () => {
    const { server, url } = await listening();
    const answered = send(url, LONG);
    await running();
    const drained = server.drain(0.05);
    const answer = await answered;
    expect(answer.status).toBe(503);
    await drained;
    await idle();
  });

  test('comments keep a connection alive while a long prompt is computed', async () => {
    const { url } = await listening({ maxConcurrent: 1, pingInterval: 0.02 });
    const first = new AbortController();
    send(url, LONG, first.signal).catch(() => undefined);
    await running();
    const waiting = await send(url, { prompt: 'A cat', max_tokens: 1, stream: true });
    expect(waiting.status).toBe(200);
    const reader = waiting.body!.getReader();
    const { value } = await reader.read();
    expect(Buffer.from(value).toString()).toMatch(/^: ping\n\n/);
    first.abort();
    let text = '';
    for (let part = await reader.read(); !part.done; part = await reader.read())
      text += Buffer.from(part.value).toString();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });
});
