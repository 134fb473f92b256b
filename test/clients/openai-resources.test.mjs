/**
 * What openai-node's own tests of its resources ask of a server (tests/api-resources of 7.5.0, those
 * whose routes there are): each call with what it requires, by promise, raw and both; and with its
 * options, those that change something left out where they are refused (docs/serving.md).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import { COLOURS, KEY, MODEL, serving } from './server.mjs';

const held = serving();
const connect = () => new OpenAI({ baseURL: held.server.v1, apiKey: KEY, maxRetries: 0 });
const model = MODEL;
const prompt = 'This is a test.';

/** The three ways to one answer. */
async function check(call) {
  const raw = await call.asResponse();
  assert.ok(raw instanceof Response);
  assert.equal(raw.status, 200);
  const data = await call;
  assert.ok(!(data instanceof Response));
  const both = await call.withResponse();
  assert.equal(both.data, data);
  assert.equal(both.response, raw);
  assert.equal(both.request_id, raw.headers.get('x-request-id'));
  return data;
}

describe('with what they require', () => {
  for (const [name, call, object] of [
    ['completions', (client) => client.completions.create({ model, prompt }), 'text_completion'],
    [
      'chat completions',
      (client) =>
        client.chat.completions.create({
          model,
          messages: [{ role: 'developer', content: 'string' }],
          max_completion_tokens: 8,
        }),
      'chat.completion',
    ],
    [
      'responses',
      (client) => client.responses.create({ input: prompt, max_output_tokens: 8 }),
      'response',
    ],
    [
      'input tokens',
      (client) => client.responses.inputTokens.count({ input: prompt }),
      'response.input_tokens',
    ],
    ['a model', (client) => client.models.retrieve(model), 'model'],
  ]) {
    test(name, async () => assert.equal((await check(call(connect()))).object, object));
  }

  test('models', async () => {
    const { data } = await check(connect().models.list());
    assert.ok(data.some(({ id }) => id === model));
  });

  test('moderations', async () => {
    const { results } = await check(connect().moderations.create({ input: 'I want to go.' }));
    assert.equal(results.length, 1);
  });
});

describe('with their options', () => {
  test('completions', async () => {
    const { choices, usage } = await connect().completions.create({
      ...{ model, prompt, echo: true, frequency_penalty: -2, logit_bias: { 5: 0 } },
      ...{ max_tokens: 16, n: 1, presence_penalty: -2, seed: 0, stop: '\n', stream: false },
      ...{ temperature: 1, top_p: 1, user: 'user-1234' },
    });
    assert.ok(choices[0].text.startsWith(prompt));
    assert.ok(usage.completion_tokens <= 16);
  });

  test('chat completions', async () => {
    const parameters = COLOURS;
    const { choices, usage } = await connect().chat.completions.create({
      ...{ model, messages: [{ role: 'developer', content: 'string', name: 'name' }] },
      ...{ frequency_penalty: -2, logit_bias: { 5: 0 }, logprobs: true, top_logprobs: 0 },
      ...{ max_completion_tokens: 8, modalities: ['text'], n: 1, parallel_tool_calls: true },
      ...{ presence_penalty: -2, prompt_cache_key: 'key', prompt_cache_retention: 'in_memory' },
      ...{ reasoning_effort: 'none', response_format: { type: 'text' }, seed: 1 },
      ...{ safety_identifier: 'id', service_tier: 'auto', stop: '\n', stream: false },
      ...{ temperature: 1, tool_choice: 'none', top_p: 1, user: 'user-1234', verbosity: 'low' },
      tools: [{ type: 'function', function: { name: 'name', parameters, strict: true } }],
    });
    assert.equal(choices[0].message.role, 'assistant');
    assert.ok(choices[0].logprobs.content.length <= 8);
    assert.ok(usage.completion_tokens <= 8);
  });

  test('input tokens', async () => {
    const client = connect();
    const some = await client.responses.inputTokens.count({ model, input: prompt });
    const more = await client.responses.inputTokens.count({
      ...{ model, input: prompt, instructions: 'Be brief.', parallel_tool_calls: true },
      ...{ text: { format: { type: 'text' }, verbosity: 'low' }, truncation: 'disabled' },
      ...{ reasoning: { effort: 'none' }, tool_choice: 'none' },
    });
    assert.ok(more.input_tokens > some.input_tokens);
  });

  test('moderations', async () => {
    const { model: judge } = await connect().moderations.create({ model, input: 'I want to go.' });
    assert.equal(judge, model);
  });
});

describe('what is asked of a path that there is not', () => {
  for (const [name, call] of [
    ['chat completions', (client, path) => client.chat.completions.list({ limit: 0 }, path)],
    ['a response', (client, path) => client.responses.retrieve('resp_1', {}, path)],
    ['input tokens', (client, path) => client.responses.inputTokens.count({ model }, path)],
    ['a kept completion', (client) => client.chat.completions.retrieve('completion_id')],
    ['a model to delete', (client) => client.models.delete('ft:a')],
  ]) {
    test(name, async () => {
      const answer = call(connect(), { path: '/_unknown_path' });
      await assert.rejects(async () => answer, OpenAI.NotFoundError);
    });
  }
});
