/**
 * Answers are of OpenAI's description. Those of the other tests are held to it too
 * (checked-server.ts); here is one of each kind, and what shows that bad ones are found.
 */
import { join } from 'node:path';
import { Model } from '../../lib';
import type { Server } from '../../lib/server';
import { checkedAnswers, createServer } from './checked-server';
import { answerProblems } from './openai-schema';

let model: Model;
let server: Server;
beforeAll(async () => {
  model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
  server = createServer([{ names: ['breeze', 'a/b'], model }]);
});
afterAll(async () => {
  await server.close();
  await model.dispose();
});

const prompt = 'Once upon a time';
const messages = [{ role: 'user', content: 'Tell me a story.' }];
const tools = [
  {
    type: 'function',
    function: { name: 'paint', parameters: { type: 'object', properties: {} } },
  },
];
const stream = { stream: true, stream_options: { include_usage: true } };
const short = { max_tokens: 8, seed: 1 };

test.each<[string, object | undefined, number]>([
  ['/v1/completions', { prompt, ...short, logprobs: 2, n: 2 }, 200],
  ['/v1/completions', { prompt, ...short, ...stream, logprobs: 2 }, 200],
  ['/v1/completions', { prompt: 5 }, 400],
  ['/v1/completions', { prompt, model: 'gpt-5' }, 404],
  ['/v1/chat/completions', { messages, ...short, logprobs: true, top_logprobs: 2 }, 200],
  ['/v1/chat/completions', { messages, ...short, ...stream, logprobs: true }, 200],
  ['/v1/chat/completions', { messages, seed: 1, tools, tool_choice: 'required' }, 200],
  ['/v1/chat/completions', { messages, seed: 1, tools, tool_choice: 'required', ...stream }, 200],
  ['/v1/chat/completions', { messages: [] }, 400],
  ['/v1/responses', { input: prompt, max_output_tokens: 8 }, 200],
  ['/v1/responses', { input: prompt, max_output_tokens: 8, stream: true }, 200],
  ['/v1/responses/input_tokens', { input: prompt }, 200],
  ['/v1/responses/input_tokens', { input: prompt, conversation: 'conv_1' }, 400],
  ['/v1/moderations', { input: ['I like my dog.', 'I hate him.'] }, 200],
  ['/v1/moderations', { input: [{ type: 'text', text: 'I like it.' }] }, 200],
  ['/v1/moderations', {}, 400],
  ['/v1/embeddings', { input: prompt }, 501],
  ['/v1/models', undefined, 200],
  ['/v1/models/breeze', undefined, 200],
  ['/v1/models/a/b', undefined, 200],
  ['/v1/models/a%2Fb', undefined, 200],
  ['/v1/models/gpt-5', undefined, 404],
])('%s %j', async (url, payload, status) => {
  const reply = await server.inject(
    payload === undefined ? { url } : { method: 'POST', url, payload },
  );
  expect(reply.statusCode).toBe(status);
  const { count, problems } = checkedAnswers();
  expect([count, problems]).toEqual([1, []]);
});

test('moderations have categories of OpenAI, chats those of the package', async () => {
  const labels = async (url: string, input: unknown): Promise<string[]> => {
    const { results } = (
      await server.inject({ method: 'POST', url, payload: { input } as object })
    ).json<{ results: { category_scores: Record<string, number> }[] }>();
    return Object.keys(results[0]!.category_scores);
  };
  expect(await labels('/v1/moderations', 'I like it.')).toContain('hate/threatening');
  expect(await labels('/v1/chat/moderations', messages)).toContain('health advice');
});

test('the fingerprint is of the model, and stays', async () => {
  const print = async (url: string, payload: object): Promise<string> => {
    const reply = await server.inject({ method: 'POST', url, payload });
    return reply.json<{ system_fingerprint: string }>().system_fingerprint;
  };
  const first = await print('/v1/completions', { prompt, max_tokens: 1 });
  expect(first).toMatch(/^fp_[0-9a-f]{10}$/);
  expect(await print('/v1/chat/completions', { messages, max_tokens: 1 })).toBe(first);
});

describe('what is found', () => {
  const completion = {
    id: 'cmpl-1',
    object: 'text_completion',
    created: 1,
    model: 'm',
    choices: [{ text: 'a', index: 0, logprobs: null, finish_reason: null }],
    usage: null,
  };
  const chunk = {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }],
  };
  const events = (...data: (object | string)[]): string =>
    data.map((one) => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`).join('');
  const error = { message: 'm', type: 't', param: null, code: null };
  const of = (url: string, body: object | string, status = 200): readonly string[] =>
    answerProblems({
      url,
      status,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });

  test('nothing where there is nothing', () => {
    expect(of('/v1/completions', events(completion, '[DONE]'))).toEqual([]);
    expect(of('/v1/chat/completions?x=1', `: ping\n\n${events(chunk, '[DONE]')}`)).toEqual([]);
    expect(of('/v1/chat/completions', events(chunk, { error }))).toEqual([]);
    expect(of('/v1/completions', { error }, 400)).toEqual([]);
    expect(of('/tokenize', { anything: true })).toEqual([]);
  });

  test.each<[string, readonly string[]]>([
    ['a whole answer without its end', of('/v1/completions', completion)],
    ['a chunk of another object', of('/v1/completions', events({ ...completion, object: 'x' }))],
    ['a chunk without choices', of('/v1/chat/completions', events({ ...chunk, choices: null }))],
    ['a role that is none', of('/v1/chat/completions', events(withDelta({ role: 'robot' })))],
    [
      'a call without its index',
      of('/v1/chat/completions', events(withDelta({ tool_calls: [{}] }))),
    ],
    ['[DONE] before the end', of('/v1/chat/completions', events('[DONE]', chunk))],
    ['an error before the end', of('/v1/chat/completions', events({ error }, chunk))],
    [
      'an error without its param',
      of('/v1/models', { error: { ...error, param: undefined } }, 400),
    ],
    ['an error with more', of('/v1/models', { error: { ...error, stack: 'x' } }, 500)],
    ['an event with a status of an error', of('/v1/completions', events(completion), 400)],
    ['a model without an owner', of('/v1/models/m', { id: 'm', object: 'model', created: 1 })],
    ['a list that is none', of('/v1/models', { object: 'list' })],
    ['labels of others', of('/v1/moderations', { id: 'modr-1', model: 'm', results: [{}] })],
    ['an event of no response', of('/v1/responses', events({ type: 'response.odd' }))],
  ])('%s', (_, problems) => {
    expect(problems).not.toEqual([]);
  });

  function withDelta(delta: object): object {
    return { ...chunk, choices: [{ index: 0, delta, finish_reason: null }] };
  }
});
