/** What LangChain's standard tests of chat models try, as far as text and tools go. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AIMessage,
  AIMessageChunk,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from '@langchain/core/messages';
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { RunnableLambda } from '@langchain/core/runnables';
import { tool } from '@langchain/core/tools';
import { concat } from '@langchain/core/utils/stream';
import { ChatOpenAI, OpenAI } from '@langchain/openai';
import { z } from 'zod';
import { KEY, MODEL, serving } from './server.mjs';

const held = serving();
const connect = (options = {}) =>
  new ChatOpenAI({
    model: MODEL,
    apiKey: KEY,
    configuration: { baseURL: held.server.v1 },
    maxTokens: 20,
    maxRetries: 0,
    ...options,
  });
/** The embedded model calls no tool that it need not. */
const calling = (tools, options = {}) =>
  connect({ maxTokens: 300, ...options }).bindTools(tools, {
    tool_choice: 'required',
    parallel_tool_calls: false,
  });

const Colour = z.object({ colour: z.enum(['red', 'green']).describe('Of the wall.') });
const paint = tool(({ colour }) => `The wall is ${colour}.`, {
  name: 'paint',
  description: 'Paints a wall.',
  schema: Colour,
});

async function joined(stream) {
  let whole;
  for await (const chunk of await stream) {
    assert.ok(chunk instanceof AIMessageChunk);
    whole = whole === undefined ? chunk : concat(whole, chunk);
  }
  assert.ok(whole);
  return whole;
}

const isAnswer = (message) => {
  assert.ok(message instanceof AIMessage || message instanceof AIMessageChunk);
  assert.equal(typeof message.text, 'string');
  assert.notEqual(message.text, '');
};

const isCall = ({ tool_calls: calls }) => {
  assert.equal(calls.length, 1);
  assert.equal(calls[0].name, 'paint');
  assert.equal(calls[0].type, 'tool_call');
  assert.ok(calls[0].id);
  Colour.parse(calls[0].args);
};

describe('texts', () => {
  test('invoke', async () => isAnswer(await connect().invoke('Hello')));

  test('stream is what invoke is', async () => {
    const model = connect({ temperature: 0 });
    const [whole, streamed] = [await model.invoke('Hello'), await joined(model.stream('Hello'))];
    assert.equal(streamed.text, whole.text);
  });

  test('batch', async () => {
    const results = await connect().batch(['Hello', 'Hey']);
    assert.equal(results.length, 2);
    results.forEach(isAnswer);
  });

  test('streamEvents', async () => {
    const events = [];
    for await (const { event, data } of connect().streamEvents('Hello', { version: 'v2' })) {
      events.push([event, data]);
    }
    assert.equal(events[0][0], 'on_chat_model_start');
    const [last, { output }] = events.at(-1);
    assert.equal(last, 'on_chat_model_end');
    const pieces = events.filter(([event]) => event === 'on_chat_model_stream');
    assert.equal(pieces.map(([, { chunk }]) => chunk.text).join(''), output.text);
  });

  test('a conversation', async () => {
    const messages = [new HumanMessage('hello'), new AIMessage('hello'), new HumanMessage('how?')];
    isAnswer(await connect().invoke(messages));
  });

  test('several messages of each role in a row', async () => {
    const twice = (Message) => [new Message('hello'), new Message('hello')];
    const messages = [SystemMessage, HumanMessage, AIMessage].flatMap(twice);
    isAnswer(await connect().invoke([...messages, new HumanMessage('how are you')]));
  });

  test('content in parts', async () => {
    const content = [{ type: 'text', text: 'Hello from a part.' }];
    isAnswer(await connect().invoke([new HumanMessage({ content })]));
  });

  test('what was cached is what came', async () => {
    const model = connect({ cache: true });
    const message = new HumanMessage({ content: [{ type: 'text', text: 'Hello there!' }] });
    const first = await model.invoke([message]);
    assert.equal((await model.invoke([message])).text, first.text);
  });

  test('stop', async () => {
    const model = connect({ temperature: 0, maxTokens: 60 });
    const { text } = await model.invoke('hi');
    const stop = text.slice(8, 12);
    assert.equal((await model.invoke('hi', { stop: [stop] })).text, text.split(stop)[0]);
    const stopping = connect({ temperature: 0, maxTokens: 60, stop: [stop] });
    assert.equal((await stopping.invoke('hi')).text, text.split(stop)[0]);
  });

  test('usage, in one piece and streamed', async () => {
    const model = connect();
    for (const message of [await model.invoke('Hello'), await joined(model.stream('Hello'))]) {
      const { input_tokens: input, output_tokens: output, ...rest } = message.usage_metadata;
      assert.ok(input > 0);
      assert.equal(output, 20);
      assert.equal(rest.total_tokens, input + output);
      assert.equal(typeof rest.input_token_details.cache_read, 'number');
    }
    const { response_metadata: metadata } = await model.invoke('Hello');
    assert.equal(metadata.model_name, MODEL);
    assert.equal(metadata.finish_reason, 'length');
  });

  test('log-probabilities', async () => {
    const { response_metadata: metadata } = await connect({
      logprobs: true,
      topLogprobs: 2,
    }).invoke('Hello');
    assert.equal(metadata.logprobs.content.length, 20);
  });

  test('completions', async () => {
    const model = new OpenAI({
      model: MODEL,
      apiKey: KEY,
      configuration: { baseURL: held.server.v1 },
      maxTokens: 8,
      temperature: 0,
    });
    const text = await model.invoke('Once upon a time');
    assert.notEqual(text, '');
    let streamed = '';
    for await (const piece of await model.stream('Once upon a time')) streamed += piece;
    assert.equal(streamed, text);
  });
});

describe('tools', () => {
  test('a tool', async () => isCall(await calling([paint]).invoke('Paint it.')));

  test('a runnable as a tool', async () => {
    const runnable = RunnableLambda.from(() => {}).asTool({
      name: 'paint',
      description: 'Paints a wall.',
      schema: Colour,
    });
    isCall(await calling([runnable]).invoke('Paint it.'));
  });

  test("a tool in OpenAI's form", async () => {
    const parameters = z.toJSONSchema(Colour);
    const plain = { type: 'function', function: { name: 'paint', description: '', parameters } };
    isCall(await calling([plain]).invoke('Paint it.'));
  });

  test('a name, a description and a schema alone', async () => {
    const { name, description } = paint;
    isCall(await calling([{ name, description, schema: Colour }]).invoke('Paint it.'));
  });

  test('streamed, with usage', async () => {
    const message = await joined(calling([paint]).stream('Paint it.'));
    isCall(message);
    assert.ok(message.usage_metadata.output_tokens > 0);
  });

  test('one by its name', async () => {
    const model = connect({ maxTokens: 300 }).bindTools([paint], {
      tool_choice: 'paint',
    });
    isCall(await model.invoke('Paint it.'));
  });

  test('one whose arguments are objects in objects and of any kind', async () => {
    const schema = z.object({
      decision: z.enum(['UseAPI', 'UseFallback']),
      details: z.object({
        name: z.enum(['a', 'b']),
        parameters: z.record(z.string(), z.unknown()),
      }),
    });
    const model = connect({ maxTokens: 3000 }).withStructuredOutput(schema, {
      name: 'service',
      method: 'functionCalling',
      includeRaw: true,
    });
    const { raw, parsed } = await model.invoke('Use the API.');
    // The embedded model may go on with a record until there is no room.
    if (raw.response_metadata.finish_reason !== 'length') schema.parse(parsed);
    assert.ok(raw instanceof AIMessage);
  });

  for (const isStreamed of [false, true]) {
    const how = isStreamed ? ' streamed' : '';
    test(`a call, its result and an answer${how}`, async () => {
      const ask = (model, messages) =>
        isStreamed ? joined(model.stream(messages)) : model.invoke(messages);
      const messages = [new HumanMessage('Paint it.')];
      const call = await ask(calling([paint]), messages);
      isCall(call);
      messages.push(call, await paint.invoke(call.tool_calls[0]));
      isAnswer(await ask(connect().bindTools([paint], { tool_choice: 'none' }), messages));
    });
  }

  const args = { colour: 'red' };
  const made = { name: 'paint', args, id: 'abc123', type: 'tool_call' };
  const history = (content) => [
    new HumanMessage('Paint it.'),
    new AIMessage({ content, tool_calls: [made] }),
    new ToolMessage({ content: 'done', tool_call_id: made.id, name: made.name }),
  ];

  test('a conversation with a call of somebody else', async () => {
    isAnswer(await connect().bindTools([paint]).invoke(history('')));
  });

  test('a conversation with a call beside a text, and in parts', async () => {
    const text = { type: 'text', text: 'some text' };
    const call = { type: 'tool_use', id: made.id, name: made.name, input: args };
    for (const content of ['some text', [text], [text, call]]) {
      isAnswer(await connect().bindTools([paint]).invoke(history(content)));
    }
  });

  test('examples of calls, and another question', async () => {
    const more = [new AIMessage('It is red.'), new HumanMessage('And that?')];
    isAnswer(
      await connect()
        .bindTools([paint])
        .invoke([...history(''), ...more]),
    );
  });

  test('two calls in one message', async () => {
    const ids = ['get_current_weather_id', 'get_current_time_id'];
    isAnswer(
      await connect()
        .bindTools([paint])
        .invoke([
          new HumanMessage('Paint both.'),
          new AIMessage({ content: '', tool_calls: ids.map((id) => ({ ...made, id })) }),
          ...ids.map((id) => new ToolMessage({ content: 'done', tool_call_id: id, name: 'paint' })),
        ]),
    );
  });
});

describe('objects by a schema', () => {
  const prompt = ChatPromptTemplate.fromMessages([
    ['system', 'You must always call {name}.'],
    ['human', 'Which colour?'],
  ]);

  for (const method of ['functionCalling', 'jsonSchema']) {
    test(method, async () => {
      const model = connect({ maxTokens: 300 });
      const settings = { name: 'paint', method };
      const plain = prompt.pipe(model.withStructuredOutput(Colour, settings));
      Colour.parse(await plain.invoke({ name: 'paint' }));
      const both = prompt.pipe(
        model.withStructuredOutput(Colour, { ...settings, includeRaw: true }),
      );
      const { raw, parsed } = await both.invoke({ name: 'paint' });
      assert.ok(raw instanceof AIMessage);
      Colour.parse(parsed);
    });
  }

  test('jsonMode', async () => {
    const model = connect({ maxTokens: 3000, temperature: 0 });
    const { raw } = await model
      .withStructuredOutput(z.looseObject({}), { method: 'jsonMode', includeRaw: true })
      .invoke('Anything.');
    assert.equal(raw.text.trimStart()[0], '{');
  });
});

describe('errors', () => {
  test('carry status and code', async () => {
    await assert.rejects(connect({ apiKey: 'another-key' }).invoke('Hello'), { status: 401 });
    await assert.rejects(connect({ model: 'gpt-5' }).invoke('Hello'), { status: 404 });
    await assert.rejects(connect().invoke('a dog '.repeat(5000)), {
      status: 400,
      code: 'context_length_exceeded',
    });
  });

  test('abort ends the work', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const stream = await connect({ maxTokens: 4000 }).stream('Hello', { signal });
    await assert.rejects(async () => {
      for await (const chunk of stream) {
        assert.ok(chunk);
        controller.abort();
      }
    });
    await held.server.untilBusy((busy) => busy === 0);
  });
});
