/** The AI SDK with a model of its own process: tramontane/ai-sdk. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import {
  generateObject,
  generateText,
  Output,
  stepCountIs,
  streamText,
  ToolLoopAgent,
  tool,
} from 'ai';
import { z } from 'zod';
import { languageModel } from '../../dist/ai-sdk/index.js';
import { Model } from '../../dist/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const prompt = 'Once upon a time';
const Pet = z.object({ kind: z.enum(['cat', 'dog']), tame: z.boolean() });

let loaded;
let model;
before(async () => {
  loaded = await Model.load(join(root, 'models/breeze-Q4_0.gguf'), { backend: 'cpu' });
  model = languageModel(loaded);
});
after(() => loaded.dispose());

test('generateText is chat()', async () => {
  const request = { maxTokens: 20, temperature: 0.8, topP: 0.9, seed: 5 };
  const messages = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: prompt },
  ];
  const expected = await loaded.chat(messages, request).result();
  const { text, finishReason, usage, warnings, response } = await generateText({
    model,
    system: 'Be short.',
    prompt,
    maxOutputTokens: 20,
    temperature: 0.8,
    topP: 0.9,
    seed: 5,
  });
  assert.equal(text, expected.text);
  assert.equal(finishReason, 'length');
  assert.equal(usage.inputTokens, expected.usage.promptTokens);
  assert.equal(usage.outputTokens, 20);
  assert.deepEqual(warnings, []);
  assert.equal(response.modelId, loaded.info.name);
});

test('streamText is what generateText is', async () => {
  const request = { model, prompt, maxOutputTokens: 30, temperature: 0 };
  const { text } = await generateText(request);
  const result = streamText(request);
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  assert.ok(pieces.length > 10);
  assert.equal(pieces.join(''), text);
  assert.equal((await result.usage).outputTokens, 30);
  assert.equal(await result.finishReason, 'length');
});

test('what an earlier prompt had in common is reported as read from the cache', async () => {
  const long = 'The wind from the north is cold. '.repeat(30);
  await generateText({ model, prompt: `${long}One`, maxOutputTokens: 1 });
  const { usage } = await generateText({ model, prompt: `${long}Two`, maxOutputTokens: 1 });
  const { cacheReadTokens, noCacheTokens } = usage.inputTokenDetails;
  assert.ok(cacheReadTokens > 100, `${cacheReadTokens}`);
  assert.equal(cacheReadTokens + noCacheTokens, usage.inputTokens);
});

test('stop sequences, and options of chat() by the provider’s name', async () => {
  const request = { model, prompt, temperature: 0, maxOutputTokens: 60 };
  const { text } = await generateText(request);
  const stop = text.slice(8, 14);
  const stopped = await generateText({ ...request, stopSequences: [stop] });
  assert.equal(stopped.text, text.split(stop)[0]);
  assert.equal(stopped.finishReason, 'stop');
  const chosen = await generateText({
    ...request,
    providerOptions: { tramontane: { choice: ['yes', 'no'] } },
  });
  assert.match(chosen.text, /^(yes|no)$/);
  await assert.rejects(
    generateText({ ...request, providerOptions: { tramontane: { noSuchOption: 1 } } }),
    { code: 'INVALID_OPTION' },
  );
});

test('abort ends the work, in one piece and streamed', async () => {
  const controller = new AbortController();
  const request = { model, prompt, maxOutputTokens: 3000, abortSignal: controller.signal };
  const types = [];
  for await (const { type } of streamText(request).fullStream) {
    types.push(type);
    if (type === 'text-delta') controller.abort();
  }
  assert.ok(types.includes('text-delta'));
  assert.equal(types.at(-1), 'abort');
  await assert.rejects(generateText(request), { name: 'AbortError' });
  assert.deepEqual(
    { running: loaded.info.requests.running, pages: loaded.info.kvCache.pagesInUse },
    { running: 0, pages: 0 },
  );
});

test('a reader that leaves ends the work', async () => {
  const options = { prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }] };
  const { stream } = await model.doStream({ ...options, maxOutputTokens: 3000 });
  for await (const { type } of stream) if (type === 'text-delta') break;
  assert.equal(loaded.info.requests.running, 0);
});

test('generateObject and Output.object, by a schema and by none', async () => {
  const request = { model, prompt, temperature: 0, maxOutputTokens: 200 };
  const { object } = await generateObject({ ...request, schema: Pet });
  Pet.parse(object);
  const streamed = streamText({ ...request, output: Output.object({ schema: Pet }) });
  for await (const part of streamed.partialOutputStream) assert.equal(typeof part, 'object');
  assert.deepEqual(await streamed.output, object);
  const pets = await generateText({
    ...request,
    output: Output.array({ element: z.enum(['cat', 'dog']) }),
    seed: 1,
    maxOutputTokens: 400,
  }).then(
    ({ output }) => output,
    () => [], // The embedded model may go on with a list until there is no room.
  );
  for (const pet of pets) assert.match(pet, /^(cat|dog)$/);
  const { content } = await model.doGenerate({
    prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
    responseFormat: { type: 'json' },
    temperature: 0,
    maxOutputTokens: 20,
  });
  assert.equal(content[0].text.trimStart()[0], '{');
});

const paint = (painted) =>
  tool({
    description: 'Paints the house.',
    inputSchema: z.object({ colour: z.enum(['red', 'green']) }),
    execute: ({ colour }) => {
      painted.push(colour);
      return { colour, done: true };
    },
  });

test('calls a tool and goes on with what it gave', async () => {
  const painted = [];
  const request = {
    model,
    prompt,
    tools: { paint: paint(painted) },
    maxOutputTokens: 300,
    stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
    providerOptions: { tramontane: { parallelToolCalls: false } },
  };
  const { steps } = await generateText(request);
  assert.equal(steps.length, 2);
  assert.equal(steps[0].finishReason, 'tool-calls');
  assert.equal(steps[0].toolResults[0].output.done, true);
  assert.equal(painted.length, 1);
  const parts = [];
  for await (const part of streamText(request).fullStream) parts.push(part);
  const types = parts.map(({ type }) => type);
  for (const type of ['tool-input-start', 'tool-input-delta', 'tool-input-end', 'tool-call']) {
    assert.ok(types.includes(type), type);
  }
  assert.ok(!types.includes('error'));
  const deltas = parts.filter(({ type }) => type === 'tool-input-delta');
  const { input } = parts.find(({ type }) => type === 'tool-call');
  assert.deepEqual(JSON.parse(deltas.map(({ delta }) => delta).join('')), input);
});

test('one tool by its name, two calls, an agent', async () => {
  const tools = { paint: paint([]), wash: paint([]) };
  const toolChoice = { type: 'tool', toolName: 'wash' };
  const { toolCalls } = await generateText({ model, prompt, tools, toolChoice, seed: 3 });
  assert.ok(toolCalls.every(({ toolName }) => toolName === 'wash'));
  const agent = new ToolLoopAgent({ model, tools, stopWhen: stepCountIs(2), maxOutputTokens: 30 });
  const { steps } = await agent.generate({ prompt });
  assert.ok(steps.length >= 1);
});

test('conversations that other models began: foreign ids, texts beside calls, thoughts', async () => {
  const call = { type: 'tool-call', toolCallId: 'call_abc', toolName: 'paint', input: { a: 1 } };
  const result = { type: 'tool-result', toolCallId: 'call_abc', toolName: 'paint' };
  for (const output of [
    { type: 'text', value: 'done' },
    { type: 'json', value: { done: true } },
    { type: 'error-text', value: 'no paint' },
    { type: 'execution-denied' },
    { type: 'content', value: [{ type: 'text', text: 'done' }] },
  ]) {
    const { text } = await generateText({
      model,
      maxOutputTokens: 5,
      messages: [
        { role: 'user', content: 'Paint it.' },
        {
          role: 'assistant',
          content: [{ type: 'reasoning', text: 'hm' }, { type: 'text', text: 'I shall.' }, call],
        },
        { role: 'tool', content: [{ ...result, output }] },
      ],
    });
    assert.notEqual(text, '');
  }
});

test('what cannot be read is an error that says so, and is not tried again', async () => {
  const image = { type: 'file', mediaType: 'image/png', data: new Uint8Array([1]) };
  await assert.rejects(
    generateText({ model, messages: [{ role: 'user', content: [image] }] }),
    (error) => {
      assert.equal(error.code, 'INVALID_MESSAGES');
      assert.match(error.message, /messages\[0\].*'file' is not supported/);
      return true;
    },
  );
  const tools = { search: { type: 'provider', id: 'other.search', args: {}, inputSchema: {} } };
  const { warnings } = await generateText({ model, prompt, tools, maxOutputTokens: 2 });
  assert.deepEqual(warnings, [{ type: 'unsupported', feature: 'tool other.search' }]);
});
