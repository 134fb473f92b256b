/** POST /v1/responses and /v1/embeddings. */
import { join } from 'node:path';
import { Model, type Message } from '../../lib';
import type { Server } from '../../lib/server';
import { createServer } from './checked-server';
import { typedEvents } from './sse';

const demo = join(__dirname, '../../models/breeze-Q4_0.gguf');

const weather = {
  type: 'function',
  name: 'weather',
  description: 'of a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 8 } },
    required: ['city'],
  },
  strict: true,
};
const now = { type: 'function', name: 'now', parameters: { type: 'object', properties: {} } };
const PERSON = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 8 }, age: { type: 'integer', maximum: 99 } },
  required: ['name', 'age'],
  additionalProperties: false,
};

interface Item {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly content: readonly { readonly text: string; readonly logprobs: readonly object[] }[];
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
}

interface Response {
  readonly status: string;
  readonly output: readonly Item[];
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
  readonly incomplete_details: unknown;
}

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly response: Response;
  readonly item: Item;
  readonly item_id: string;
  readonly output_index: number;
  readonly delta: string;
  readonly text: string;
  readonly arguments: string;
  readonly logprobs: readonly object[];
}

/** Ids and times differ from answer to answer. */
function plain(value: unknown): unknown {
  const changing = ['id', 'call_id', 'created_at', 'completed_at'];
  return JSON.parse(JSON.stringify(value), (key, inner: unknown) =>
    changing.includes(key) ? undefined : key === 'cached_tokens' ? 0 : inner,
  );
}

describe('/v1/responses', () => {
  let model: Model;
  let server: Server;
  let lenient: Server;

  beforeAll(async () => {
    model = await Model.load(demo);
    server = createServer({ breeze: model });
    lenient = createServer({ breeze: model }, { lenient: true });
  });
  afterAll(async () => {
    await server.close();
    await lenient.close();
    await model.dispose();
  });

  const post = (body: object, at: Server = server) =>
    at.inject({ method: 'POST', url: '/v1/responses', payload: body });
  const respond = async (body: object, at: Server = server): Promise<Response> => {
    const reply = await post(body, at);
    expect(reply.json()).not.toHaveProperty('error.message');
    expect(reply.statusCode).toBe(200);
    return reply.json<Response>();
  };
  const stream = async (body: object): Promise<Event[]> => {
    const reply = await post({ ...body, stream: true });
    expect(reply.statusCode).toBe(200);
    expect(reply.headers['content-type']).toMatch(/^text\/event-stream/);
    const events = typedEvents<Event>(reply.body);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, place) => place));
    return events;
  };
  const refusal = async (
    body: object,
  ): Promise<{ param: string; code: string; message: string }> => {
    const reply = await post(body);
    expect([reply.statusCode, reply.body]).toEqual([400, expect.any(String)]);
    return reply.json<{ error: { param: string; code: string; message: string } }>().error;
  };

  test('a text is answered as chat() answers it', async () => {
    const messages: Message[] = [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'A story' },
    ];
    const whole = await model.chat(messages, { seed: 3, temperature: 1, maxTokens: 24 }).result();
    const request = { instructions: 'Be short.', seed: 3, max_output_tokens: 24 };
    for (const input of [
      'A story',
      [{ role: 'user', content: 'A story' }],
      [
        {
          type: 'message',
          role: 'user',
          content: [{ type: 'input_text', text: 'A story' }],
        },
      ],
    ]) {
      const {
        output,
        usage,
        status,
        incomplete_details: why,
      } = await respond({ ...request, input });
      expect(output).toHaveLength(1);
      expect(output[0]!.content[0]!.text).toBe(whole.text);
      expect(usage.input_tokens).toBe(whole.usage.promptTokens);
      expect(usage.output_tokens).toBe(24);
      expect([status, output[0]!.status]).toEqual(['incomplete', 'incomplete']);
      expect(why).toEqual({ reason: 'max_output_tokens' });
    }
  });

  test('a request is repeated in its response', async () => {
    const request = {
      model: 'breeze',
      instructions: 'Be short.',
      metadata: { a: 'b' },
      temperature: 0.5,
      top_p: 0.9,
      max_output_tokens: 8,
      tools: [weather, now],
      tool_choice: 'none',
      parallel_tool_calls: false,
      user: 'somebody',
      text: { format: { type: 'text' }, verbosity: 'low' },
    };
    expect(await respond({ ...request, input: 'Hello' })).toMatchObject({
      ...request,
      text: { format: { type: 'text' } },
      tools: [weather, { ...now, description: null, strict: true }],
      store: false,
      previous_response_id: null,
      truncation: 'disabled',
    });
  });

  test('events of a text, in order', async () => {
    const request = { input: 'Once', seed: 1, max_output_tokens: 12 };
    const events = await stream(request);
    const types = events.map(({ type }) => type);
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
    expect(deltas.length).toBeGreaterThan(3);
    expect(types).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      ...deltas.map(({ type }) => type),
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.incomplete',
    ]);
    const { response } = events.at(-1)!;
    const [item] = response.output;
    const text = deltas.map(({ delta }) => delta).join('');
    expect(item!.content[0]!.text).toBe(text);
    expect(events.find(({ type }) => type === 'response.output_text.done')!.text).toBe(text);
    for (const { item_id: id, output_index: index } of deltas) {
      expect([id, index]).toEqual([item!.id, 0]);
    }
    expect(events[0]!.response.status).toBe('in_progress');
    expect(plain(response)).toEqual(plain(await respond(request)));
  });

  test('calls are items, whose deltas add up', async () => {
    let calls = 0;
    for (let seed = 0; seed < 6; seed++) {
      const request = {
        input: 'Hello',
        tools: [weather, now],
        tool_choice: 'required',
        seed,
        max_output_tokens: 150,
      };
      const events = await stream(request);
      const { response } = events.at(-1)!;
      expect(response.output.length).toBeGreaterThan(0);
      for (const [index, item] of response.output.entries()) {
        expect(item.type).toBe('function_call');
        expect(item.call_id).toMatch(/^[A-Za-z0-9]{9}$/);
        const own = events.filter((event) => event.output_index === index);
        const deltas = own.filter(({ type }) => type === 'response.function_call_arguments.delta');
        expect(own.map(({ type }) => type)).toEqual([
          'response.output_item.added',
          ...deltas.map(({ type }) => type),
          'response.function_call_arguments.done',
          'response.output_item.done',
        ]);
        expect(own[0]!.item).toMatchObject({ arguments: '', status: 'in_progress' });
        expect(own.at(-1)!.item).toEqual(item);
        expect(own.at(-2)!.arguments).toBe(item.arguments);
        expect(deltas.map(({ delta }) => delta).join('')).toBe(item.arguments);
        if (item.status !== 'completed') continue;
        calls++;
        const values = JSON.parse(item.arguments) as object;
        if (item.name === 'weather') expect(values).toHaveProperty('city');
      }
      const cut = response.output.filter(({ status }) => status !== 'completed');
      if (response.status === 'completed') expect(cut).toEqual([]);
      expect(plain(response)).toEqual(plain(await respond(request)));
    }
    expect(calls).toBeGreaterThan(3);
  });

  test('one call, or that of one tool', async () => {
    const request = { input: 'Hello', tools: [weather, now], seed: 1, max_output_tokens: 150 };
    const one = await respond({
      ...request,
      tool_choice: { type: 'function', name: 'weather' },
      parallel_tool_calls: false,
    });
    expect(one.status).toBe('completed');
    expect(one.output.map(({ name }) => name)).toEqual(['weather']);
    const allowed = await respond({
      ...request,
      parallel_tool_calls: false,
      tool_choice: {
        type: 'allowed_tools',
        mode: 'required',
        tools: [{ type: 'function', name: 'now' }],
      },
    });
    expect(allowed.output.map(({ name }) => name)).toEqual(['now']);
  });

  test('a conversation goes on with what was called, and with ids of other servers', async () => {
    const request = { tools: [weather], parallel_tool_calls: false, seed: 2 };
    const first = await respond({ ...request, input: 'Hello', tool_choice: 'required' });
    const call = first.output[0]!;
    const conversation = (id: string, more: object = {}) => [
      { role: 'user', content: 'Hello' },
      { ...call, ...more, call_id: id },
      { type: 'function_call_output', call_id: id, output: 'sunny' },
    ];
    const own = await respond({
      ...request,
      input: conversation(call.call_id),
      max_output_tokens: 6,
    });
    const messages: Message[] = [
      { role: 'user', content: 'Hello' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: call.call_id, function: { name: call.name, arguments: call.arguments } },
        ],
      },
      { role: 'tool', tool_call_id: call.call_id, content: 'sunny' },
    ];
    const tools = [{ function: { ...weather } }];
    expect(own.usage.input_tokens).toBe(model.chatTokens(messages, { tools }).length);
    const foreign = conversation('call_0123456789abcdefghijklmn', { id: 'fc_1' });
    const other = await respond({ ...request, input: foreign, max_output_tokens: 6 });
    expect(other.output[0]!.type).toBe('message');
  });

  test('calls that follow each other are one message', async () => {
    const call = (id: string) => ({
      type: 'function_call',
      call_id: id,
      name: 'now',
      arguments: '{}',
    });
    const result = (id: string) => ({ type: 'function_call_output', call_id: id, output: [] });
    const input = [
      { role: 'user', content: 'Hello' },
      call('aaaaaaaa1'),
      call('aaaaaaaa2'),
      result('aaaaaaaa1'),
      result('aaaaaaaa2'),
    ];
    await respond({ input, tools: [now], max_output_tokens: 2 });
  });

  test('JSON by a schema, or any', async () => {
    const format = { type: 'json_schema', name: 'person', schema: PERSON, strict: true };
    const { output } = await respond({ input: 'Who?', text: { format }, seed: 4 });
    const value = JSON.parse(output[0]!.content[0]!.text) as object;
    expect(Object.keys(value)).toEqual(['name', 'age']);
    const any = await respond({
      input: 'Who?',
      text: { format: { type: 'json_object' } },
      seed: 1,
      max_output_tokens: 600,
    });
    expect(any.output[0]!.content[0]!.text.trimStart()).toMatch(/^\{/);
  });

  test('log-probabilities, of each token once', async () => {
    const request = {
      input: 'Once',
      seed: 1,
      max_output_tokens: 10,
      include: ['message.output_text.logprobs'],
      top_logprobs: 2,
    };
    const { output, usage } = await respond(request);
    const { logprobs } = output[0]!.content[0]!;
    expect(logprobs).toHaveLength(usage.output_tokens);
    expect(logprobs[0]).toHaveProperty('top_logprobs.1.bytes');
    const events = await stream(request);
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
    expect(deltas.flatMap((event) => event.logprobs)).toEqual(logprobs);
  });

  test.each<[object, string, string]>([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id', 'unsupported_parameter'],
    [{ conversation: 'conv_1' }, 'conversation', 'unsupported_parameter'],
    [{ background: true }, 'background', 'unsupported_parameter'],
    [{ store: true }, 'store', 'unsupported_parameter'],
    [{ truncation: 'auto' }, 'truncation', 'unsupported_parameter'],
    [{ reasoning: { effort: 'high' } }, 'reasoning', 'unsupported_parameter'],
    [{ messages: [] }, 'messages', 'unknown_parameter'],
    [{ input: undefined }, 'input', 'missing_required_parameter'],
    [{ input: [] }, 'input', 'invalid_value'],
    [{ input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type', 'unsupported_value'],
    [{ input: [{ role: 'tool', content: 'x' }] }, 'input[0].role', 'invalid_value'],
    [{ input: [{ role: 'user' }] }, 'input[0].content', 'invalid_value'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] },
      'input[0].content[0].type',
      'unsupported_value',
    ],
    [
      { input: [{ type: 'function_call', call_id: 'x', name: 'f' }] },
      'input[0].arguments',
      'invalid_value',
    ],
    [{ input: [{ role: 'assistant', content: 'x' }] }, 'input', 'invalid_messages'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', 'unsupported_value'],
    [{ tools: [{ type: 'function' }] }, 'tools[0].name', 'invalid_value'],
    [{ tool_choice: 'required' }, 'tool_choice', 'invalid_value'],
    [{ tool_choice: { type: 'mcp' } }, 'tool_choice.type', 'unsupported_value'],
    [
      { tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ name: 'x' }] } },
      'tool_choice.tools[0].name',
      'invalid_value',
    ],
    [{ text: { format: { type: 'xml' } } }, 'text.format.type', 'invalid_value'],
    [
      { text: { format: { type: 'json_schema', name: 'x' } } },
      'text.format.schema',
      'missing_required_parameter',
    ],
    [
      { text: { format: { type: 'json_schema', name: 'x', schema: { type: 'thing' } } } },
      'text.format',
      'invalid_grammar',
    ],
    [{ top_logprobs: 3 }, 'top_logprobs', 'invalid_value'],
    [{ max_output_tokens: 0 }, 'max_output_tokens', 'invalid_value'],
    [{ input: 'word '.repeat(6000) }, 'input', 'context_length_exceeded'],
  ])('%j is refused', async (fields, param, code) => {
    expect(await refusal({ input: 'Hello', ...fields })).toMatchObject({ param, code });
    expect(await refusal({ input: 'Hello', ...fields, stream: true })).toMatchObject({
      param,
      code,
    });
  });

  test('lenient: what is not supported is passed over', async () => {
    const { output } = await respond(
      {
        input: [
          { role: 'user', content: 'Hello' },
          { type: 'reasoning', id: 'rs_1', summary: [] },
        ],
        tools: [{ type: 'web_search' }],
        store: true,
        reasoning: { effort: 'high' },
        a_field_of_somebody: 1,
        max_output_tokens: 4,
      },
      lenient,
    );
    expect(output[0]!.type).toBe('message');
  });

  test('a response that fails after its beginning says so as an event', async () => {
    const hurried = createServer({ breeze: model }, { requestTimeout: 0.05, pingInterval: 0.01 });
    const payload = { input: 'Once', stream: true, ignore_eos: true };
    const reply = await post(payload, hurried);
    const events = typedEvents<Event>(reply.body);
    expect(events[0]!.type).toBe('response.created');
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'server_error' } },
    });
    await hurried.close();
  });
});

test('/v1/embeddings says why there are none', async () => {
  const model = await Model.load(demo);
  const lines: string[] = [];
  const stream = { write: (line: string) => lines.push(line) };
  const server = createServer({ breeze: model }, { logger: { stream } });
  const payload = { model: 'breeze', input: 'Hello' };
  const reply = await server.inject({ method: 'POST', url: '/v1/embeddings', payload });
  expect(reply.statusCode).toBe(501);
  expect(reply.headers['x-should-retry']).toBe('false');
  expect(reply.json()).toMatchObject({
    error: { code: 'not_implemented', message: expect.stringContaining('hidden states') },
  });
  // It is no failure of the server's.
  expect(lines.filter((line) => /"level":[56]0/.test(line))).toEqual([]);
  await server.close();
  await model.dispose();
});
