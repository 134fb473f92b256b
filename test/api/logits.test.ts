/** Logits of every reference checkpoint, in the exact mode and by default. */
import { join } from 'node:path';
import { Model } from '../../lib';
import { describeWithReference, fixture } from '../reference';
import {
  certainLength,
  checkpoints,
  checkTeacherForced,
  largestDifference,
  normalizedError,
  readReference,
} from './reference-logits';

/** Largest normalized error that activations in int8 may cost, by format. */
function tolerance(name: string): number {
  if (/-b[23]-/.test(name)) return 3e-3;
  if (/Q[23]_K/.test(name)) return 1.5e-3;
  return 1e-3;
}

const isFloat = (name: string): boolean => /-(F16|BF16|hf)$/.test(name);

function testCheckpoints(directory: string): void {
  const all = checkpoints(directory);
  test('there are checkpoints to test', () => {
    expect(all.length).toBeGreaterThan(2);
  });

  describe.each(all)('%s', (name, path, logitsPath) => {
    const reference = readReference(logitsPath);
    const { promptIds, positions, greedyIds, greedyMargin } = reference;
    // Computed with the window whose key the file lacks.
    const window = name.endsWith('nowindowkey') ? { slidingWindow: 48 } : {};

    test('exact mode: every logit within 2e-3, and the same greedy text', async () => {
      await using model = await Model.load(path, {
        ...window,
        compute: 'f32',
        kvCacheType: 'f32',
      });
      const logits = await model.logits(promptIds, { positions });
      expect(largestDifference(logits, reference.logits)).toBeLessThanOrEqual(2e-3);
      const generation = model.generate(promptIds, {
        temperature: 0,
        maxTokens: greedyIds.length,
        ignoreEos: true,
      });
      const { tokenIds } = await generation.result();
      const certain = certainLength(greedyMargin, 0.01);
      expect(tokenIds.slice(0, certain)).toEqual(greedyIds.slice(0, certain));
    });

    test('by default: a small normalized error, and the same token wherever it is certain', async () => {
      await using model = await Model.load(path, window);
      const logits = await model.logits(promptIds, { positions });
      expect(normalizedError(logits, reference.logits)).toBeLessThanOrEqual(tolerance(name));
      const checked = await checkTeacherForced(model, promptIds, greedyIds, greedyMargin, 0.25);
      expect(checked).toBeGreaterThan(20);
    });

    if (isFloat(name)) {
      test('by default with f32 keys and values: a normalized error of at most 1e-5', async () => {
        await using model = await Model.load(path, { kvCacheType: 'f32' });
        const logits = await model.logits(promptIds, { positions });
        expect(normalizedError(logits, reference.logits)).toBeLessThanOrEqual(1e-5);
      });
    }
  });
}

describe('logits of the fixtures', () => {
  testCheckpoints(join(fixture('gguf'), '..'));
});

describeWithReference('logits of every reference checkpoint', testCheckpoints);
