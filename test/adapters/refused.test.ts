/** What adapters ask for and is not computed is refused by its name, and files that are wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAdapter } from '../../lib/adapters/open';
import { readGgufAdapter } from '../../lib/adapters/gguf-adapter';
import { PEFT_TENSORS } from '../../lib/adapters/peft';
import { readPeftAdapter } from '../../lib/adapters/peft-adapter';
import { GgufBuilder } from '../files/gguf-builder';
import { MemoryFolder } from '../files/memory';
import { refused } from '../files/refused';
import {
  adapterContents,
  ADAPTED,
  buildAdapter,
  MODULES,
  tensorOf,
  type BuiltAdapter,
} from './builder';

async function open(built: BuiltAdapter): ReturnType<typeof readPeftAdapter> {
  const folder = new MemoryFolder(adapterContents(built));
  return readPeftAdapter(folder, await folder.open(PEFT_TENSORS), ADAPTED);
}

const FIRST = MODULES[0]!;

describe('adapter_config.json', () => {
  test.each<[string, unknown, string]>([
    ['peft_type', 'IA3', 'peft_type is "IA3"; LORA is supported'],
    ['bias', 'all', 'bias is "all"; adapters without a bias are supported'],
    ['bias', 'lora_only', 'bias is "lora_only"'],
    ['fan_in_fan_out', true, 'fan_in_fan_out is true, which is not supported'],
    ['modules_to_save', ['lm_head'], 'modules_to_save is a list, which is not supported'],
    ['layer_replication', [[0, 1]], 'layer_replication is a list'],
    ['lora_bias', true, 'lora_bias is true'],
    ['trainable_token_indices', [1], 'trainable_token_indices is a list'],
    ['target_parameters', ['experts'], 'target_parameters is a list'],
    ['alora_invocation_tokens', [5], 'alora_invocation_tokens is a list'],
    ['use_qalora', true, 'use_qalora is true'],
    ['something_new', { a: 1 }, 'something_new is an object'],
    ['init_lora_weights', 'pissa', 'init_lora_weights is "pissa": the adapter belongs to weights'],
    ['init_lora_weights', 'loftq', 'init_lora_weights is "loftq"'],
    ['layers_pattern', 'blocks', 'layers_pattern is "blocks"; "layers" is supported'],
    ['target_modules', '(?<=x)q_proj', 'target_modules has the expression'],
    ['alpha_pattern', { '(?=x)q': 1 }, 'alpha_pattern has the expression'],
  ])('%s: %p', async (key, value, message) => {
    const built = buildAdapter(4, 8);
    built.config['layers_to_transform'] = key === 'layers_pattern' ? [0, 1] : null;
    built.config[key] = value;
    await refused(open(built), 'UNSUPPORTED_FILE', 'adapter_config.json', message);
  });

  test.each<[string, unknown, string]>([
    ['r', 0, 'r is 0, not an integer from 1 to 4096'],
    ['r', 8, '"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" is [4, 64]'],
    ['r', undefined, 'r is missing'],
    ['lora_alpha', undefined, 'lora_alpha is missing'],
    ['lora_alpha', 1e300, 'lora_alpha is 1e+300'],
    ['peft_type', undefined, 'peft_type is missing'],
    ['use_rslora', 'yes', 'use_rslora is "yes", not true or false'],
    ['use_dora', true, 'lora_magnitude_vector.weight" is missing'],
    ['target_modules', undefined, 'target_modules is missing'],
    ['target_modules', [5], 'target_modules has 5 in its list'],
    ['target_modules', ['v_proj'], `has tensors of "${FIRST}", which adapter_config.json does not`],
    ['target_modules', '.*v_proj', `has tensors of "${FIRST}"`],
    ['exclude_modules', ['q_proj'], `has tensors of "${FIRST}"`],
    ['layers_to_transform', [1], `has tensors of "${FIRST}"`],
    ['layers_to_transform', [-1], 'layers_to_transform has -1'],
    ['rank_pattern', { q_proj: 2 }, 'q_proj.lora_A.weight" is [4, 64], and should be [2, 64]'],
    ['rank_pattern', { q_proj: null }, 'rank_pattern.q_proj is missing'],
    ['alpha_pattern', { q_proj: 'a' }, 'alpha_pattern.q_proj is "a"'],
    ['alpha_pattern', [1], 'alpha_pattern is a list, not an object'],
  ])('%s: %p is wrong', async (key, value, message) => {
    const built = buildAdapter(4, 8);
    built.config[key] = value;
    await refused(open(built), 'INVALID_FILE', message);
  });

  test('expressions that take others an age are tests of a moment', async () => {
    const built = buildAdapter(4, 8);
    built.config['alpha_pattern'] = { [`(${'(a|[a-z_.0-9])*'.repeat(8)})*x`]: 1 };
    expect((await open(built)).pairs).toHaveLength(14);
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a{${i}}q`, 1]));
    built.config['alpha_pattern'] = many;
    await refused(open(built), 'UNSUPPORTED_FILE', 'alpha_pattern has more than 64 expressions');
  });
});

describe('tensors of PEFT', () => {
  const row = [[1, 2]];
  test.each([
    ['base_model.model.lm_head.weight', 'is no part of a low-rank pair'],
    ['base_model.model.model.layers.0.input_layernorm.weight', 'is no part of a low-rank pair'],
    [`base_model.model.${FIRST}.bias`, 'is no part of a low-rank pair'],
    [`base_model.model.${FIRST}.lora_B.bias`, 'is no part of a low-rank pair'],
    ['base_model.model.model.norm.lora_A.weight', 'is of "model.norm", no linear layer'],
    ['base_model.model.lm_head.lora_A.weight', 'is of "lm_head", no linear layer'],
    ['base_model.model.model.embed_tokens.lora_embedding_A', 'is no part of a low-rank pair'],
    ['base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight', 'no linear layer of this'],
    ['layers.0.attention.wq.lora_A.weight', 'is no part of a low-rank pair'],
  ])('%s', async (name, message) => {
    const built = buildAdapter(4, 8);
    built.others.push(tensorOf(name, row));
    await refused(open(built), 'UNSUPPORTED_FILE', name, message);
  });

  test('one of a pair that is missing, of another shape or of integers', async () => {
    const built = buildAdapter(4, 8);
    built.pairs.get(FIRST)!.b.pop();
    await refused(open(built), 'INVALID_FILE', 'q_proj.lora_B.weight" is [63, 4]');
    const lost = buildAdapter(4, 8);
    lost.pairs.delete(FIRST);
    await refused(open(lost), 'INVALID_FILE', 'q_proj.lora_A.weight" is missing');
    lost.others.push({
      ...tensorOf(`base_model.model.${FIRST}.lora_A.weight`, row),
      type: 'I32',
      shape: [1, 2],
    });
    await refused(open(lost), 'UNSUPPORTED_FILE', 'is "I32"; F32, F16 and BF16 are supported');
  });

  test('lengths of DoRA in a file whose configuration says nothing of it', async () => {
    const built = buildAdapter(4, 8, { dora: true });
    built.config['use_dora'] = false;
    await refused(open(built), 'INVALID_FILE', 'is of DoRA', 'use_dora is false');
  });

  test('a tensor in two forms, of which one would be taken', async () => {
    const built = buildAdapter(4, 8, { dora: true });
    const { magnitude } = built.pairs.get(FIRST)!;
    const name = `base_model.model.${FIRST}.lora_magnitude_vector.weight`;
    built.others.push(tensorOf(name, [magnitude!], 'F32', [magnitude!.length]));
    await refused(open(built), 'INVALID_FILE', `"${name}" is there in two forms`);
  });

  test('a file without tensors', async () => {
    const built = buildAdapter(4, 8, { modules: [] });
    await refused(open(built), 'INVALID_FILE', 'has no tensors of an adapter');
  });
});

describe('a GGUF adapter', () => {
  const build = (): GgufBuilder =>
    new GgufBuilder()
      .set('general.architecture', 'string', 'llama')
      .set('general.type', 'string', 'adapter')
      .set('adapter.type', 'string', 'lora')
      .set('adapter.lora.alpha', 'f32', 16)
      .tensor('blk.0.attn_q.weight.lora_a', 'F32', [64, 4])
      .tensor('blk.0.attn_q.weight.lora_b', 'F32', [4, 64]);
  const read = (gguf: GgufBuilder): Promise<unknown> => readGgufAdapter(gguf.file(), ADAPTED);

  test('as it should be', async () => {
    expect(await read(build())).toMatchObject({ pairs: [{ role: 'query', layer: 0, scale: 4 }] });
  });

  test.each<[string, (gguf: GgufBuilder) => unknown, string]>([
    ['a model', (g) => g.set('general.type', 'string', 'model'), 'general.type is "model"'],
    ['no type', (g) => g.remove('general.type'), 'general.type is "model"'],
    ['another kind', (g) => g.set('adapter.type', 'string', 'ia3'), 'adapter.type is "ia3"'],
    ['another model', (g) => g.set('general.architecture', 'string', 'gemma'), '"gemma"'],
    ['a norm', (g) => g.tensor('blk.0.attn_norm.weight', 'F32', [64]), 'blk.0.attn_norm.weight'],
    ['the head', (g) => g.tensor('output.weight.lora_a', 'F32', [64, 4]), 'output.weight.lora_a'],
    ['a layer more', (g) => g.tensor('blk.2.attn_q.weight.lora_a', 'F32', [64, 4]), 'blk.2.attn_q'],
    ['a type', (g) => (g.find('blk.0.attn_q.weight.lora_a').type = 16), 'is IQ2_XXS; supported'],
    ['a rank', (g) => (g.find('blk.0.attn_q.weight.lora_a').dimensions[1] = 5000), 'rank 5000'],
  ])('%s is not supported', async (_, change, message) => {
    const gguf = build();
    change(gguf);
    await refused(read(gguf), 'UNSUPPORTED_FILE', message);
  });

  test.each<[string, (gguf: GgufBuilder) => unknown, string]>([
    ['no alpha', (g) => g.remove('adapter.lora.alpha'), 'adapter.lora.alpha is missing'],
    ['no number', (g) => g.set('adapter.lora.alpha', 'f32', NaN), 'adapter.lora.alpha is NaN'],
    ['half a pair', (g) => g.tensors.pop(), '"blk.0.attn_q.weight.lora_b" is missing'],
    [
      'other inputs',
      (g) => (g.tensors[0]!.dimensions[0] = 32),
      'is [4, 32], and should be [4, 64]',
    ],
    ['other outputs', (g) => (g.tensors[1]!.dimensions[1] = 32), 'is [32, 4], and should be'],
    ['another rank', (g) => (g.tensors[1]!.dimensions[0] = 5), 'is [64, 5], and should be [64, 4]'],
    ['broken blocks', (g) => (g.tensors[1]!.type = 8), '4 columns are not whole blocks of Q8_0'],
    ['beyond the end', (g) => (g.tensors[1]!.offset = 2 ** 20), 'and the file ends at'],
    ['overlaps', (g) => (g.tensors[1]!.offset = 0), 'overlap at byte'],
    ['nothing', (g) => (g.tensors.length = 0), 'has no tensors of an adapter'],
  ])('%s is wrong', async (_, change, message) => {
    const gguf = build();
    change(gguf);
    await refused(read(gguf), 'INVALID_FILE', message);
  });
});

describe('paths', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'tramontane-refused-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  test('of what is no adapter', async () => {
    await refused(openAdapter(join(directory, 'none'), ADAPTED), 'FILE_NOT_READABLE', 'none');
    await refused(openAdapter(directory, ADAPTED), 'FILE_NOT_READABLE', 'adapter_config.json');
    writeFileSync(join(directory, 'adapter_config.json'), '{}');
    await refused(
      openAdapter(directory, ADAPTED),
      'FILE_NOT_READABLE',
      'adapter_model.safetensors',
    );
    writeFileSync(join(directory, 'adapter_model.bin'), 'PK');
    await refused(openAdapter(directory, ADAPTED), 'UNSUPPORTED_FILE', 'a pickle');
    const text = join(directory, 'text.txt');
    writeFileSync(text, 'hello');
    await refused(openAdapter(text, ADAPTED), 'INVALID_FILE', 'no adapter');
  });
});
