import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { COLOURS, KEY, MODEL, SEED_MODEL, Server, serving } from './server.mjs';

const held = serving();
const connect = (options = {}) =>
  new OpenAI({ baseURL: held.server.v1, apiKey: KEY, maxRetries: 0, ...options });

const messages = [{ role: 'user', content: 'Tell me a story.' }];
const prompt = 'Once upon a time';
const tool = (name = 'paint') => ({
  type: 'function',
  function: { name, description: 'Paints the house.', parameters: COLOURS },
});
/** Never ends within a test. */
const endless = { model: MODEL, max_tokens: 4000, ignore_eos: true };

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe('completions', () => {
  test('of a text', async () => {
    const answer = await connect().completions.create({ model: MODEL, prompt, max_tokens: 5 });
    assert.equal(answer.object, 'text_completion');
    assert.match(answer.id, /^cmpl-/);
    assert.equal(answer.model, MODEL);
    assert.equal(answer.choices.length, 1);
    assert.equal(answer.choices[0].finish_reason, 'length');
    assert.notEqual(answer.choices[0].text, '');
    assert.equal(answer.usage.completion_tokens, 5);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 5);
  });

  test('of texts and of tokens, n of each', async () => {
    const client = connect();
    const request = { model: MODEL, max_tokens: 3, temperature: 0 };
    const texts = await client.completions.create({
      ...request,
      prompt: [prompt, 'The dog'],
      n: 2,
    });
    assert.deepEqual(
      texts.choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    const { tokens } = await client.post(`${held.server.url}/tokenize`, { body: { prompt } });
    const ofTokens = await client.completions.create({ ...request, prompt: tokens });
    assert.equal(ofTokens.choices[0].text, texts.choices[0].text);
  });

  test('streamed is what it is in one piece', async () => {
    const client = connect();
    const request = { model: MODEL, prompt, max_tokens: 20, seed: 7, logprobs: 2 };
    const whole = await client.completions.create(request);
    const stream = await client.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await all(stream);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.deepEqual(
      { ...last.usage, prompt_tokens_details: null },
      { ...whole.usage, prompt_tokens_details: null },
    );
    const pieces = chunks.map(({ choices: [choice] }) => choice);
    assert.equal(pieces.map(({ text }) => text).join(''), whole.choices[0].text);
    assert.equal(pieces.at(-1).finish_reason, whole.choices[0].finish_reason);
    for (const list of ['tokens', 'token_logprobs', 'text_offset']) {
      const streamed = pieces.flatMap(({ logprobs }) => logprobs?.[list] ?? []);
      assert.deepEqual(streamed, whole.choices[0].logprobs[list], list);
    }
  });
});

describe('chat', () => {
  test('answers', async () => {
    const answer = await connect().chat.completions.create({
      model: MODEL,
      messages: [{ role: 'developer', content: 'Be short.' }, ...messages],
      max_completion_tokens: 5,
    });
    assert.equal(answer.object, 'chat.completion');
    assert.match(answer.id, /^chatcmpl-/);
    const [{ message, finish_reason: reason }] = answer.choices;
    assert.equal(message.role, 'assistant');
    assert.notEqual(message.content, '');
    assert.equal(message.refusal, null);
    assert.equal(reason, 'length');
    assert.match(answer._request_id, /^req-/);
  });

  test('streamed is what it is in one piece', async () => {
    const client = connect();
    const request = { model: MODEL, messages, max_tokens: 20, seed: 3, n: 2 };
    const whole = await client.chat.completions.create(request);
    const runner = client.chat.completions.stream({
      ...request,
      stream_options: { include_usage: true },
    });
    const streamed = await runner.finalChatCompletion();
    assert.deepEqual(
      streamed.choices.map(({ message, finish_reason: reason }) => [message.content, reason]),
      whole.choices.map(({ message, finish_reason: reason }) => [message.content, reason]),
    );
    assert.equal(streamed.usage.total_tokens, whole.usage.total_tokens);
  });

  test('log-probabilities', async () => {
    const request = { model: MODEL, messages, max_tokens: 4, logprobs: true, top_logprobs: 3 };
    const { choices } = await connect().chat.completions.create(request);
    const { content } = choices[0].logprobs;
    assert.equal(content.length, 4);
    for (const { logprob, bytes, top_logprobs: top } of content) {
      assert.ok(logprob <= 0);
      assert.ok(Array.isArray(bytes));
      assert.equal(top.length, 3);
    }
  });

  test('stops before a text', async () => {
    const request = { model: MODEL, messages, temperature: 0, max_tokens: 60 };
    const client = connect();
    const [{ message }] = (await client.chat.completions.create(request)).choices;
    const stop = message.content.slice(10, 15);
    const [choice] = (await client.chat.completions.create({ ...request, stop })).choices;
    assert.equal(choice.finish_reason, 'stop');
    assert.equal(choice.message.content, message.content.split(stop)[0]);
  });

  test('JSON by a zod schema', async () => {
    const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });
    const answer = await connect().chat.completions.parse({
      model: MODEL,
      messages,
      response_format: zodResponseFormat(Pet, 'pet'),
    });
    assert.equal(answer.choices[0].finish_reason, 'stop');
    Pet.parse(answer.choices[0].message.parsed);
  });

  test('JSON of any kind', async () => {
    const answer = await connect().chat.completions.create({
      model: MODEL,
      messages,
      seed: 1,
      max_tokens: 3000,
      response_format: { type: 'json_object' },
    });
    const [{ message, finish_reason: reason }] = answer.choices;
    if (reason === 'stop') assert.equal(typeof JSON.parse(message.content), 'object');
    assert.equal(message.content.trimStart()[0], '{');
  });
});

describe('tools', () => {
  const request = {
    model: MODEL,
    messages,
    tools: [tool(), tool('sell')],
    parallel_tool_calls: false,
    max_tokens: 500,
  };

  test('required, and the answer to the call', async () => {
    const client = connect();
    const { choices } = await client.chat.completions.create({
      ...request,
      tool_choice: 'required',
    });
    const [{ message, finish_reason: reason }] = choices;
    assert.equal(reason, 'tool_calls');
    assert.equal(message.tool_calls.length, 1);
    const [call] = message.tool_calls;
    assert.ok(['paint', 'sell'].includes(call.function.name));
    assert.ok(COLOURS.properties.colour.enum.includes(JSON.parse(call.function.arguments).colour));
    const next = await client.chat.completions.create({
      ...request,
      max_tokens: 5,
      tool_choice: 'none',
      messages: [...messages, message, { role: 'tool', tool_call_id: call.id, content: 'done' }],
    });
    assert.equal(next.choices[0].message.tool_calls, undefined);
  });

  test('a named one ends with stop', async () => {
    const { choices } = await connect().chat.completions.create({
      ...request,
      tool_choice: { type: 'function', function: { name: 'sell' } },
    });
    assert.equal(choices[0].finish_reason, 'stop');
    assert.equal(choices[0].message.tool_calls[0].function.name, 'sell');
  });

  test('ids of other servers are taken', async () => {
    const id = 'call_0123456789abcdefghijklmn';
    const call = { id, type: 'function', function: { name: 'sell', arguments: '{}' } };
    const answer = await connect().chat.completions.create({
      ...request,
      max_tokens: 3,
      messages: [
        ...messages,
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: id, content: 'sold' },
      ],
    });
    assert.equal(answer.choices.length, 1);
  });

  test('streamed are what they are in one piece', async () => {
    const client = connect();
    const forced = { ...request, tool_choice: 'required', seed: 11 };
    const whole = await client.chat.completions.create(forced);
    const chunks = await all(await client.chat.completions.create({ ...forced, stream: true }));
    const deltas = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
    const [first, ...rest] = deltas;
    assert.equal(first.type, 'function');
    assert.equal(first.function.arguments, '');
    assert.ok(rest.every(({ id, function: { name } }) => id === undefined && name === undefined));
    const [call] = whole.choices[0].message.tool_calls;
    assert.equal(first.function.name, call.function.name);
    assert.equal(rest.map((delta) => delta.function.arguments).join(''), call.function.arguments);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
  });

  test('runTools calls functions until there is an answer', async () => {
    const painted = [];
    const runner = connect().chat.completions.runTools({
      model: MODEL,
      messages,
      max_tokens: 300,
      tool_choice: { type: 'function', function: { name: 'paint' } },
      tools: [
        zodFunction({
          name: 'paint',
          parameters: z.object({ colour: z.enum(['red', 'green']) }),
          function: ({ colour }) => {
            painted.push(colour);
            return 'painted';
          },
        }),
      ],
    });
    await runner.done();
    assert.equal(painted.length, 1);
    assert.ok(['red', 'green'].includes(painted[0]));
  });
});

describe('responses', () => {
  const request = { model: MODEL, input: 'Tell me a story.', max_output_tokens: 20 };

  test('are answered, streamed or not', async () => {
    const client = connect();
    const seeded = { ...request, instructions: 'Be short.', seed: 3 };
    const whole = await client.responses.create(seeded);
    assert.equal(whole.status, 'incomplete');
    assert.notEqual(whole.output_text, '');
    assert.equal(whole.usage.output_tokens, 20);
    const stream = client.responses.stream(seeded);
    const types = [];
    for await (const { type } of stream) types.push(type);
    const streamed = await stream.finalResponse();
    assert.equal(streamed.output_text, whole.output_text);
    assert.deepEqual([types[0], types.at(-1)], ['response.created', 'response.incomplete']);
  });

  test('JSON by a zod schema', async () => {
    const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });
    const { output_parsed: pet } = await connect().responses.parse({
      ...request,
      max_output_tokens: 200,
      text: { format: zodTextFormat(Pet, 'pet') },
    });
    Pet.parse(pet);
  });

  test('tools, and the answer to the call', async () => {
    const client = connect();
    const calling = {
      ...request,
      max_output_tokens: 300,
      tools: [{ type: 'function', name: 'paint', parameters: COLOURS, strict: true }],
      parallel_tool_calls: false,
    };
    const { output } = await client.responses.create({ ...calling, tool_choice: 'required' });
    assert.equal(output.length, 1);
    const [call] = output;
    assert.equal(call.type, 'function_call');
    assert.ok(COLOURS.properties.colour.enum.includes(JSON.parse(call.arguments).colour));
    const next = await client.responses.create({
      ...calling,
      tool_choice: 'none',
      max_output_tokens: 4,
      input: [
        { role: 'user', content: request.input },
        call,
        { type: 'function_call_output', call_id: call.call_id, output: 'done' },
      ],
    });
    assert.equal(next.output[0].type, 'message');
  });

  test('abort of a stream ends its work', async () => {
    const stream = await connect().responses.create({
      ...request,
      max_output_tokens: 4000,
      ignore_eos: true,
      stream: true,
    });
    for await (const { type } of stream) if (type === 'response.output_text.delta') break;
    await held.server.untilBusy((busy) => busy === 0);
  });

  test('errors name the field', async () => {
    const wrong = connect().responses.create({ ...request, temperature: 9 });
    await assert.rejects(wrong, { status: 400, param: 'temperature' });
    const stored = connect().responses.create({ ...request, previous_response_id: 'resp_1' });
    await assert.rejects(stored, { status: 400, param: 'previous_response_id' });
  });
});

test('embeddings say why there are none, and are not asked for again', async () => {
  const asked = new OpenAI({ baseURL: held.server.v1, apiKey: KEY, maxRetries: 2 });
  let count = 0;
  asked.fetch = (...request) => {
    count += 1;
    return fetch(...request);
  };
  const input = { model: MODEL, input: 'A test.' };
  await assert.rejects(asked.embeddings.create(input), { status: 501, code: 'not_implemented' });
  assert.equal(count, 1);
});

test('moderations', async () => {
  const client = connect();
  const answer = await client.moderations.create({ input: ['I like my dog.', 'I hate him.'] });
  assert.match(answer.id, /^modr-/);
  assert.equal(answer.results.length, 2);
  for (const { flagged, categories, category_scores: scores } of answer.results) {
    assert.equal(typeof flagged, 'boolean');
    for (const name of Object.keys(categories)) assert.equal(typeof scores[name], 'number');
  }
  const model = 'omni-moderation-latest';
  const input = [{ type: 'text', text: 'I like my dog.' }];
  const { results } = await client.moderations.create({ model, input });
  assert.equal(results.length, 1);
});

describe('models', () => {
  test('list', async () => {
    const models = await all(connect().models.list());
    assert.deepEqual(
      models.map(({ id, object }) => [id, object]),
      [
        [MODEL, 'model'],
        [SEED_MODEL, 'model'],
      ],
    );
  });

  test('one, its name having a slash', async () => {
    assert.equal((await connect().models.retrieve(SEED_MODEL)).id, SEED_MODEL);
  });

  test('one that is not there', async () => {
    await assert.rejects(connect().models.retrieve('gpt-5'), OpenAI.NotFoundError);
  });
});

describe('errors', () => {
  const chat = (client, more) =>
    client.chat.completions.create({ model: MODEL, messages, max_tokens: 3, ...more });

  test('a wrong value: BadRequestError, the field named', async () => {
    await assert.rejects(chat(connect(), { temperature: 3 }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, 'temperature');
      assert.equal(error.type, 'invalid_request_error');
      assert.equal(error.code, 'invalid_value');
      assert.match(error.message, /temperature/);
      assert.match(error.requestID, /^req-/);
      return true;
    });
  });

  test('a prompt that is too long: context_length_exceeded, streamed or not', async () => {
    const long = [{ role: 'user', content: 'a dog '.repeat(5000) }];
    for (const stream of [false, true]) {
      await assert.rejects(chat(connect(), { messages: long, stream }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.code, 'context_length_exceeded');
        assert.equal(error.param, 'messages');
        return true;
      });
    }
  });

  test('a model that is not there: NotFoundError', async () => {
    await assert.rejects(chat(connect(), { model: 'gpt-5' }), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      return true;
    });
  });

  test('a wrong key: AuthenticationError', async () => {
    await assert.rejects(chat(connect({ apiKey: 'another-key' })), OpenAI.AuthenticationError);
  });

  test('a body that is too large', async () => {
    const huge = [{ role: 'user', content: 'x'.repeat(5 * 2 ** 20) }];
    await assert.rejects(chat(connect(), { messages: huge }), { status: 413 });
  });

  test('a route that is not there: NotFoundError', async () => {
    await assert.rejects(connect().files.list(), OpenAI.NotFoundError);
  });
});

describe('abort', () => {
  test('of a stream ends its work', async () => {
    const stream = await connect().completions.create({ ...endless, prompt, stream: true });
    for await (const chunk of stream) {
      assert.equal(chunk.choices.length, 1);
      break;
    }
    await held.server.untilBusy((busy) => busy === 0);
  });

  test('by a signal ends the work of an answer in one piece', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const answer = connect().completions.create({ ...endless, prompt, n: 4 }, { signal });
    const failed = assert.rejects(answer, OpenAI.APIUserAbortError);
    await held.server.untilBusy((busy) => busy > 0);
    controller.abort();
    await failed;
    await held.server.untilBusy((busy) => busy === 0);
  });

  test('by the time limit of the client', async () => {
    const answer = connect({ timeout: 200 }).completions.create({ ...endless, prompt, n: 16 });
    await assert.rejects(answer, OpenAI.APIConnectionTimeoutError);
    await held.server.untilBusy((busy) => busy === 0);
  });
});

describe('a server that has no room', () => {
  test('answers with 429, and the client tries again', async () => {
    const server = await Server.start(['--max-running', '1', '--max-queued-requests', '0']);
    try {
      const statuses = [];
      const client = new OpenAI({
        baseURL: server.v1,
        apiKey: KEY,
        fetch: async (...request) => {
          const response = await fetch(...request);
          statuses.push(response.status);
          if (response.status === 429) holder.controller.abort();
          return response;
        },
      });
      const holder = await client.completions.create({ ...endless, prompt, stream: true });
      await holder[Symbol.asyncIterator]().next();
      const request = { model: MODEL, prompt, max_tokens: 2 };
      const answer = await client.completions.create(request);
      assert.equal(answer.usage.completion_tokens, 2);
      assert.deepEqual(statuses, [200, 429, 200]);
    } finally {
      await server.stop();
    }
  });

  test('RateLimitError where the client does not', async () => {
    const server = await Server.start(['--max-running', '1', '--max-queued-requests', '0']);
    try {
      const client = new OpenAI({ baseURL: server.v1, apiKey: KEY, maxRetries: 0 });
      const holder = await client.completions.create({ ...endless, prompt, stream: true });
      const items = holder[Symbol.asyncIterator]();
      await items.next();
      const request = { model: MODEL, prompt, max_tokens: 2 };
      await assert.rejects(client.completions.create(request), (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError);
        assert.equal(error.code, 'queue_full');
        assert.match(error.headers.get('retry-after'), /^[1-9]\d*$/);
        return true;
      });
      holder.controller.abort();
    } finally {
      await server.stop();
    }
  });
});
