/** Adapters on the CUDA backend: the references, and what comes and goes beside requests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { buildAdapter, writeAdapter, writeModel } from '../adapters/builder';
import { largestDifference, normalizedError, readReference } from '../api/reference-logits';
import { fixture } from '../reference';
import { describeWithPlugin, usePlugin } from './plugin';

usePlugin();
const cuda = { backend: 'cuda', kvCacheTokens: 1024 } as const;
/** The emulator is slow. */
const COUNT = 70;

describeWithPlugin('CUDA: a PEFT adapter on a model', () => {
  describe.each([
    ['swa-Q4_0', 'gguf/swa-Q4_0.gguf'],
    ['swa-gptq-b4-g128-actorder', 'gptq/swa-gptq-b4-g128-actorder'],
  ])('%s', (name, path) => {
    const whole = readReference(fixture(`adapters/all-r8-on-${name}.safetensors`));
    const tokens = whole.promptIds.slice(0, COUNT);
    const positions = whole.positions.filter((position) => position < COUNT);
    const vocabulary = whole.logits.length / whole.positions.length;
    const expected = whole.logits.subarray(0, positions.length * vocabulary);

    test('exact mode: every logit within 2e-3', async () => {
      await using model = await Model.load(fixture(path), {
        ...cuda,
        compute: 'f32',
        kvCacheType: 'f32',
      });
      using adapter = await model.loadAdapter(fixture('adapters/all-r8'));
      const found = await model.logits(tokens, { positions, adapter });
      expect(positions.length).toBeGreaterThan(0);
      expect(largestDifference(found, expected)).toBeLessThanOrEqual(2e-3);
    });

    test('by default: a small normalized error, and the model without it beside it', async () => {
      await using model = await Model.load(fixture(path), cuda);
      const alone = await model.logits(tokens, { positions });
      using adapter = await model.loadAdapter(fixture('adapters/all-r8'));
      const [found, plain] = await Promise.all([
        model.logits(tokens, { positions, adapter }),
        model.logits(tokens, { positions, cacheSalt: 'again' }),
      ]);
      expect(normalizedError(found, expected)).toBeLessThanOrEqual(1e-3);
      expect(normalizedError(plain, alone)).toBeLessThanOrEqual(1e-6);
      expect(normalizedError(plain, expected)).toBeGreaterThan(0.1);
    });
  });
});

describeWithPlugin('CUDA: adapters come and go', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'tramontane-cuda-adapters-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  test('beside requests, which give what they give on the CPU', async () => {
    const modelPath = join(directory, 'model');
    writeModel(modelPath);
    const paths = [
      buildAdapter(5, 8, { scale: 0.1 }),
      buildAdapter(4, 8, { seed: 9, dora: true }),
    ].map((built, i) => writeAdapter(join(directory, `a${i}`), built));
    const exact = { compute: 'f32', kvCacheType: 'f32' } as const;
    await using cpu = await Model.load(modelPath, { backend: 'cpu', ...exact });
    await using model = await Model.load(modelPath, { ...cuda, ...exact });
    const options = { maxTokens: 12, temperature: 0, ignoreEos: true };
    for (let round = 0; round < 2; round++) {
      const adapters = await Promise.all(paths.map((path) => model.loadAdapter(path)));
      const generations = [undefined, ...adapters].map((adapter) =>
        model.generate([1, 17, 42], { ...options, adapter, cacheSalt: String(round) }).result(),
      );
      for (const adapter of adapters) adapter.dispose();
      const found = await Promise.all(generations);
      for (const [i, path] of [undefined, ...paths].entries()) {
        using adapter = path === undefined ? undefined : await cpu.loadAdapter(path);
        const expected = await cpu.generate([1, 17, 42], { ...options, adapter }).result();
        expect(found[i]!.tokenIds).toEqual(expected.tokenIds);
      }
    }
  });
});
