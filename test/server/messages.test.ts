/* eslint-disable @typescript-eslint/no-explicit-any,
   @typescript-eslint/no-unsafe-return */
import { join } from 'node:path';
import { Model } from '../../lib';
import type { Server } from '../../lib/server';
import { createServer } from './checked-server';
import { typedEvents } from './sse';

let model: Model;
let server: Server;
beforeAll(async () => {
  model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
  server = createServer({ breeze: model }, { apiKeys: ['sk-messages-1'] });
});
afterAll(async () => {
  await server.close();
  await model.dispose();
});

const HELLO = [{ role: 'user', content: 'Tell me a story.' }];
const TOOLS = [
  {
    name: 'weather',
    input_schema: {
      type: 'object',
      properties: { hot: { type: 'boolean' } },
      required: ['hot'],
      additionalProperties: false,
    },
  },
];

async function post(
  body: object,
  path = '/v1/messages',
): Promise<{ status: number; text: string; id: unknown }> {
  const {
    statusCode: status,
    body: text,
    headers,
  } = await server.inject({
    method: 'POST',
    url: path,
    headers: { 'x-api-key': 'sk-messages-1', 'anthropic-version': '2023-06-01' },
    payload: body,
  });
  return { status, text, id: headers['request-id'] };
}

async function answer(body: object): Promise<any> {
  const { status, text } = await post({ max_tokens: 12, messages: HELLO, seed: 1, ...body });
  expect([status, text]).toEqual([200, expect.any(String)]);
  return JSON.parse(text);
}

/** The events of a stream, whose names are their types. */
async function events(body: object): Promise<any[]> {
  const { text } = await post({ max_tokens: 12, messages: HELLO, seed: 1, stream: true, ...body });
  return typedEvents<any>(text);
}

test('answers a conversation, streamed or not, as chat() does', async () => {
  const expected = await model
    .chat(
      [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Tell me a story.' },
      ],
      { seed: 1, maxTokens: 12, temperature: 1 },
    )
    .result();
  const message = await answer({ system: 'Be brief.' });
  expect(message).toMatchObject({
    type: 'message',
    role: 'assistant',
    model: 'breeze',
    content: [{ type: 'text', text: expected.text }],
    stop_reason: 'max_tokens',
    stop_sequence: null,
    usage: { output_tokens: 12 },
  });
  const { usage } = message;
  expect(Number(usage.input_tokens) + Number(usage.cache_read_input_tokens ?? 0)).toBe(
    expected.usage.promptTokens,
  );
  const streamed = await events({ system: [{ type: 'text', text: 'Be brief.' }] });
  expect(
    streamed.map(({ type }) => type as string).filter((type) => !/delta|ping/.test(type)),
  ).toEqual(['message_start', 'content_block_start', 'content_block_stop', 'message_stop']);
  const deltas = streamed.filter(({ type }) => type === 'content_block_delta');
  expect(deltas.map(({ delta }) => delta.text).join('')).toBe(expected.text);
  expect(streamed.at(-2)).toMatchObject({
    type: 'message_delta',
    delta: { stop_reason: 'max_tokens', stop_sequence: null },
    usage: { output_tokens: 12 },
  });
});

test('says which stop sequence ended it', async () => {
  const { content } = await answer({});
  const [word] = /\w{3,}/.exec(String(content[0].text))!;
  expect(await answer({ stop_sequences: [word] })).toMatchObject({
    stop_reason: 'stop_sequence',
    stop_sequence: word,
  });
});

test.each([[{ type: 'any' }], [{ type: 'tool', name: 'weather' }]])(
  'calls tools: %j',
  async (choice) => {
    const body = {
      tools: TOOLS,
      tool_choice: { ...choice, disable_parallel_tool_use: true },
      max_tokens: 99,
    };
    const { content, stop_reason: reason } = await answer(body);
    expect(reason).toBe('tool_use');
    expect(content).toEqual([
      {
        type: 'tool_use',
        id: expect.any(String),
        name: 'weather',
        input: { hot: expect.any(Boolean) },
      },
    ]);
    const streamed = await events(body);
    const json = streamed
      .filter(({ delta }) => delta?.type === 'input_json_delta')
      .map(({ delta }) => delta.partial_json)
      .join('');
    expect(JSON.parse(json)).toEqual(content[0].input);
    const result = { type: 'tool_result', tool_use_id: content[0].id, content: '30 degrees' };
    await answer({
      tools: TOOLS,
      messages: [...HELLO, { role: 'assistant', content }, { role: 'user', content: [result] }],
    });
  },
);

test('counts tokens as the prompt has them', async () => {
  const { text } = await post({ messages: HELLO }, '/v1/messages/count_tokens');
  expect(JSON.parse(text)).toEqual({
    input_tokens: model.chatTokens([{ role: 'user', content: 'Tell me a story.' }]).length,
  });
});

test.each([
  [{ messages: HELLO }, 400, 'invalid_request_error'],
  [{ messages: HELLO, max_tokens: 1, nonsense: 1 }, 400, 'invalid_request_error'],
  [{ messages: HELLO, max_tokens: 1, model: 'claude' }, 404, 'not_found_error'],
  [{ messages: HELLO, max_tokens: 1, thinking: { type: 'enabled' } }, 400, 'invalid_request_error'],
  [
    { messages: [{ role: 'user', content: [{ type: 'image', source: {} }] }], max_tokens: 1 },
    400,
    'invalid_request_error',
  ],
])('errors have the form of that API: %j', async (body, status, type) => {
  const reply = await post(body);
  expect(reply.status).toBe(status);
  expect(reply.id).toMatch(/^req-/);
  expect(JSON.parse(reply.text)).toMatchObject({
    type: 'error',
    error: { type, message: expect.any(String) },
    request_id: reply.id,
  });
});
