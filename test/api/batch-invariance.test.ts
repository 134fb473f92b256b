/** The same bits whatever the chunking, the company, the threads or the cache. */
import { Model, type LoadOptions } from '../../lib';
import { fixture } from '../reference';
import { readReference } from './reference-logits';

const path = fixture('gguf/swa-Q4_K_M.gguf');
const { promptIds, positions } = readReference(fixture('logits/swa-Q4_K_M.safetensors'));

const modes: [string, LoadOptions][] = [
  ['by default', {}],
  ['in exact mode', { compute: 'f32', kvCacheType: 'f32' }],
];

describe.each(modes)('%s', (_, options) => {
  let expected: Float32Array;
  beforeAll(async () => {
    await using model = await Model.load(path, options);
    expected = await model.logits(promptIds, { positions });
  });

  test('the thread count changes nothing', async () => {
    for (const threads of [1, 2, 3, 5]) {
      await using model = await Model.load(path, { ...options, threads });
      expect(await model.logits(promptIds, { positions })).toEqual(expected);
    }
  });

  test('computing a prompt piece by piece changes nothing', async () => {
    // Each call resumes at the pages the one before left, and computes the rest.
    for (const step of [1, 5, 48, 49, 64]) {
      await using model = await Model.load(path, options);
      for (let length = step; length < promptIds.length; length += step) {
        await model.logits(promptIds.slice(0, length));
      }
      const last = promptIds.length - 1;
      const logits = await model.logits(promptIds, { positions: [last] });
      const row = positions.indexOf(last) * model.info.vocabularySize;
      expect(row).toBeGreaterThanOrEqual(0);
      expect(logits).toEqual(expected.slice(row, row + model.info.vocabularySize));
    }
  });

  test('a prompt found in the prefix cache gives the same, though its early pages are gone', async () => {
    // Room for one prompt and little more: the window's early pages are given to others.
    await using model = await Model.load(path, { ...options, kvCacheTokens: 320 });
    const first = model.generate(promptIds, { temperature: 0, maxTokens: 8, ignoreEos: true });
    const { tokenIds, usage } = await first.result();
    expect(usage.cachedTokens).toBe(0);
    for (let round = 0; round < 3; round++) {
      const again = model.generate(promptIds, { temperature: 0, maxTokens: 8, ignoreEos: true });
      const result = await again.result();
      expect(result.usage.cachedTokens).toBe(256);
      expect(result.tokenIds).toEqual(tokenIds);
      const last = promptIds.length - 1;
      const row = positions.indexOf(last) * model.info.vocabularySize;
      expect(await model.logits(promptIds)).toEqual(
        expected.slice(row, row + model.info.vocabularySize),
      );
    }
  });

  test('sharing steps with other requests changes nothing', async () => {
    await using model = await Model.load(path, options);
    const others = [3, 40, 100, 200].map((length) =>
      model.generate(promptIds.slice(0, length).reverse(), {
        maxTokens: 60,
        ignoreEos: true,
        seed: 1,
      }),
    );
    expect(await model.logits(promptIds, { positions })).toEqual(expected);
    await Promise.all(others.map((generation) => generation.result()));
  });

  test('positions may be asked for in any order, and more than once', async () => {
    await using model = await Model.load(path, options);
    const size = model.info.vocabularySize;
    const [a = 0, b = 0] = positions;
    const logits = await model.logits(promptIds, { positions: [b, a, b] });
    const rows = [0, 1, 2].map((row) => logits.slice(row * size, (row + 1) * size));
    expect(rows[1]).toEqual(expected.slice(0, size));
    expect(rows[0]).toEqual(expected.slice(size, 2 * size));
    expect(rows[2]).toEqual(rows[0]);
  });
});
