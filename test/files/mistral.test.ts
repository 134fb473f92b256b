/** Directories in Mistral's own layout: params.json and consolidated.safetensors. */
import type { Checkpoint } from '../../lib/files/checkpoint';
import { isMistralLayout, readMistralCheckpoint } from '../../lib/files/mistral/checkpoint';
import type { HfBuilder } from './hf-builder';
import { MemoryFolder } from './memory';
import { mistralContents } from './mistral-builder';
import { refused } from './refused';

const folder = (params?: object, change?: (hf: HfBuilder) => void): MemoryFolder =>
  new MemoryFolder(mistralContents(params, change));

const open = (params?: object, change?: (hf: HfBuilder) => void): Promise<Checkpoint> =>
  readMistralCheckpoint(folder(params, change), 'given');

test('shape and weights', async () => {
  const checkpoint = await open({ rope_theta: 1e6 });
  expect(checkpoint).toMatchObject({ path: 'given', kind: 'safetensors', architecture: 'mistral' });
  expect(checkpoint.shape).toEqual({
    layers: 1,
    hiddenSize: 64,
    ffnSize: 96,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    vocabularySize: 32,
    contextSize: 32_768,
    rmsEpsilon: 1e-5,
    ropeBase: 1e6,
    ropePairing: 'neighbours',
  });
  expect(checkpoint.weights.map(({ name, role }) => [role, name])).toEqual([
    ['token_embedding', 'tok_embeddings.weight'],
    ['attention_norm', 'layers.0.attention_norm.weight'],
    ['query', 'layers.0.attention.wq.weight'],
    ['key', 'layers.0.attention.wk.weight'],
    ['value', 'layers.0.attention.wv.weight'],
    ['attention_output', 'layers.0.attention.wo.weight'],
    ['ffn_norm', 'layers.0.ffn_norm.weight'],
    ['ffn_gate', 'layers.0.feed_forward.w1.weight'],
    ['ffn_up', 'layers.0.feed_forward.w3.weight'],
    ['ffn_down', 'layers.0.feed_forward.w2.weight'],
    ['output_norm', 'norm.weight'],
    ['output', 'output.weight'],
  ]);
});

test('a rope base that is not there is 1e4 beside a window, as in v0.1, else 1e6', async () => {
  const v01 = await open({ sliding_window: 48 });
  expect(v01).toMatchObject({ shape: { ropeBase: 1e4 }, slidingWindow: { size: 48 } });
  const v02 = await open({ sliding_window: null });
  expect(v02).toMatchObject({ shape: { ropeBase: 1e6 }, slidingWindow: { size: null } });
});

test('the Hugging Face layout goes first, unless the file is named', () => {
  expect(isMistralLayout(folder())).toBe(true);
  const both = folder({}, (hf) => (hf.files['model-00001-of-00002.safetensors'] = ''));
  expect(isMistralLayout(both)).toBe(false);
  expect(isMistralLayout(both, 'consolidated.safetensors')).toBe(true);
  expect(isMistralLayout(both, 'model-00001-of-00002.safetensors')).toBe(false);
});

test.each<['INVALID_FILE' | 'UNSUPPORTED_FILE', object, string]>([
  ['INVALID_FILE', { dim: undefined }, 'params.json: dim is missing'],
  ['INVALID_FILE', { n_layers: '1' }, 'n_layers is "1"'],
  ['INVALID_FILE', { sliding_window: [1] }, 'sliding_window is a list'],
  ['INVALID_FILE', { n_layers: 2 }, 'tensor "layers.1.attention_norm.weight" is missing'],
  ['UNSUPPORTED_FILE', { moe: { num_experts: 8 } }, 'moe is set; dense models'],
  ['UNSUPPORTED_FILE', { yarn: {} }, 'yarn is set'],
])('%s: %j', async (code, params, message) => {
  await refused(open(params), code, message);
});

test('a tensor that belongs to no weight', async () => {
  const stranger = open({}, (hf) => hf.add('layers.0.gate.weight', 'BF16', [8]));
  await refused(stranger, 'UNSUPPORTED_FILE', '"layers.0.gate.weight" belongs to no weight');
});
