/** What adapters of PEFT mean, against a forward pass in doubles with merged weights. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { plainLogits } from '../api/plain-forward';
import { largestDifference } from '../api/reference-logits';
import {
  buildAdapter,
  merged,
  MODULES,
  SHAPE,
  writeAdapter,
  writeModel,
  type BuiltAdapter,
  type FloatType,
  type Matrix,
} from './builder';

const TOKENS = [1, 17, 300, 42, 5, 383, 64];
const POSITIONS = TOKENS.map((_, i) => i);
const PLAIN = {
  layers: SHAPE.layers,
  heads: SHAPE.heads,
  kvHeads: SHAPE.kvHeads,
  headSize: SHAPE.hidden / SHAPE.heads,
  ropeBase: 10_000,
  epsilon: 1e-5,
};

let directory: string;
let weights: Map<string, Matrix>;
let model: Model;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-adapters-'));
  weights = writeModel(join(directory, 'model'));
  model = await Model.load(join(directory, 'model'), {
    backend: 'cpu',
    compute: 'f32',
    kvCacheType: 'f32',
  });
});
afterAll(async () => {
  await model.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** That logits are those of the model with `scaleOf` times B A merged. */
async function expectMerged(
  built: BuiltAdapter,
  scaleOf: (module: string) => number,
  adapterScale?: number,
  type: FloatType = 'F32',
): Promise<void> {
  const expected = plainLogits(merged(weights, built, scaleOf), PLAIN, TOKENS).flat();
  using adapter = await model.loadAdapter(writeAdapter(join(directory, 'adapter'), built, type));
  const options = { positions: POSITIONS, adapter, adapterScale };
  const logits = await model.logits(TOKENS, options);
  expect(largestDifference(logits, Float32Array.from(expected))).toBeLessThan(1e-4);
  const plain = await model.logits(TOKENS, { positions: POSITIONS });
  expect(largestDifference(logits, plain)).toBeGreaterThan(0.05);
}

test('the model itself is what the forward pass in doubles says', async () => {
  const expected = Float32Array.from(plainLogits(weights, PLAIN, TOKENS).flat());
  const logits = await model.logits(TOKENS, { positions: POSITIONS });
  expect(largestDifference(logits, expected)).toBeLessThan(1e-4);
});

test.each([1, 3, 8, 16, 40])('alpha over a rank of %d', async (rank) => {
  await expectMerged(buildAdapter(rank, 6), () => 6 / rank);
});

test('a scale of its own takes the place of 1', async () => {
  await expectMerged(buildAdapter(4, 8), () => (-0.75 * 8) / 4, -0.75);
});

test('rsLoRA: alpha over the root of the rank', async () => {
  const built = buildAdapter(16, 6);
  built.config['use_rslora'] = true;
  await expectMerged(built, () => 6 / 4);
});

test('DoRA: rows are brought to the lengths of the adapter', async () => {
  await expectMerged(buildAdapter(4, 8, { dora: true }), () => 2);
});

test('DoRA: another scale turns the rows otherwise, and leaves their lengths', async () => {
  await expectMerged(buildAdapter(4, 8, { dora: true }), () => 0.5 * 2, 0.5);
});

test('DoRA and rsLoRA', async () => {
  const built = buildAdapter(9, 6, { dora: true });
  built.config['use_rslora'] = true;
  await expectMerged(built, () => 2);
});

test('ranks and alphas of some modules, by names and by expressions', async () => {
  const rankOf = (module: string): number => {
    return module.endsWith('q_proj') ? 2 : /layers\.1\..*down_proj/.test(module) ? 6 : 4;
  };
  const built = buildAdapter(4, 8, { rankOf });
  built.config['rank_pattern'] = { q_proj: 2, '.*layers\\.1.*down_proj': 6 };
  built.config['alpha_pattern'] = {
    'model.layers.0.self_attn.v_proj': 1,
    '^model.*\\.(up|gate)_proj': 2,
  };
  const alphaOf = (module: string): number => {
    if (module === 'model.layers.0.self_attn.v_proj') return 1;
    return /(up|gate)_proj$/.test(module) ? 2 : 8;
  };
  await expectMerged(built, (module) => alphaOf(module) / rankOf(module));
});

test.each<[string, Record<string, unknown>, (module: string) => boolean]>([
  ['some names', { target_modules: ['q_proj', 'mlp.up_proj'] }, (m) => /[qu]p?_proj$/.test(m)],
  ['whole names', { target_modules: [MODULES[3]] }, (m) => m === MODULES[3]],
  [
    'an expression',
    { target_modules: 'model\\.layers\\.[1-9]\\.self_attn\\.(q|v)_proj' },
    (m) => /layers\.1\.self_attn\.[qv]_proj/.test(m),
  ],
  ['all', { target_modules: 'all-linear' }, () => true],
  [
    'all but some',
    { target_modules: 'all-linear', exclude_modules: ['down_proj'] },
    (m) => !m.endsWith('down_proj'),
  ],
  [
    'one layer',
    { target_modules: ['k_proj', 'down_proj'], layers_to_transform: 1, layers_pattern: 'layers' },
    (m) => /layers\.1\..*(k|down)_proj/.test(m),
  ],
  [
    'a list of layers',
    { target_modules: ['o_proj'], layers_to_transform: [0] },
    (m) => /layers\.0\..*o_proj/.test(m),
  ],
])('modules: %s', async (_, config, isTarget) => {
  const built = buildAdapter(4, 8, { modules: MODULES.filter(isTarget), scale: 1 });
  Object.assign(built.config, config);
  await expectMerged(built, () => 2);
});

test.each(['F16', 'BF16'] as const)('tensors in %s', async (type) => {
  const built = buildAdapter(4, 8, { dora: true });
  const rounded = (x: number): number => Math.round(x * 64) / 64;
  for (const pair of built.pairs.values()) {
    pair.a = pair.a.map((row) => row.map(rounded));
    pair.b = pair.b.map((row) => row.map(rounded));
    pair.magnitude = pair.magnitude!.map(rounded);
  }
  await expectMerged(built, () => 2, undefined, type);
});
