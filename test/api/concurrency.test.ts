/** Many generations at once: each gets the text it gets alone. */
import { join } from 'node:path';
import { Model, type GenerateOptions, type LoadOptions } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');

/** Numbers in [0, 1), the same every time. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

interface Case {
  readonly prompt: number[];
  readonly options: GenerateOptions;
  /** Leave the loop after so many chunks. */
  readonly leaveAfter?: number;
}

function cases(count: number): Case[] {
  const random = sequence(7);
  return Array.from({ length: count }, (_, i) => {
    const prompt = Array.from({ length: 1 + Math.floor(random() * 150) }, () =>
      Math.floor(14 + random() * 1000),
    );
    return {
      prompt,
      options: {
        maxTokens: 1 + Math.floor(random() * 120),
        temperature: i % 4 === 0 ? 0 : 1,
        seed: i,
        ignoreEos: true,
        ...(i % 5 === 0 && { stop: [' the', 'and'] }),
        ...(i % 3 === 0 && { topP: 0.9 }),
        ...(i % 7 === 0 && { repetitionPenalty: 1.2, frequencyPenalty: 0.1 }),
      },
      ...(i % 6 === 5 && { leaveAfter: 1 + Math.floor(random() * 20) }),
    };
  });
}

async function run(model: Model, { prompt, options, leaveAfter }: Case): Promise<string> {
  const generation = model.generate(prompt, options);
  let chunks = 0;
  for await (const chunk of generation) {
    expect(chunk.tokenIds.length).toBeGreaterThan(0);
    if (++chunks === leaveAfter) break;
  }
  return generation.text();
}

const modes: [string, LoadOptions][] = [
  ['by default', {}],
  ['in exact mode', { compute: 'f32', kvCacheType: 'f32' }],
];

test.each(modes)('32 overlapping generations, aborts and stops among them, %s', async (_, mode) => {
  await using model = await Model.load(path, mode);
  const all = cases(32);
  const alone: string[] = [];
  for (const one of all) alone.push(await run(model, one));
  const together = await Promise.all(all.map((one) => run(model, one)));
  together.forEach((text, i) => {
    // Where the reader left the loop, how far it got may differ; what it got may not.
    const { leaveAfter } = all[i] ?? {};
    const expected = alone[i] ?? '';
    if (leaveAfter === undefined) expect(text).toBe(expected);
    else expect(text.startsWith(expected) || expected.startsWith(text)).toBe(true);
  });
  expect(model.info.kvCache.pagesInUse).toBe(0);
});

test.each([false, 64] as const)(
  'a cache of one and a half sequences finishes eight requests with the same texts (window %p)',
  async (slidingWindow) => {
    await using roomy = await Model.load(path, { slidingWindow });
    const kvCacheTokens = slidingWindow === false ? 192 : 160;
    await using tight = await Model.load(path, { slidingWindow, kvCacheTokens });
    const requests = Array.from({ length: 8 }, (_, i): Case => ({
      prompt: Array.from({ length: 60 }, (__, j) => 20 + ((i * 131 + j * 17) % 900)),
      options: { maxTokens: 68, seed: i, temperature: 1, ignoreEos: true },
    }));
    const expected = await Promise.all(requests.map((request) => run(roomy, request)));
    const texts = await Promise.all(requests.map((request) => run(tight, request)));
    expect(texts).toEqual(expected);
    expect(tight.info.kvCache.pagesInUse).toBe(0);
  },
);

test('requests are served first come, first served', async () => {
  await using model = await Model.load(path, { slidingWindow: false, kvCacheTokens: 128 });
  const order: number[] = [];
  const generations = Array.from({ length: 6 }, (_, i) =>
    model.generate(new Array<number>(60).fill(20 + i), { maxTokens: 60, ignoreEos: true }),
  );
  await Promise.all(
    generations.map(async (generation, i) => {
      await generation.result();
      order.push(i);
    }),
  );
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
});

test('dispose() ends everything in flight as aborted, and later calls are refused', async () => {
  const model = await Model.load(path);
  const generations = Array.from({ length: 5 }, () =>
    model.generate('Once', { maxTokens: 4000, ignoreEos: true }),
  );
  const iterated = (async () => {
    let text = '';
    for await (const chunk of generations[0] ?? []) text += chunk.text;
    return text;
  })();
  const scores = model.logits(new Array<number>(4000).fill(5));
  scores.catch(() => undefined);
  await Promise.all([model.dispose(), model.dispose()]);
  await iterated;
  for (const generation of generations) {
    expect((await generation.result()).finishReason).toBe('aborted');
  }
  await expect(scores).rejects.toMatchObject({ code: 'DISPOSED' });
  expect(() => model.generate('a')).toThrow(/disposed/);
  await expect(model.logits([5])).rejects.toMatchObject({ code: 'DISPOSED' });
  expect(model.info.kvCache.pagesInUse).toBe(0);
});

test('there is no number of sequences to run out of', async () => {
  await using model = await Model.load(path);
  const generations = Array.from({ length: 300 }, (_, i) =>
    model.generate([20 + i], { maxTokens: 3, ignoreEos: true }),
  );
  const results = await Promise.all(generations.map((generation) => generation.result()));
  expect(results.every(({ tokenIds }) => tokenIds.length === 3)).toBe(true);
});
