/** Each field of the tables that requests are checked by, as openai sends it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import chatRoute from '../../dist/server/routes/chat.js';
import completionRoute from '../../dist/server/routes/completions.js';
import fimRoute from '../../dist/server/routes/fim.js';
import messagesRoute from '../../dist/server/routes/messages.js';
import responsesRoute from '../../dist/server/routes/responses.js';
import { COLOURS, KEY, MODEL, serving } from './server.mjs';

const held = serving();
const connect = () => new OpenAI({ baseURL: held.server.v1, apiKey: KEY, maxRetries: 0 });

const SAMPLING = {
  temperature: 1,
  top_p: 1,
  frequency_penalty: -2,
  presence_penalty: -2,
  logit_bias: { 5: 0, 6: -100, 7: 100 },
  seed: -9007199254740991,
  stop: '\n',
  user: 'user-1234',
  top_k: 40,
  min_p: 0.05,
  repetition_penalty: 1.1,
  ignore_eos: true,
  stop_token_ids: [5],
  allowed_token_ids: [300, 301, 302],
  guided_json: COLOURS,
  guided_regex: '[a-c]{1,3}',
  guided_choice: ['yes', 'no'],
  guided_grammar: 'root ::= "yes" | "no"',
  min_tokens: 3,
  use_beam_search: true,
  random_seed: 7,
};

const STREAMED = {
  stream: true,
  stream_options: { include_usage: true, include_obfuscation: false },
};
const FORMAT = {
  type: 'json_schema',
  json_schema: { name: 'colour', schema: COLOURS, strict: true },
};

const COMPLETION = {
  ...SAMPLING,
  ...STREAMED,
  model: MODEL,
  prompt: 'This is a test.',
  max_tokens: 4,
  n: 2,
  best_of: 2,
  echo: true,
  logprobs: 0,
  suffix: 'test.',
  response_format: FORMAT,
  add_special_tokens: true,
};

const FUNCTION = { name: 'name', description: 'description', parameters: COLOURS, strict: true };
const CHAT = {
  ...SAMPLING,
  ...STREAMED,
  model: MODEL,
  messages: [{ role: 'developer', content: 'string', name: 'name' }],
  max_tokens: 4,
  max_completion_tokens: 4,
  n: 2,
  logprobs: true,
  top_logprobs: 3,
  response_format: FORMAT,
  tools: [{ type: 'function', function: FUNCTION }],
  tool_choice: 'none',
  parallel_tool_calls: true,
  safe_prompt: true,
  functions: [FUNCTION],
  function_call: { name: 'name' },
  modalities: ['text', 'audio'],
  audio: { format: 'wav', voice: 'alloy' },
  web_search_options: { search_context_size: 'low' },
  prediction: { type: 'content', content: 'string' },
  guardrails: [{}],
  prompt_mode: 'reasoning',
  reasoning_effort: 'low',
  moderation: { model: 'model' },
  service_tier: 'auto',
  store: true,
  metadata: { foo: 'string' },
  verbosity: 'low',
  safety_identifier: 'safety-identifier-1234',
  prompt_cache_key: 'prompt-cache-key-1234',
  prompt_cache_retention: 'in_memory',
  prompt_cache_options: { mode: 'implicit', ttl: '30m' },
};

const FIM = {
  ...SAMPLING,
  ...STREAMED,
  model: MODEL,
  prompt: 'Once upon',
  suffix: 'the end.',
  max_tokens: 4,
  metadata: { foo: 'string' },
  prompt_cache_key: 'prompt-cache-key-1234',
};

const NOBODY = { type: 'function', function: { name: 'nobody' } };
const UNRESOLVED = { $ref: '#/nowhere' };

/** What a field goes with. */
const BESIDE = {
  top_logprobs: { logprobs: true },
  tool_choice: { tools: CHAT.tools },
  parallel_tool_calls: { tools: CHAT.tools },
  stream_options: { stream: true },
};

const ROUTES = [
  {
    path: '/completions',
    fields: completionRoute.COMPLETION_FIELDS,
    values: COMPLETION,
    least: { prompt: 'This is a test.', max_tokens: 4 },
  },
  {
    path: '/chat/completions',
    fields: chatRoute.CHAT_FIELDS,
    values: CHAT,
    least: { messages: CHAT.messages, max_tokens: 4 },
  },
  {
    path: '/fim/completions',
    fields: fimRoute.FIM_FIELDS,
    values: FIM,
    least: { prompt: 'Once upon', max_tokens: 4 },
  },
];

/** The status of the answer, and of an error what it says. */
async function outcome(path, body) {
  try {
    const response = await connect().post(path, { body, __binaryResponse: true });
    await response.text();
    return { status: response.status };
  } catch (error) {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    const { status, param, code, message } = error;
    return { status, param, code, message };
  }
}

for (const { path, fields, values, least } of ROUTES) {
  describe(path, () => {
    test('has a value here for each field', () => {
      assert.deepEqual(Object.keys(values).sort(), Object.keys(fields).sort());
    });

    for (const [name, { status, harmless = [] }] of Object.entries(fields)) {
      test(`${name} is ${status}`, async () => {
        const body = (value) => ({ ...least, ...BESIDE[name], [name]: value });
        const found = await outcome(path, body(values[name]));
        if (status === 'refused') {
          assert.equal(found.status, 400);
          assert.equal(found.param, name);
          assert.equal(found.code, 'unsupported_parameter');
          for (const value of harmless) {
            assert.deepEqual(await outcome(path, body(value)), { status: 200 });
          }
          return;
        }
        assert.deepEqual(found, { status: 200 });
        const isText = typeof values[name] === 'string';
        const wrong = await outcome(path, body(isText ? 5 : 'wrong'));
        assert.equal(wrong.status, 400);
        assert.equal(wrong.param, name);
        assert.equal(wrong.code, 'invalid_value');
        // Null stands for a field that is not there.
        if (!Object.hasOwn(least, name)) {
          assert.deepEqual(await outcome(path, body(null)), { status: 200 });
        }
      });
    }

    test('all that go together, at once', async () => {
      const form = /^(guided_|response_format|echo|suffix|allowed_token_ids|random_seed)/;
      const together = Object.entries(values).filter(
        ([name]) => fields[name].status !== 'refused' && !form.test(name),
      );
      assert.deepEqual(await outcome(path, Object.fromEntries(together)), { status: 200 });
    });

    test('an unknown field is refused', async () => {
      const { param, code } = await outcome(path, { ...least, no_such_field: 1 });
      assert.deepEqual([param, code], ['no_such_field', 'unknown_parameter']);
    });

    test('a field that is missing is named', async () => {
      const required = Object.keys(least)[0];
      const { param, code } = await outcome(path, { max_tokens: 4 });
      assert.deepEqual([param, code], [required, 'missing_required_parameter']);
    });
  });
}

describe('wrong values name their field', () => {
  const chat = (more) => ({ ...ROUTES[1].least, ...more });
  const text = (more) => ({ ...ROUTES[0].least, ...more });
  for (const [path, body, param] of [
    ['/chat/completions', chat({ max_tokens: 0 }), 'max_tokens'],
    ['/chat/completions', chat({ max_completion_tokens: 0 }), 'max_completion_tokens'],
    ['/chat/completions', chat({ logit_bias: { foo: 0 } }), 'logit_bias'],
    ['/chat/completions', chat({ top_logprobs: 2 }), 'top_logprobs'],
    ['/chat/completions', chat({ logprobs: true, top_logprobs: 21 }), 'top_logprobs'],
    ['/chat/completions', chat({ n: 129 }), 'n'],
    ['/chat/completions', chat({ temperature: 2.1 }), 'temperature'],
    ['/chat/completions', chat({ messages: [] }), 'messages'],
    ['/chat/completions', chat({ messages: [{ role: 'nobody' }] }), 'messages[0].role'],
    [
      '/chat/completions',
      chat({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] }),
      'messages',
    ],
    ['/chat/completions', chat({ response_format: { type: 'xml' } }), 'response_format.type'],
    [
      '/chat/completions',
      chat({ response_format: { type: 'json_schema' } }),
      'response_format.json_schema',
    ],
    [
      '/chat/completions',
      chat({ tools: [{ type: 'function', function: { name: 'a b' } }] }),
      'tools[0].function.name',
    ],
    ['/chat/completions', chat({ tool_choice: 'required' }), 'tool_choice'],
    ['/chat/completions', chat({ tool_choice: NOBODY }), 'tool_choice'],
    ['/chat/completions', chat({ tools: CHAT.tools, tool_choice: NOBODY }), 'tool_choice'],
    [
      '/chat/completions',
      chat({ tools: [{ type: 'function', function: { ...FUNCTION, parameters: UNRESOLVED } }] }),
      'tools',
    ],
    [
      '/chat/completions',
      chat({
        response_format: { type: 'json_schema', json_schema: { name: 'a', schema: UNRESOLVED } },
      }),
      'response_format',
    ],
    ['/completions', text({ guided_json: UNRESOLVED }), 'guided_json'],
    ['/completions', text({ guided_choice: [] }), 'guided_choice'],
    ['/completions', text({ guided_grammar: 'root ::= (' }), 'guided_grammar'],
    ['/completions', text({ logprobs: 6 }), 'logprobs'],
    ['/completions', text({ logprobs: 1, echo: true }), 'echo'],
    ['/completions', text({ prompt: [1e9] }), 'prompt'],
    ['/completions', text({ logit_bias: { 5: 101 } }), 'logit_bias[5]'],
    ['/completions', text({ stream_options: { foo: 1 } }), 'stream_options.foo'],
    ['/completions', text({ guided_regex: '(' }), 'guided_regex'],
  ]) {
    test(`${path}: ${JSON.stringify(body).slice(0, 100)}`, async () => {
      const found = await outcome(path, body);
      assert.equal(found.status, 400);
      assert.equal(found.param, param, found.message);
    });
  }
});

describe('no field that clients know is missing', () => {
  const read = (path) => readFileSync(new URL(`node_modules/${path}`, import.meta.url), 'utf8');
  const fieldsOf = (source, start, indent) => {
    const from = source.indexOf(start);
    assert.ok(from >= 0, start);
    const body = source.slice(from, source.indexOf('\n}', from));
    return [...body.matchAll(new RegExp(`^ {${indent}}(\\w+)\\??:`, 'gm'))].map(([, name]) => name);
  };
  const MISTRAL = '@mistralai/mistralai/src/models/components';
  for (const [what, path, start, indent, { fields, headers = [] }] of [
    [
      'openai, completions',
      'openai/resources/completions.d.ts',
      'interface CompletionCreateParamsBase',
      4,
      ROUTES[0],
    ],
    [
      'openai, chat',
      'openai/resources/chat/completions/completions.d.ts',
      'interface ChatCompletionCreateParamsBase',
      4,
      ROUTES[1],
    ],
    [
      'openai, responses',
      'openai/resources/responses/responses.d.ts',
      'interface ResponseCreateParamsBase',
      4,
      { fields: responsesRoute.RESPONSES_FIELDS },
    ],
    [
      'anthropic, messages',
      '@anthropic-ai/sdk/resources/messages/messages.d.ts',
      'interface MessageCreateParamsBase',
      4,
      { fields: messagesRoute.MESSAGES_FIELDS, headers: ['user_profile_id', 'workspace_id'] },
    ],
    [
      'mistral, chat',
      `${MISTRAL}/chatcompletionrequest.ts`,
      'type ChatCompletionRequest$Outbound',
      2,
      ROUTES[1],
    ],
    [
      'mistral, fim',
      `${MISTRAL}/fimcompletionrequest.ts`,
      'type FIMCompletionRequest$Outbound',
      2,
      ROUTES[2],
    ],
  ]) {
    test(what, () => {
      const known = fieldsOf(read(path), start, indent);
      assert.ok(known.length > 10);
      assert.deepEqual(
        known.filter((name) => !Object.hasOwn(fields, name) && !headers.includes(name)),
        [],
      );
    });
  }
});

describe('answers of openai', () => {
  const request = { model: MODEL, max_tokens: 2 };
  for (const [name, ask] of [
    ['completions', (client) => client.completions.create({ ...request, prompt: 'A test.' })],
    [
      'chat.completions',
      (client) => client.chat.completions.create({ ...request, messages: CHAT.messages }),
    ],
    [
      'responses',
      (client) => client.responses.create({ model: MODEL, max_output_tokens: 2, input: 'A test.' }),
    ],
    [
      'responses.inputTokens',
      (client) => client.responses.inputTokens.count({ model: MODEL, input: 'A test.' }),
    ],
    ['moderations', (client) => client.moderations.create({ input: 'I like you.' })],
    ['models.list', (client) => client.models.list()],
    ['models.retrieve', (client) => client.models.retrieve(MODEL)],
  ]) {
    test(`${name}: the response, and its data`, async () => {
      const promise = ask(connect());
      const raw = await promise.asResponse();
      assert.ok(raw instanceof Response);
      assert.equal(raw.headers.get('content-type'), 'application/json; charset=utf-8');
      const { data, response, request_id: id } = await promise.withResponse();
      assert.equal(response, raw);
      assert.equal(data, await promise);
      assert.equal(id, raw.headers.get('x-request-id'));
    });
  }

  for (const [name, ask] of [
    ['chat.completions.retrieve', (client) => client.chat.completions.retrieve('id')],
    ['chat.completions.update', (client) => client.chat.completions.update('id', { metadata: {} })],
    ['chat.completions.list', (client) => client.chat.completions.list()],
    ['chat.completions.delete', (client) => client.chat.completions.delete('id')],
    ['chat.completions.messages.list', (client) => client.chat.completions.messages.list('id')],
    ['responses.retrieve', (client) => client.responses.retrieve('id')],
    ['responses.delete', (client) => client.responses.delete('id')],
    ['responses.cancel', (client) => client.responses.cancel('id')],
    ['responses.compact', (client) => client.responses.compact({ model: MODEL })],
    ['responses.inputItems.list', (client) => client.responses.inputItems.list('id')],
    ['conversations.create', (client) => client.conversations.create({})],
    ['models.delete', (client) => client.models.delete(MODEL)],
    ['files.list', (client) => client.files.list()],
    ['batches.list', (client) => client.batches.list()],
    ['images.generate', (client) => client.images.generate({ prompt: 'a dog' })],
    ['vectorStores.list', (client) => client.vectorStores.list()],
    ['a path that is none', (client) => client.models.list({ path: '/_no_such_path' })],
  ]) {
    test(`${name}: NotFoundError`, async () => {
      await assert.rejects(ask(connect()), (error) => {
        assert.ok(error instanceof OpenAI.NotFoundError, String(error));
        assert.equal(error.code, 'not_found');
        return true;
      });
    });
  }
});
