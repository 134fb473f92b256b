import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateText, Output, RetryError, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { KEY, MODEL, serving } from './server.mjs';

// Of options that an API does not have: each provider is asked for all.
globalThis.AI_SDK_LOG_WARNINGS = false;

const held = serving();

const compatible = (apiKey = KEY) =>
  createOpenAICompatible({
    name: 'tramontane',
    baseURL: held.server.v1,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const openai = (apiKey = KEY) => createOpenAI({ baseURL: held.server.v1, apiKey });

const PROVIDERS = [
  ['@ai-sdk/openai, responses', (key, name = MODEL) => openai(key)(name)],
  ['@ai-sdk/openai, chat', (key, name = MODEL) => openai(key).chat(name)],
  ['@ai-sdk/openai, completions', (key, name = MODEL) => openai(key).completion(name)],
  ['@ai-sdk/openai-compatible, chat', (key, name = MODEL) => compatible(key).chatModel(name)],
  [
    '@ai-sdk/openai-compatible, completions',
    (key, name = MODEL) => compatible(key).completionModel(name),
  ],
];

const prompt = 'Once upon a time';
const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });

for (const [name, modelOf] of PROVIDERS) {
  describe(name, () => {
    test('generateText', async () => {
      const { text, finishReason, usage } = await generateText({
        model: modelOf(),
        system: 'Be short.',
        prompt,
        maxOutputTokens: 8,
        temperature: 0.5,
        topP: 0.9,
        presencePenalty: 0.1,
        frequencyPenalty: 0.1,
        seed: 5,
        stopSequences: ['never seen'],
      });
      assert.notEqual(text, '');
      assert.equal(finishReason, 'length');
      assert.equal(usage.outputTokens, 8);
      assert.ok(usage.inputTokens > 0);
    });

    test('streamText is what generateText is', async () => {
      const request = { model: modelOf(), prompt, maxOutputTokens: 20, temperature: 0 };
      const { text } = await generateText(request);
      const result = streamText(request);
      let streamed = '';
      for await (const piece of result.textStream) streamed += piece;
      assert.equal(streamed, text);
      assert.equal((await result.usage).outputTokens, 20);
      assert.equal(await result.finishReason, 'length');
    });

    test('abort ends the work', async () => {
      const controller = new AbortController();
      const { fullStream } = streamText({
        model: modelOf(),
        prompt,
        maxOutputTokens: 4000,
        abortSignal: controller.signal,
      });
      const types = [];
      for await (const { type } of fullStream) {
        types.push(type);
        if (type === 'text-delta') controller.abort();
      }
      assert.ok(types.includes('text-delta'));
      await held.server.untilBusy((busy) => busy === 0);
    });

    test('errors carry the message, and are tried again only where that may help', async () => {
      const request = { prompt, maxOutputTokens: 2 };
      const fails = async (model, status, text) => {
        await assert.rejects(generateText({ ...request, model }), (error) => {
          assert.ok(!RetryError.isInstance(error));
          assert.ok(APICallError.isInstance(error), String(error));
          assert.equal(error.statusCode, status);
          assert.match(error.message, text);
          return true;
        });
      };
      await fails(modelOf('another-key'), 401, /key is wrong/);
      await fails(modelOf(KEY, 'gpt-5'), 404, /does not exist/);
    });
  });
}

for (const [name, modelOf] of PROVIDERS.filter(([name]) => !name.endsWith('completions'))) {
  describe(name, () => {
    test('an object by a schema, in one piece and streamed', async () => {
      const request = {
        model: modelOf(),
        prompt,
        output: Output.object({ schema: Pet }),
        temperature: 0,
      };
      const { output } = await generateText(request);
      Pet.parse(output);
      const streamed = streamText(request);
      for await (const part of streamed.partialOutputStream) assert.equal(typeof part, 'object');
      assert.deepEqual(await streamed.output, output);
    });

    test('calls a tool and goes on with what it gave', async () => {
      const painted = [];
      const paint = tool({
        description: 'Paints the house.',
        inputSchema: z.object({ colour: z.enum(['red', 'green']) }),
        execute: ({ colour }) => {
          painted.push(colour);
          return { colour, done: true };
        },
      });
      const request = {
        model: modelOf(),
        prompt,
        tools: { paint },
        maxOutputTokens: 300,
        stopWhen: stepCountIs(2),
        prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
        providerOptions: {
          openai: { parallelToolCalls: false },
          tramontane: { parallel_tool_calls: false },
        },
      };
      const { steps } = await generateText(request);
      assert.equal(steps.length, 2);
      assert.equal(steps[0].finishReason, 'tool-calls');
      assert.equal(steps[0].toolResults[0].output.done, true);
      assert.equal(painted.length, 1);
      const types = [];
      for await (const { type } of streamText(request).fullStream) types.push(type);
      for (const type of ['tool-input-start', 'tool-call', 'tool-result', 'finish']) {
        assert.ok(types.includes(type), type);
      }
      assert.ok(!types.includes('error'));
    });
  });
}
