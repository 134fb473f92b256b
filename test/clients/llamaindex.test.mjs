import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenAI } from '@llamaindex/openai';
import { z } from 'zod';
import { COLOURS, KEY, MODEL, serving } from './server.mjs';

const held = serving();
const connect = (options = {}) =>
  new OpenAI({ baseURL: held.server.v1, apiKey: KEY, model: MODEL, maxTokens: 20, ...options });

const messages = [
  { role: 'system', content: 'Be short.' },
  { role: 'user', content: 'Tell me a story.' },
];
const paint = {
  metadata: { name: 'paint', description: 'Paints the house.', parameters: COLOURS },
  call: () => 'painted',
};
const forced = { tool_choice: 'required', parallel_tool_calls: false };

test('chat, in one piece and streamed', async () => {
  const llm = connect({ temperature: 0 });
  const { message, raw } = await llm.chat({ messages });
  assert.equal(message.role, 'assistant');
  assert.notEqual(message.content, '');
  assert.equal(raw.usage.completion_tokens, 20);
  let streamed = '';
  for await (const { delta } of await llm.chat({ messages, stream: true })) streamed += delta;
  assert.equal(streamed, message.content);
});

test('complete, in one piece and streamed', async () => {
  const llm = connect({ temperature: 0 });
  const { text } = await llm.complete({ prompt: 'Once upon a time' });
  assert.notEqual(text, '');
  let streamed = '';
  const stream = await llm.complete({ prompt: 'Once upon a time', stream: true });
  for await (const { text: piece } of stream) streamed += piece;
  assert.equal(streamed, text);
});

test('tools, in one piece and streamed, and the answer to the call', async () => {
  const llm = connect({ maxTokens: 300, additionalChatOptions: forced });
  const { message } = await llm.chat({ messages, tools: [paint] });
  const [call] = message.options.toolCall;
  assert.equal(call.name, 'paint');
  assert.ok(COLOURS.properties.colour.enum.includes(JSON.parse(call.input).colour));

  let streamed;
  for await (const { options } of await llm.chat({ messages, tools: [paint], stream: true })) {
    if (options && 'toolCall' in options) [streamed] = options.toolCall;
  }
  assert.equal(streamed.name, 'paint');

  const result = { id: call.id, result: 'painted', isError: false };
  const next = await connect({ additionalChatOptions: { tool_choice: 'none' } }).chat({
    messages: [
      ...messages,
      message,
      { role: 'user', content: '', options: { toolResult: result } },
    ],
    tools: [paint],
  });
  assert.notEqual(next.message.content, '');
});

test('an object by a schema', async () => {
  const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });
  // The client asks for a schema of the models that it knows can.
  const llm = connect({ maxTokens: 100 });
  const responseFormat = {
    type: 'json_schema',
    json_schema: { name: 'pet', schema: z.toJSONSchema(Pet) },
  };
  const { message } = await llm.chat({
    messages,
    additionalChatOptions: { response_format: responseFormat },
  });
  Pet.parse(JSON.parse(message.content));
});

test('errors', async () => {
  await assert.rejects(connect({ apiKey: 'another-key', maxRetries: 0 }).chat({ messages }), {
    status: 401,
  });
  await assert.rejects(connect({ model: 'gpt-5' }).chat({ messages }), { status: 404 });
});
