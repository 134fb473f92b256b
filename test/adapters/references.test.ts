/** Logits with the reference's adapter, against what others' arithmetic in fp32 gave. */
import { Model, type Adapter, type LoadOptions } from '../../lib';
import {
  best,
  certainLength,
  largestDifference,
  normalizedError,
  readReference,
} from '../api/reference-logits';
import { fixture } from '../reference';

describe('a PEFT adapter on a model', () => {
  describe.each([
    ['swa-Q4_0', 'gguf/swa-Q4_0.gguf'],
    ['swa-gptq-b4-g128-actorder', 'gptq/swa-gptq-b4-g128-actorder'],
  ])('%s', (name, path) => {
    const reference = readReference(fixture(`adapters/all-r8-on-${name}.safetensors`));
    const { promptIds, positions, greedyIds, greedyMargin } = reference;

    async function run(
      options: LoadOptions,
      body: (model: Model, adapter: Adapter) => Promise<void>,
    ): Promise<void> {
      await using model = await Model.load(fixture(path), { backend: 'cpu', ...options });
      using adapter = await model.loadAdapter(fixture('adapters/all-r8'));
      await body(model, adapter);
    }

    test('exact mode: every logit within 2e-3, and the same greedy text', () =>
      run({ compute: 'f32', kvCacheType: 'f32' }, async (model, adapter) => {
        const logits = await model.logits(promptIds, { positions, adapter });
        expect(largestDifference(logits, reference.logits)).toBeLessThanOrEqual(2e-3);
        const generation = model.generate(promptIds, {
          temperature: 0,
          maxTokens: greedyIds.length,
          ignoreEos: true,
          adapter,
        });
        const { tokenIds } = await generation.result();
        const certain = certainLength(greedyMargin, 0.01);
        expect(certain).toBeGreaterThan(10);
        expect(tokenIds.slice(0, certain)).toEqual(greedyIds.slice(0, certain));
      }));

    test('by default: a small normalized error, and the same token wherever it is certain', () =>
      run({}, async (model, adapter) => {
        const logits = await model.logits(promptIds, { positions, adapter });
        expect(normalizedError(logits, reference.logits)).toBeLessThanOrEqual(1e-3);
        const size = model.info.vocabularySize;
        const tokens = [...promptIds, ...greedyIds];
        const after = greedyIds.map((_, i) => promptIds.length - 1 + i);
        const rows = await model.logits(tokens, { positions: after, adapter });
        const certain = greedyIds.flatMap((_, i) => ((greedyMargin[i] ?? 0) >= 0.25 ? [i] : []));
        expect(certain.length).toBeGreaterThan(20);
        for (const i of certain) {
          expect(best(rows.subarray(i * size, (i + 1) * size))).toBe(greedyIds[i]);
        }
      }));

    test('the model without it is another one', () =>
      run({}, async (model, adapter) => {
        const plain = await model.logits(promptIds, { positions });
        expect(normalizedError(plain, reference.logits)).toBeGreaterThan(0.1);
        const none = await model.logits(promptIds, { positions, adapter, adapterScale: 0 });
        expect(largestDifference(none, plain)).toBe(0);
      }));
  });
});
