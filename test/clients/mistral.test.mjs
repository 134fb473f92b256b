import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Mistral } from '@mistralai/mistralai';
import * as errors from '@mistralai/mistralai/models/errors';
import { COLOURS, KEY, MODEL, SEED_MODEL, serving } from './server.mjs';

const held = serving();
const connect = (apiKey = KEY) =>
  new Mistral({ serverURL: held.server.url, apiKey, retryConfig: { strategy: 'none' } });

const messages = [{ role: 'user', content: 'Tell me a story.' }];
const tools = [
  {
    type: 'function',
    function: { name: 'paint', description: 'Paints the house.', parameters: COLOURS },
  },
];

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item.data);
  return items;
}

describe('chat', () => {
  test('in one piece, with the fields of its own', async () => {
    const { object, choices, usage } = await connect().chat.complete({
      model: MODEL,
      messages,
      maxTokens: 5,
      randomSeed: 3,
      safePrompt: true,
      temperature: 0.7,
      topP: 0.9,
      stop: ['never seen'],
      n: 2,
    });
    assert.equal(object, 'chat.completion');
    assert.equal(choices.length, 2);
    assert.equal(choices[0].finishReason, 'length');
    assert.notEqual(choices[0].message.content, '');
    assert.equal(usage.completionTokens, 10);
  });

  test('streamed is what it is in one piece', async () => {
    const request = { model: MODEL, messages, maxTokens: 20, randomSeed: 3 };
    const whole = await connect().chat.complete(request);
    const chunks = await all(await connect().chat.stream(request));
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).choices[0].finishReason, 'length');
  });

  test('goes on with a message of the assistant', async () => {
    const { choices } = await connect().chat.complete({
      model: MODEL,
      messages: [...messages, { role: 'assistant', content: 'Once upon', prefix: true }],
      maxTokens: 3,
    });
    assert.equal(choices[0].message.role, 'assistant');
  });

  test('JSON by a schema', async () => {
    const { choices } = await connect().chat.complete({
      model: MODEL,
      messages,
      responseFormat: {
        type: 'json_schema',
        jsonSchema: { name: 'colours', schemaDefinition: COLOURS, strict: true },
      },
    });
    assert.ok(
      COLOURS.properties.colour.enum.includes(JSON.parse(choices[0].message.content).colour),
    );
  });

  test('tools by `any`, and the answer to the call', async () => {
    const client = connect();
    const request = { model: MODEL, messages, tools, parallelToolCalls: false };
    const { choices } = await client.chat.complete({ ...request, toolChoice: 'any' });
    assert.equal(choices[0].finishReason, 'tool_calls');
    const { message } = choices[0];
    const [call] = message.toolCalls;
    assert.match(call.id, /^[A-Za-z0-9]{9}$/);
    assert.equal(call.function.name, 'paint');
    const next = await client.chat.complete({
      ...request,
      toolChoice: 'none',
      maxTokens: 5,
      messages: [
        ...messages,
        { ...message, role: 'assistant' },
        { role: 'tool', name: 'paint', toolCallId: call.id, content: 'painted' },
      ],
    });
    assert.notEqual(next.choices[0].message.content, '');
  });

  test('tools streamed', async () => {
    const chunks = await all(
      await connect().chat.stream({
        ...{ model: MODEL, messages, tools },
        toolChoice: { type: 'function', function: { name: 'paint' } },
      }),
    );
    const calls = chunks.flatMap(({ choices }) => choices[0]?.delta.toolCalls ?? []);
    assert.equal(calls[0].function.name, 'paint');
    const json = calls.map((call) => call.function.arguments).join('');
    assert.ok(COLOURS.properties.colour.enum.includes(JSON.parse(json).colour));
  });
});

test('fim, in one piece and streamed', async () => {
  const client = connect();
  const request = { model: MODEL, prompt: 'Once upon', suffix: 'the end.', maxTokens: 9 };
  const whole = await client.fim.complete({ ...request, randomSeed: 1 });
  assert.equal(whole.choices[0].finishReason, 'length');
  assert.equal(whole.usage.completionTokens, 9);
  const chunks = await all(await client.fim.stream({ ...request, randomSeed: 1 }));
  const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(chunks.at(-1).usage.completionTokens, 9);
});

test('moderations of texts and of chats', async () => {
  const client = connect();
  const model = 'mistral-moderation-latest';
  const texts = await client.classifiers.moderate({
    model,
    inputs: ['I like him.', 'I hate him.'],
  });
  assert.equal(texts.results.length, 2);
  const chats = await client.classifiers.moderateChat({ model, inputs: messages });
  assert.equal(chats.results.length, 1);
  for (const { categories, categoryScores } of [...texts.results, ...chats.results]) {
    for (const name of Object.keys(categories)) assert.equal(typeof categoryScores[name], 'number');
  }
});

test('list of models', async () => {
  const { data } = await connect().models.list();
  assert.deepEqual(
    data.map(({ id }) => id),
    [MODEL, SEED_MODEL],
  );
});

test('errors', async () => {
  const request = { model: MODEL, messages, maxTokens: 2 };
  const isError = (status) => (error) => {
    assert.ok(error instanceof errors.MistralError);
    assert.equal(error.statusCode, status);
    assert.match(error.body, /"message":/);
    return true;
  };
  await assert.rejects(connect('another-key').chat.complete(request), isError(401));
  await assert.rejects(connect().chat.complete({ ...request, model: 'gpt-5' }), isError(404));
  await assert.rejects(connect().chat.complete({ ...request, temperature: 3 }), isError(400));
});

test('abort of a stream ends its work', async () => {
  const controller = new AbortController();
  const stream = await connect().chat.stream(
    { model: MODEL, messages, tools, toolChoice: 'any', maxTokens: 3500 },
    { fetchOptions: { signal: controller.signal } },
  );
  await stream[Symbol.asyncIterator]().next();
  controller.abort();
  await held.server.untilBusy((busy) => busy === 0);
});
