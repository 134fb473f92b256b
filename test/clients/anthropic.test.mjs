import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { COLOURS, KEY, MODEL, SEED_MODEL, serving } from './server.mjs';

const held = serving();
const connect = (options = {}) =>
  new Anthropic({ baseURL: held.server.url, apiKey: KEY, maxRetries: 0, ...options });

const messages = [{ role: 'user', content: 'Tell me a story.' }];
const request = { model: MODEL, messages, max_tokens: 12 };
const tool = (name = 'paint') => ({
  name,
  description: 'Paints the house.',
  input_schema: COLOURS,
});

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe('messages', () => {
  test('are answered', async () => {
    const message = await connect().messages.create({ ...request, system: 'Be short.' });
    assert.equal(message.type, 'message');
    assert.equal(message.role, 'assistant');
    assert.equal(message.model, MODEL);
    assert.equal(message.content.length, 1);
    assert.equal(message.content[0].type, 'text');
    assert.notEqual(message.content[0].text, '');
    assert.equal(message.stop_reason, 'max_tokens');
    assert.equal(message.usage.output_tokens, 12);
    assert.match(message._request_id, /^req-/);
  });

  test('streamed are what they are in one piece', async () => {
    const seeded = { ...request, seed: 3, max_tokens: 24 };
    const whole = await connect().messages.create(seeded);
    const stream = connect().messages.stream(seeded);
    const pieces = [];
    stream.on('text', (text) => pieces.push(text));
    const streamed = await stream.finalMessage();
    assert.deepEqual(streamed.content, whole.content);
    assert.equal(streamed.stop_reason, whole.stop_reason);
    assert.equal(streamed.usage.output_tokens, whole.usage.output_tokens);
    assert.equal(pieces.join(''), whole.content[0].text);
    assert.ok(pieces.length > 3);
    const events = await all(await connect().messages.create({ ...seeded, stream: true }));
    assert.equal(events[0].type, 'message_start');
    assert.equal(events.at(-1).type, 'message_stop');
  });

  test('stop sequences', async () => {
    const greedy = { ...request, temperature: 0, max_tokens: 60 };
    const { content } = await connect().messages.create(greedy);
    const stop = content[0].text.slice(10, 15);
    const stopped = await connect().messages.create({ ...greedy, stop_sequences: [stop] });
    assert.equal(stopped.stop_reason, 'stop_sequence');
    assert.equal(stopped.stop_sequence, stop);
    assert.equal(stopped.content[0].text, content[0].text.split(stop)[0]);
  });

  test('an answer that was begun goes on', async () => {
    const begun = [...messages, { role: 'assistant', content: 'Once upon' }];
    const { content } = await connect().messages.create({ ...request, messages: begun });
    assert.equal(content[0].type, 'text');
  });

  test('countTokens counts what the answer says was read', async () => {
    const client = connect();
    const { input_tokens: count } = await client.messages.countTokens({ model: MODEL, messages });
    const { usage } = await client.messages.create(request);
    assert.equal(usage.input_tokens + usage.cache_read_input_tokens, count);
  });
});

describe('JSON', () => {
  const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });

  test('by a schema', async () => {
    const message = await connect().messages.create({
      ...request,
      max_tokens: 200,
      output_config: { format: { type: 'json_schema', schema: z.toJSONSchema(Pet) } },
    });
    Pet.parse(JSON.parse(message.content[0].text));
  });

  test('parsed by the client', async () => {
    const { parsed_output: pet } = await connect().messages.parse({
      ...request,
      max_tokens: 200,
      output_config: { format: zodOutputFormat(Pet) },
    });
    Pet.parse(pet);
  });
});

describe('tools', () => {
  const calling = {
    ...request,
    tools: [tool(), tool('sell')],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
    max_tokens: 300,
    seed: 5,
  };

  test('are called, streamed or not, and the conversation goes on with their results', async () => {
    const client = connect();
    const message = await client.messages.create(calling);
    assert.equal(message.stop_reason, 'tool_use');
    const [call] = message.content;
    assert.equal(call.type, 'tool_use');
    assert.ok(COLOURS.properties.colour.enum.includes(call.input.colour));
    const streamed = await client.messages.stream(calling).finalMessage();
    assert.deepEqual(streamed.content[0].input, call.input);
    const result = { type: 'tool_result', tool_use_id: call.id, content: 'done' };
    const next = await client.messages.create({
      ...calling,
      tool_choice: { type: 'none' },
      max_tokens: 5,
      messages: [
        ...messages,
        { role: 'assistant', content: message.content },
        { role: 'user', content: [result] },
      ],
    });
    assert.equal(next.content[0].type, 'text');
  });

  test('one by its name', async () => {
    const { content } = await connect().messages.create({
      ...calling,
      tool_choice: { type: 'tool', name: 'sell', disable_parallel_tool_use: true },
    });
    assert.equal(content[0].name, 'sell');
  });

  test('a text before a call, as other models write them, and ids of theirs', async () => {
    const id = 'toolu_01A09q90qw90lq917835lq9';
    const { content } = await connect().messages.create({
      ...calling,
      tool_choice: { type: 'none' },
      max_tokens: 5,
      messages: [
        ...messages,
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'I shall paint it.' },
            { type: 'tool_use', id, name: 'paint', input: { colour: 'red' } },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'done' }] },
      ],
    });
    assert.equal(content[0].type, 'text');
  });
});

test('list of models, and one', async () => {
  const ids = (await all(connect().models.list())).map(({ id }) => id);
  assert.deepEqual(ids, [MODEL, SEED_MODEL]);
  assert.equal((await connect().models.retrieve(MODEL)).id, MODEL);
});

describe('errors', () => {
  const fails = (client, more, Kind, type, text) =>
    assert.rejects(client.messages.create({ ...request, ...more }), (error) => {
      assert.ok(error instanceof Kind, String(error));
      assert.equal(error.type, type);
      assert.match(error.message, text);
      assert.match(error.requestID, /^req-/);
      return true;
    });

  test('have the kinds of the client', async () => {
    const client = connect();
    const bad = [Anthropic.BadRequestError, 'invalid_request_error'];
    await fails(client, { temperature: 9 }, ...bad, /temperature/);
    await fails(
      client,
      { messages: [{ role: 'user', content: 'a dog '.repeat(5000) }] },
      ...bad,
      /4096/,
    );
    await fails(client, { model: 'claude' }, Anthropic.NotFoundError, 'not_found_error', /claude/);
    const other = connect({ apiKey: 'another-key' });
    await fails(other, {}, Anthropic.AuthenticationError, 'authentication_error', /key is wrong/);
  });
});

describe('abort', () => {
  const endless = { ...request, max_tokens: 4000, ignore_eos: true };

  test('of a stream ends its work', async () => {
    const stream = await connect().messages.create({ ...endless, stream: true });
    for await (const { type } of stream) {
      if (type === 'content_block_delta') break;
    }
    await held.server.untilBusy((busy) => busy === 0);
  });

  test('by a signal ends the work of an answer in one piece', async () => {
    const controller = new AbortController();
    const answer = connect().messages.create(endless, { signal: controller.signal });
    const failed = assert.rejects(answer, Anthropic.APIUserAbortError);
    await held.server.untilBusy((busy) => busy > 0);
    controller.abort();
    await failed;
    await held.server.untilBusy((busy) => busy === 0);
  });
});
