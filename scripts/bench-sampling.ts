/**
 * What drawing costs beside taking the best token: tokens/s of generations at once, for each
 * combination of options, as a percentage of greedy ones, in turns. A small model with a large
 * vocabulary shows it best.
 *   npm run script scripts/bench-sampling.ts -- MODEL.gguf [--streams 32] [--tokens 64] [--repeat 3]
 * Needs `npm run compile`.
 */
import './help';
import { parseArgs } from 'node:util';
import { Model, type GenerateOptions } from '../lib';
import { cpuName, spread } from './machine';

const OPTIONS: Readonly<Record<string, GenerateOptions>> = {
  greedy: { temperature: 0 },
  'temperature 0.5': { temperature: 0.5 },
  'temperature 1': { temperature: 1 },
  'temperature 1.5': { temperature: 1.5 },
  'temperature 2': { temperature: 2 },
  'top-p 0.9': { temperature: 1, topP: 0.9 },
  'top-p 0.95, temperature 0.5': { temperature: 0.5, topP: 0.95 },
  'top-p 0.95, temperature 2': { temperature: 2, topP: 0.95 },
  'top-k 40': { temperature: 1, topK: 40 },
  'top-k 40, top-p 0.9': { temperature: 1, topK: 40, topP: 0.9 },
  'min-p 0.05': { temperature: 1, minP: 0.05 },
  penalties: { temperature: 1, repetitionPenalty: 1.1, frequencyPenalty: 0.2 },
  'top-p 0.95, penalties': { temperature: 1.5, topP: 0.95, repetitionPenalty: 1.1 },
  'logit bias': { temperature: 1, logitBias: { 100: -5, 2000: 2 } },
  'log-probabilities': { temperature: 1, logprobs: 5 },
  'log-probabilities, greedy': { temperature: 0, logprobs: 5 },
};

async function rate(model: Model, streams: number, options: GenerateOptions): Promise<number> {
  const start = performance.now();
  const results = await Promise.all(
    Array.from({ length: streams }, (_, seed) =>
      model
        .generate(`Story ${seed}: once upon a time`, { ...options, seed, ignoreEos: true })
        .result(),
    ),
  );
  const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
  return (tokens / (performance.now() - start)) * 1000;
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      streams: { type: 'string', default: '32' },
      tokens: { type: 'string', default: '64' },
      repeat: { type: 'string', default: '3' },
    },
  });
  const [path] = positionals;
  if (path === undefined) throw new Error('a model is missing; see --help');
  const [streams, maxTokens, repeat] = [values.streams, values.tokens, values.repeat].map(
    Number,
  ) as [number, number, number];
  const model = await Model.load(path);
  const percents = new Map<string, number[]>();
  await rate(model, streams, { temperature: 0, maxTokens });
  for (let turn = 0; turn < repeat; ++turn) {
    for (const [name, options] of Object.entries(OPTIONS)) {
      // Beside a greedy run of its own: the machine's speed changes.
      const greedy = await rate(model, streams, { temperature: 0, maxTokens });
      const drawn = await rate(model, streams, { ...options, maxTokens });
      percents.set(name, [...(percents.get(name) ?? []), (drawn / greedy) * 100]);
    }
  }
  console.log(`${cpuName()}, ${streams} generations of ${maxTokens} tokens, % of greedy`);
  for (const [name, values] of percents) console.log(`${name.padEnd(30)}${spread(values, 0)}`);
  await model.dispose();
}

void main();
