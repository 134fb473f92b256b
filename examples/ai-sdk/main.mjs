// Vercel's AI SDK with a model of this process.
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import { Model } from 'tramontane';
import { languageModel } from 'tramontane/ai-sdk';

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const loaded = await Model.load(path);
const model = languageModel(loaded);

const { textStream } = streamText({ model, prompt: 'Tell a story.', maxOutputTokens: 40 });
for await (const text of textStream) process.stdout.write(text);

const weather = tool({
  description: 'The weather in a city now',
  inputSchema: jsonSchema({
    type: 'object',
    properties: { city: { enum: ['Perpignan', 'Trieste'] } },
    required: ['city'],
  }),
  execute: ({ city }) => ({ city, sky: 'clear' }),
});
const { steps } = await generateText({
  model,
  prompt: 'Is it clear in Perpignan?',
  tools: { weather },
  maxOutputTokens: 100,
  stopWhen: stepCountIs(2),
  // A 7B model decides by itself; the embedded one has to be told.
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
  providerOptions: { tramontane: { parallelToolCalls: false } },
});
console.log(`\n${JSON.stringify(steps[0].toolResults[0].output)}`);
await loaded.dispose();
