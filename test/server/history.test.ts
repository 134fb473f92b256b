/** Conversations that other models began: texts beside calls, in formats with and without room for them. */
import { join } from 'node:path';
import { Model, type LoadOptions, type Message } from '../../lib';
import type { Server } from '../../lib/server';
import { withRoomForCalls } from '../../lib/chat/history';
import { describeWithReference } from '../reference';
import { createServer } from './checked-server';

const call = {
  id: 'a1b2c3d4e',
  type: 'function' as const,
  function: { name: 'paint', arguments: '{}' },
};
const tools = [{ type: 'function' as const, function: { name: 'paint', parameters: {} } }];
const conversation = (content: unknown): Message[] => [
  { role: 'user', content: 'Paint it.' },
  { role: 'assistant', content: content as string, tool_calls: [call] },
  { role: 'tool', tool_call_id: call.id, content: 'done' },
];
const WITH_CALL = [
  { type: 'text', text: 'I shall.' },
  { type: 'tool_use', id: call.id, name: 'paint', input: {} },
];

describe('a text beside calls', () => {
  const of = (content: unknown, name?: string): unknown => {
    const chat = name === undefined ? {} : { chat: { name, source: 'test' } };
    const model = { info: chat } as unknown as Model;
    const [user, assistant, tool] = withRoomForCalls(conversation(content), model);
    expect([user, tool]).toEqual([conversation('')[0], conversation('')[2]]);
    expect(assistant).toMatchObject({ role: 'assistant', tool_calls: [call] });
    return (assistant as { content: unknown }).content;
  };

  test.each(['mistral-v2', 'mistral-v3'])('goes in %s', (name) => {
    expect(of('I shall.', name)).toBeNull();
    expect(of(WITH_CALL, name)).toBeNull();
  });

  test.each(['chatml', 'jinja', undefined])('stays in %s', (name) => {
    expect(of('I shall.', name)).toBe('I shall.');
    expect(of(WITH_CALL, name)).toEqual([{ type: 'text', text: 'I shall.' }]);
    expect(of(WITH_CALL.slice(1), name)).toBeNull();
  });

  test('goes with messages of its own too, where it goes', () => {
    const [user, calls, tool] = conversation(null);
    const text: Message = { role: 'assistant', content: 'I shall.' };
    const split = [text, user!, text, text, calls!, tool!, text];
    const of = (name: string): readonly Message[] =>
      withRoomForCalls(split, { info: { chat: { name, source: '' } } } as unknown as Model);
    expect(of('mistral-v3')).toEqual([text, user, calls, tool, text]);
    expect(of('chatml')).toEqual(split);
  });

  test('what has no calls, or is no conversation, stays', () => {
    const odd = [
      { role: 'assistant', content: 'Hello', tool_calls: [] },
      { role: 'assistant', content: WITH_CALL },
      { role: 'assistant', content: 'Hello', tool_calls: 'none' },
    ] as never;
    const model = { info: { chat: { name: 'mistral-v3', source: '' } } } as unknown as Model;
    expect(withRoomForCalls(odd, model)).toEqual(odd);
  });
});

/** What each API is sent for the same conversation, and how it says how many tokens that was. */
async function promptTokens(server: Server, text: string): Promise<readonly number[]> {
  const ask = async (url: string, payload: object): Promise<Record<string, unknown>> => {
    const reply = await server.inject({ method: 'POST', url, payload });
    expect([url, reply.statusCode, reply.statusCode === 200 ? '' : reply.body]).toEqual([
      url,
      200,
      '',
    ]);
    return reply.json<Record<string, unknown>>();
  };
  const chat = await ask('/v1/chat/completions', {
    messages: conversation(text),
    tools,
    max_tokens: 2,
  });
  const items = {
    input: [
      { role: 'user', content: 'Paint it.' },
      ...(text === '' ? [] : [{ role: 'assistant', content: text }]),
      { type: 'function_call', call_id: call.id, name: 'paint', arguments: '{}' },
      { type: 'function_call_output', call_id: call.id, output: 'done' },
    ],
    tools: [{ type: 'function', name: 'paint', parameters: {} }],
  };
  const responses = await ask('/v1/responses', { ...items, max_output_tokens: 2 });
  const countedItems = await ask('/v1/responses/input_tokens', items);
  const messages = [
    { role: 'user', content: 'Paint it.' },
    {
      role: 'assistant',
      content: [
        ...(text === '' ? [] : [{ type: 'text', text }]),
        { type: 'tool_use', id: call.id, name: 'paint', input: {} },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'done' }] },
  ];
  const anthropic = { messages, tools: [{ name: 'paint', input_schema: {} }] };
  const counted = await ask('/v1/messages/count_tokens', anthropic);
  await ask('/v1/messages', { ...anthropic, max_tokens: 2 });
  const tokens = await ask('/tokenize', { messages: conversation(text), tools });
  return [
    (chat['usage'] as { prompt_tokens: number }).prompt_tokens,
    (responses['usage'] as { input_tokens: number }).input_tokens,
    countedItems['input_tokens'] as number,
    counted['input_tokens'] as number,
    tokens['count'] as number,
  ];
}

async function withServer(
  path: string,
  body: (server: Server) => Promise<void>,
  options: LoadOptions = {},
): Promise<void> {
  const model = await Model.load(path, options);
  const server = createServer(model);
  try {
    await body(server);
  } finally {
    await server.close();
    await model.dispose();
  }
}

async function capabilities(server: Server): Promise<unknown> {
  const reply = await server.inject({ url: '/v1/models' });
  return reply.json<{ data: { capabilities: unknown }[] }>().data[0]!.capabilities;
}

test('a model of v0.3 reads the calls without the text, in every API', async () => {
  await withServer(join(__dirname, '../../models/breeze-Q4_0.gguf'), async (server) => {
    const without = await promptTokens(server, '');
    expect(new Set(without).size).toBe(1);
    expect(await promptTokens(server, 'I shall paint it.')).toEqual(without);
    expect(await capabilities(server)).toMatchObject({
      completion_chat: true,
      completion_fim: true,
      function_calling: true,
    });
  });
});

test('a format without calls is one, which /v1/models says', async () => {
  const options = { chatTemplate: 'zephyr' } as const;
  await withServer(
    join(__dirname, '../../models/breeze-Q4_0.gguf'),
    async (server) => {
      expect(await capabilities(server)).toMatchObject({ function_calling: false });
    },
    options,
  );
});

describeWithReference('a model of ChatML', (directory) => {
  test('reads both, in every API; and cannot fill in the middle, which /v1/models says', async () => {
    const path = join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
    await withServer(path, async (server) => {
      const without = await promptTokens(server, '');
      const both = await promptTokens(server, 'I shall paint it.');
      expect(new Set(both).size).toBe(1);
      expect(both[0]! - without[0]!).toBeGreaterThan(4);
      expect(await capabilities(server)).toMatchObject({
        completion_chat: true,
        completion_fim: false,
      });
    });
  });
});
