/** Whole models on the CUDA backend, against the references. */
import { dirname } from 'node:path';
import { Model } from '../../lib';
import { describeWithReference, fixture } from '../reference';
import {
  certainLength,
  checkpoints,
  checkTeacherForced,
  largestDifference,
  normalizedError,
  readReference,
  type Reference,
} from '../api/reference-logits';
import { describeWithPlugin, emulated, usePlugin } from './plugin';

usePlugin();
const cuda = { backend: 'cuda', kvCacheTokens: 1024 } as const;

/** As in test/api/logits.test.ts. */
function tolerance(name: string): number {
  if (/-b[23]-/.test(name)) return 3e-3;
  if (/Q[23]_K/.test(name)) return 1.5e-3;
  return 1e-3;
}

/** The first `count` tokens of a prompt and what follows from them: the emulator is slow. */
function shortened(reference: Reference, count: number): Reference {
  const positions = reference.positions.filter((position) => position < count);
  const vocabulary = reference.logits.length / reference.positions.length;
  return {
    ...reference,
    promptIds: reference.promptIds.slice(0, count),
    positions,
    logits: reference.logits.subarray(0, positions.length * vocabulary),
  };
}

const isFloat = (name: string): boolean => /-(F16|BF16|hf)$/.test(name);

function testCheckpoints(directory: string): void {
  const all = checkpoints(directory);
  test('there are checkpoints to test', () => {
    expect(all.length).toBeGreaterThan(2);
  });

  // Longer than the window, and no multiple of a tile.
  test.each(all)('%s: logits of a prompt', async (name, path, logitsPath) => {
    const whole = readReference(logitsPath);
    const { promptIds, positions, logits } = emulated ? shortened(whole, 75) : whole;
    const window = name.endsWith('nowindowkey') ? { slidingWindow: 48 } : {};
    await using model = await Model.load(path, { ...cuda, ...window });
    expect(model.info.backend.name).toBe('cuda');
    const found = await model.logits(promptIds, { positions });
    expect(normalizedError(found, logits)).toBeLessThanOrEqual(tolerance(name));
  });

  for (const [name, path, logitsPath] of all.filter(([name]) => isFloat(name))) {
    test(`${name}: with f32 keys and values a normalized error of at most 1e-5`, async () => {
      const { promptIds, positions, logits } = shortened(readReference(logitsPath), 60);
      await using model = await Model.load(path, { ...cuda, kvCacheType: 'f32' });
      const found = await model.logits(promptIds, { positions });
      expect(normalizedError(found, logits)).toBeLessThanOrEqual(1e-5);
    });
  }
}

describeWithPlugin('CUDA: the fixtures', () => {
  testCheckpoints(dirname(fixture('gguf')));

  const path = fixture('gguf/swa-Q4_0.gguf');
  const reference = readReference(fixture('logits/swa-Q4_0.safetensors'));

  test('exact mode: every logit within 2e-3', async () => {
    const { promptIds, positions, logits } = shortened(reference, 60);
    await using model = await Model.load(path, { ...cuda, compute: 'f32', kvCacheType: 'f32' });
    const found = await model.logits(promptIds, { positions });
    expect(largestDifference(found, logits)).toBeLessThanOrEqual(2e-3);
  });

  test('five windows: the same token wherever it is certain, fed and drawn', async () => {
    const { promptIds, greedyIds, greedyMargin } = reference;
    await using model = await Model.load(path, cuda);
    const checked = await checkTeacherForced(model, promptIds, greedyIds, greedyMargin, 0.25);
    expect(checked).toBeGreaterThan(20);
    // From the first place where the next three are certain.
    const start = greedyMargin.findIndex((_, i) => certainLength(greedyMargin.slice(i), 0.25) >= 3);
    expect(start).toBeGreaterThanOrEqual(0);
    const prompt = [...promptIds, ...greedyIds.slice(0, start)];
    const { tokenIds } = await model
      .generate(prompt, { temperature: 0, maxTokens: 3, ignoreEos: true })
      .result();
    expect(tokenIds).toEqual(greedyIds.slice(start, start + 3));
  });

  test('overlapping generations of different lengths all end, and give their pages back', async () => {
    await using model = await Model.load(path, cuda);
    const generations = [3, 9, 17, 5].map((length, i) =>
      model.generate(reference.promptIds.slice(i, i + 7 * length), {
        maxTokens: length,
        ignoreEos: true,
        seed: i,
        topK: 40,
        repetitionPenalty: 1.1,
        logprobs: 2,
      }),
    );
    const results = await Promise.all(generations.map((generation) => generation.result()));
    expect(results.map(({ tokenIds }) => tokenIds.length)).toEqual([3, 9, 17, 5]);
    expect(model.info.kvCache.pagesInUse).toBe(0);
  });
});

describeWithReference('CUDA: every reference checkpoint', (directory) => {
  describeWithPlugin('on the plug-in', () => {
    testCheckpoints(directory);
  });
});
