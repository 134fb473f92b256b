/** GPTQ directories: every variant that is read, every one that is not, every bound. */
import type { Checkpoint, GptqParts, Weight } from '../../lib/files/checkpoint';
import { readHfCheckpoint } from '../../lib/files/hf/checkpoint';
import { HfBuilder, TINY_HF, type GptqSettings } from './hf-builder';
import { MemoryFolder } from './memory';
import { refused } from './refused';

const SETTINGS: GptqSettings = { bits: 4, groupSize: 32 };

const gptq = (settings: Partial<GptqSettings> = {}): HfBuilder =>
  new HfBuilder(TINY_HF, { ...SETTINGS, ...settings });

const open = (hf: HfBuilder): Promise<Checkpoint> => readHfCheckpoint(hf.folder(), 'given');

function weightOf({ weights }: Checkpoint, name: string): Weight {
  const found = weights.find((weight) => weight.name === name);
  if (found === undefined) throw new Error(`no weight ${name}`);
  return found;
}

function partsOf(checkpoint: Checkpoint, name: string): GptqParts {
  const { storage } = weightOf(checkpoint, name);
  if (storage.format !== 'GPTQ') throw new Error(`${name} is ${storage.format}`);
  return storage.gptq;
}

const UP = 'model.layers.0.mlp.up_proj';
const DOWN = 'model.layers.0.mlp.down_proj';

describe('what is read', () => {
  test.each(
    [2, 3, 4, 8].flatMap((bits) => [-1, 16, 32, 64, 128].map((groupSize) => [bits, groupSize])),
  )('%d bits, groups of %d', async (bits, groupSize) => {
    const checkpoint = await open(gptq({ bits: bits, groupSize: groupSize }));
    expect(checkpoint.kind).toBe('gptq');
    const size = groupSize === -1 ? 96 : Math.min(groupSize, 96);
    const down = partsOf(checkpoint, DOWN);
    expect(down).toMatchObject({ bits, groupSize: size, zeroBias: 1, actOrder: false });
    const groups = Math.ceil(96 / size);
    expect(down.qweight.byteLength).toBe((96 * 64 * bits) / 8);
    expect(down.qzeros.byteLength).toBe((groups * 64 * bits) / 8);
    expect(down.scales).toMatchObject({ format: 'F16', byteLength: 2 * groups * 64 });
    const name = `GPTQ-${bits}bit-g${groupSize === -1 ? 'all' : groupSize}`;
    expect(checkpoint.formats).toEqual({ BF16: 5, [name]: 7 });
  });

  test.each(['F16', 'BF16', 'F32'])('scales of %s', async (scales) => {
    expect(partsOf(await open(gptq({ scales })), UP).scales.format).toBe(scales);
  });

  test('act-order is what g_idx says, whatever desc_act says', async () => {
    const ordered = gptq({ actOrder: true });
    ordered.quantization()['desc_act'] = false;
    const parts = partsOf(await open(ordered), UP);
    expect(parts.actOrder).toBe(true);
    expect(parts.groupIndex?.byteLength).toBe(4 * 64);
    const sorted = gptq();
    sorted.quantization()['desc_act'] = true;
    expect(partsOf(await open(sorted), UP)).not.toHaveProperty('groupIndex');
  });

  test('without act-order g_idx may be missing, or zeros as old files have it', async () => {
    const hf = gptq();
    hf.remove(`${UP}.g_idx`);
    hf.find(`${DOWN}.g_idx`).data = Buffer.alloc(4 * 96);
    const checkpoint = await open(hf);
    for (const name of [UP, DOWN]) {
      expect(partsOf(checkpoint, name)).toMatchObject({ actOrder: false });
    }
  });

  test.each([
    [{ checkpoint_format: 'gptq' }, 1],
    [{ checkpoint_format: 'gptq_v2' }, 0],
    [{ checkpoint_format: undefined }, 1],
    [{ checkpoint_format: undefined, format: 'gptq_v2' }, 0],
    [{ checkpoint_format: 'gptq_v2', format: 'gptq_v2' }, 0],
  ])('zeros of %p are offset by %d', async (change, zeroBias) => {
    const hf = gptq();
    Object.assign(hf.quantization(), change);
    expect(partsOf(await open(hf), UP).zeroBias).toBe(zeroBias);
  });

  test('a plain or a quantized lm_head', async () => {
    const checkpoint = await open(gptq({ quantized: () => true }));
    expect(partsOf(checkpoint, 'lm_head')).toMatchObject({ bits: 4, groupSize: 32 });
    expect(checkpoint.formats).toEqual({ BF16: 4, 'GPTQ-4bit-g32': 8 });
    expect(weightOf(await open(gptq()), 'lm_head.weight').storage.format).toBe('BF16');
  });

  test('modules left in 16 bits, with or without a word about them', async () => {
    const hf = gptq({ quantized: (module) => module !== UP && module !== 'lm_head' });
    expect((await open(hf)).formats).toEqual({ BF16: 6, 'GPTQ-4bit-g32': 6 });
    hf.quantization()['dynamic'] = { '-:.*up_proj.*': {} };
    expect((await open(hf)).formats).toEqual({ BF16: 6, 'GPTQ-4bit-g32': 6 });
  });

  test('the configuration in quantize_config.json, as AutoGPTQ wrote it', async () => {
    const hf = gptq();
    hf.files['quantize_config.json'] = JSON.stringify({
      bits: 4,
      group_size: 32,
      damp_percent: 0.1,
      desc_act: false,
      sym: true,
      true_sequential: true,
      model_name_or_path: null,
    });
    hf.weightsName = 'gptq_model-4bit-32g.safetensors';
    delete hf.config['quantization_config'];
    expect(partsOf(await open(hf), UP)).toMatchObject({ bits: 4, groupSize: 32, zeroBias: 1 });
  });

  test('config.json goes before quantize_config.json', async () => {
    const hf = gptq();
    hf.files['quantize_config.json'] = JSON.stringify({ bits: 8, group_size: 64 });
    expect(partsOf(await open(hf), UP)).toMatchObject({ bits: 4, groupSize: 32 });
  });

  test('a quantize_config.json beside plain weights makes no GPTQ of them', async () => {
    const hf = new HfBuilder();
    hf.files['quantize_config.json'] = JSON.stringify({ bits: 4, group_size: 32 });
    expect((await open(hf)).kind).toBe('safetensors');
  });

  test('shards split a module', async () => {
    const hf = gptq();
    hf.shards = (name) => (name.endsWith('qweight') ? 'b.safetensors' : 'a.safetensors');
    const { qweight, scales } = partsOf(await open(hf), UP);
    expect([qweight.file, scales.file]).toEqual([1, 0]);
  });

  test('biases of zeros, which early AutoGPTQ wrote', async () => {
    const hf = gptq().add(`${UP}.bias`, 'F16', [96]);
    expect((await open(hf)).weights).toHaveLength(12);
  });
});

describe('dynamic', () => {
  /** Quantizes up_proj in 8 bits by 16, all others in 4 bits by 32. */
  async function rulesUnder(dynamic: Record<string, unknown>): Promise<GptqParts> {
    const hf = gptq();
    const other = gptq({ bits: 8, groupSize: 16 });
    for (const part of ['qweight', 'qzeros', 'scales', 'g_idx']) {
      Object.assign(hf.find(`${UP}.${part}`), other.find(`${UP}.${part}`));
    }
    hf.quantization()['dynamic'] = dynamic;
    return partsOf(await open(hf), UP);
  }
  const override = { bits: 8, group_size: 16 };

  test.each([
    ['+:.*up_proj.*'],
    ['.*up_proj'],
    ['+:model\\.layers\\.0\\.mlp\\.up_proj$'],
    ['+:model\\.layers\\.(0|7)\\.mlp\\.(?!gate)(?:up|down)_proj(?<!down_proj)'],
    ['+:model.layers.[0-9]+.mlp.u.{1}_proj'],
  ])('%s', async (pattern) => {
    expect(await rulesUnder({ [pattern]: override })).toMatchObject({ bits: 8, groupSize: 16 });
  });

  test('the first match counts', async () => {
    const dynamic = { '+:.*gate.*': { bits: 2 }, '+:.*up.*': override, '+:.*': { bits: 3 } };
    await refused(rulesUnder(dynamic), 'INVALID_FILE', 'q_proj.qweight');
    const good = { '+:.*up.*': override, '+:.*up_proj': { bits: 3 } };
    expect((await rulesUnder(good)).bits).toBe(8);
  });

  test('a pattern matches from the start of a name and not in its middle', async () => {
    await refused(rulesUnder({ '+:up_proj': override }), 'INVALID_FILE', 'up_proj.qweight');
  });

  test('what an override does not say stays', async () => {
    const hf = gptq();
    hf.quantization()['checkpoint_format'] = 'gptq_v2';
    hf.quantization()['dynamic'] = { '+:.*': { damp_percent: 0.1 }, '-:.*': {} };
    expect(partsOf(await open(hf), UP)).toMatchObject({ bits: 4, groupSize: 32, zeroBias: 0 });
  });

  test.each<[string, unknown, string]>([
    ['a pattern of another language', { '(?P<n>x)': {} }, 'has the pattern "(?P<n>x)"'],
    ['an anchor of another language', { '\\Amodel': {} }, '"\\\\A" is not known'],
    ['inline flags', { '(?i)MODEL': {} }, 'is not known'],
    ['possessive quantifiers', { 'a++': {} }, 'is not known'],
    ['a pattern that does not compile', { '+:(': {} }, 'has the pattern "("'],
    ['an endless pattern', { ['a'.repeat(1001)]: {} }, 'has the pattern "aaa'],
    ['bits that are not read', { '.*': { bits: 5 } }, 'bits is 5'],
    ['another packing', { '.*': { pack_dtype: 'int8' } }, 'pack_dtype is "int8"'],
  ])('unsupported: %s', async (_, dynamic, message) => {
    const hf = gptq();
    hf.quantization()['dynamic'] = dynamic;
    await refused(open(hf), 'UNSUPPORTED_FILE', 'config.json: quantization_config', message);
  });

  test.each([[[]], ['x'], [{ '.*': 4 }], [{ '.*': null }]])('invalid: %p', async (dynamic) => {
    const hf = gptq();
    hf.quantization()['dynamic'] = dynamic;
    await refused(open(hf), 'INVALID_FILE', 'dynamic');
  });

  test('a pattern that would take forever is given up', async () => {
    const hf = gptq();
    hf.quantization()['dynamic'] = { '+:(([a-z._0-9]+)+)+!': {} };
    const start = performance.now();
    await refused(open(hf), 'UNSUPPORTED_FILE', 'dynamic', 'takes too long');
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('inputs in the order of their groups', () => {
  test.each<[string, Partial<GptqSettings>, number | undefined]>([
    ['none is needed without act-order', {}, undefined],
    ['groups of a whole column', { groupSize: -1, actOrder: true }, undefined],
    ['groups in another order, of whole blocks', { actOrder: true }, undefined],
    ['groups that are parts of blocks', { groupSize: 16 }, 6 * 32],
  ])('%s', async (_, settings, columns) => {
    expect(partsOf(await open(gptq(settings)), DOWN).orderedColumns).toBe(columns);
  });

  test('groups of any size are filled up to blocks, and one without inputs takes none', async () => {
    const hf = gptq({ actOrder: true });
    // 33 inputs of group 0, 63 of group 2.
    const order = Int32Array.from({ length: 96 }, (_, k) => (k % 3 === 0 || k === 1 ? 0 : 2));
    hf.find(`${DOWN}.g_idx`).data = Buffer.from(order.buffer);
    expect(partsOf(await open(hf), DOWN).orderedColumns).toBe(64 + 64);
  });
});

describe('what is said in short', () => {
  test('bits, groups, order, zeros and what is not quantized', async () => {
    expect((await open(gptq())).gptq).toEqual({
      bits: 4,
      groupSize: 32,
      actOrder: false,
      symmetric: true,
      zeroFormat: 'v1',
      plainModules: ['lm_head'],
      otherModules: {},
    });
    const other = gptq({ bits: 3, groupSize: -1, quantized: () => true });
    other.quantization()['checkpoint_format'] = 'gptq_v2';
    other.quantization()['sym'] = false;
    expect((await open(other)).gptq).toEqual({
      bits: 3,
      groupSize: null,
      actOrder: false,
      symmetric: false,
      zeroFormat: 'v2',
      plainModules: [],
      otherModules: {},
    });
  });

  test('act-order of one module is act-order', async () => {
    const hf = gptq();
    hf.find(`${DOWN}.g_idx`).data!.writeInt32LE(2, 0);
    expect((await open(hf)).gptq).toMatchObject({ actOrder: true });
  });

  test('nothing about being symmetric where the file says nothing', async () => {
    const hf = gptq();
    delete hf.quantization()['sym'];
    expect((await open(hf)).gptq).not.toHaveProperty('symmetric');
    expect(await open(new HfBuilder())).not.toHaveProperty('gptq');
  });

  test('modules of many layers by ranges', async () => {
    const plain = /layers\.([0235]|10)\.mlp\.up_proj|layers\.1\.mlp\.down_proj/;
    const shape = { ...TINY_HF, layers: 11 };
    const hf = new HfBuilder(shape, { ...SETTINGS, quantized: (module) => !plain.test(module) });
    const eight = new HfBuilder(shape, { bits: 8, groupSize: 64 });
    for (const { name } of hf.tensors.filter((tensor) => /\.[7-9]\.mlp\.gate/.test(tensor.name))) {
      Object.assign(hf.find(name), eight.find(name));
    }
    hf.quantization()['dynamic'] = { '+:.*[7-9].mlp.gate.*': { bits: 8, group_size: 64 } };
    expect((await open(hf)).gptq).toMatchObject({
      plainModules: ['model.layers.0,2-3,5,10.mlp.up_proj', 'model.layers.1.mlp.down_proj'],
      otherModules: { 'model.layers.7-9.mlp.gate_proj': 'GPTQ-8bit-g64' },
    });
  });
});

describe('layouts that are refused', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['AWQ', { quant_method: 'awq' }, 'quant_method is "awq"; GPTQ in the gptq and gptq_v2'],
    ['bitsandbytes', { quant_method: 'bitsandbytes' }, '"bitsandbytes"'],
    ['bitsandbytes of old', { quant_method: undefined, load_in_4bit: true }, "bitsandbytes'"],
    ['compressed-tensors', { quant_method: 'compressed-tensors' }, '"compressed-tensors"'],
    ['GGUF in safetensors', { quant_method: 'gguf' }, '"gguf"'],
    ['another method under the new key', { method: 'qqq' }, 'method is "qqq"'],
    ['Marlin', { checkpoint_format: 'marlin' }, 'checkpoint_format is "marlin"'],
    ['Marlin of old', { is_marlin_format: true }, 'repacked for Marlin'],
    ['BitBLAS', { format: 'bitblas' }, 'format is "bitblas"'],
    ['5 bits', { bits: 5 }, 'bits is 5; 2, 3, 4 and 8 are supported'],
    ['words of 16 bits', { pack_dtype: 'int16' }, 'pack_dtype is "int16"'],
  ])('%s', async (_, change, message) => {
    const hf = gptq();
    Object.assign(hf.quantization(), change);
    await refused(open(hf), 'UNSUPPORTED_FILE', 'config.json: quantization_config: ', message);
  });

  test("AWQ's own configuration", async () => {
    const hf = new HfBuilder();
    hf.files['quant_config.json'] = JSON.stringify({ w_bit: 4, q_group_size: 128 });
    await refused(open(hf), 'UNSUPPORTED_FILE', "w_bit is AWQ's");
  });

  test('AWQ packing under the name of GPTQ', async () => {
    const hf = gptq();
    hf.find(`${UP}.qweight`).shape = [64, 12];
    await refused(open(hf), 'UNSUPPORTED_FILE', `${UP}.qweight" is I32 [64, 12], as AWQ packs it`);
  });

  test('a quantized embedding or norm', async () => {
    const hf = gptq();
    hf.find('model.embed_tokens.weight').name = 'model.embed_tokens.qweight';
    await refused(open(hf), 'UNSUPPORTED_FILE', 'only linear layers may be quantized');
  });
});

describe('checkpoints that are wrong', () => {
  test.each<[string, (hf: HfBuilder) => unknown, string]>([
    [
      'a configuration that is no object',
      (hf) => (hf.config['quantization_config'] = 4),
      'quantization_config is not an object',
    ],
    ['no bits', (hf) => delete hf.quantization()['bits'], 'bits is missing'],
    ['no group size', (hf) => delete hf.quantization()['group_size'], 'group_size is missing'],
    ['groups of none', (hf) => (hf.quantization()['group_size'] = 0), 'group_size is 0'],
    ['groups of -2', (hf) => (hf.quantization()['group_size'] = -2), 'group_size is -2'],
    ['bits that are text', (hf) => (hf.quantization()['bits'] = '4'), 'bits is "4"'],
    ['two zero formats', (hf) => (hf.quantization()['format'] = 'gptq_v2'), 'checkpoint_format is'],
    [
      'other bits than the shapes have',
      (hf) => (hf.quantization()['bits'] = 8),
      'q_proj.qweight" is I32 [8, 64], and not the I32 [16, 64] of 64 inputs and 64 outputs with 8 bits',
    ],
    [
      'other groups than the shapes have',
      (hf) => (hf.quantization()['group_size'] = 16),
      'q_proj.qzeros" is I32 [2, 8], and not the I32 [4, 8]',
    ],
    ['no qzeros', (hf) => hf.remove(`${UP}.qzeros`), `"${UP}.qzeros" is missing`],
    ['no scales', (hf) => hf.remove(`${UP}.scales`), `"${UP}.scales" is missing`],
    ['no qweight', (hf) => hf.remove(`${UP}.qweight`), `neither tensor "${UP}.weight" nor its`],
    [
      'both forms of a weight',
      (hf) => hf.add(`${UP}.weight`, 'BF16', [96, 64]),
      `"${UP}.qweight" and "${UP}.weight" are the same weight`,
    ],
    [
      'words of another type',
      (hf) => (hf.find(`${UP}.qweight`).type = 'F32'),
      `${UP}.qweight" is F32 [8, 96], and not the I32 [8, 96]`,
    ],
    [
      'a g_idx that is too short',
      (hf) => Object.assign(hf.find(`${UP}.g_idx`), { shape: [63], byteLength: 252 }),
      `${UP}.g_idx" is I32 [63], and not the I32 [64]`,
    ],
  ])('%s', async (_, spoil, message) => {
    const hf = gptq();
    spoil(hf);
    for (const tensor of hf.tensors) {
      if (tensor.data !== undefined) tensor.data = tensor.data.subarray(0, tensor.byteLength);
    }
    await refused(
      open(hf),
      'INVALID_FILE',
      /^memory\/(model\.safetensors|config\.json): /,
      message,
    );
  });

  test('a tensor in two shards, and a shard that is not there', async () => {
    const place = (name: string): string => (name.includes('mlp') ? 'b' : 'a') + '.safetensors';
    const twice = gptq();
    twice.shards = place;
    twice.add(`${UP}.qweight`, 'I32', [8, 96]);
    let second = false;
    twice.shards = (name) => {
      if (name !== `${UP}.qweight`) return place(name);
      second = !second;
      return second ? 'b.safetensors' : 'a.safetensors';
    };
    await refused(
      open(twice),
      'INVALID_FILE',
      `memory/b.safetensors: tensor "${UP}.qweight" is also in "a.safetensors"`,
    );
    const missing = gptq();
    missing.shards = place;
    const contents = missing.contents();
    delete contents['b.safetensors'];
    await refused(
      readHfCheckpoint(new MemoryFolder(contents), 'given'),
      'FILE_NOT_READABLE',
      'memory/b.safetensors: not there',
      'puts tensor "model.layers.0.mlp.gate_proj.g_idx" into it',
    );
  });

  test.each([
    ['too large', 2],
    ['negative', -1],
    ['huge', 2 ** 31 - 1],
  ])('a group in g_idx that is %s', async (_, group) => {
    const hf = gptq();
    const { data } = hf.find(`${UP}.g_idx`);
    data!.writeInt32LE(group, 4 * 17);
    const checkpoint = open(hf);
    await refused(
      checkpoint,
      'INVALID_FILE',
      `model.safetensors: tensor "${UP}.g_idx": input 17 is of group ${group}, and there are 2`,
      /at byte \d+/,
    );
  });

  test('of several safetensors files the one that the configuration names', async () => {
    const hf = gptq();
    hf.weightsName = 'gptq_model-4bit-32g.safetensors';
    hf.files['gptq_model-4bit-64g.safetensors'] = 'not looked at';
    await refused(open(hf), 'INVALID_FILE', 'holds 2 safetensors files; name the one to open');
    hf.quantization()['model_file_base_name'] = 'gptq_model-4bit-32g';
    expect((await open(hf)).files).toMatchObject([{ path: `memory/${hf.weightsName}` }]);
    hf.quantization()['model_file_base_name'] = 'gone';
    await refused(open(hf), 'INVALID_FILE', 'holds 2 safetensors files');
  });

  test('an empty g_idx is one that is not there', async () => {
    const hf = gptq();
    Object.assign(hf.find(`${UP}.g_idx`), { shape: [0], byteLength: 0, data: Buffer.of() });
    expect(partsOf(await open(hf), UP)).toMatchObject({ groupSize: 32, actOrder: false });
    hf.quantization()['desc_act'] = true;
    await refused(open(hf), 'INVALID_FILE', `${UP}.g_idx" is I32 [0], and not the I32 [64]`);
  });

  test('a g_idx of 64 bits, unless it is out of order', async () => {
    const hf = gptq();
    const order = BigInt64Array.from({ length: 64 }, (_, k) => BigInt(Math.floor(k / 32)));
    const data = Buffer.from(order.buffer);
    Object.assign(hf.find(`${UP}.g_idx`), { type: 'I64', byteLength: 512, data });
    const parts = partsOf(await open(hf), UP);
    expect(parts.actOrder).toBe(false);
    expect(parts).not.toHaveProperty('groupIndex');
    order.reverse();
    await refused(open(hf), 'UNSUPPORTED_FILE', `${UP}.g_idx" is I64 and out of order`);
    order[17] = -1n;
    await refused(open(hf), 'INVALID_FILE', 'input 17 is of group -1');
  });

  test('act-order without g_idx, or with a g_idx of zeros', async () => {
    const hf = gptq({ actOrder: true });
    hf.find(`${UP}.g_idx`).data = Buffer.alloc(4 * 64);
    await refused(open(hf), 'INVALID_FILE', `${UP}.g_idx" is all zeros`);
    hf.remove(`${UP}.g_idx`);
    await refused(open(hf), 'INVALID_FILE', `"${UP}.g_idx" is missing`);
  });

  test('scales of integers', async () => {
    const hf = gptq();
    hf.find(`${UP}.scales`).type = 'I16';
    await refused(open(hf), 'UNSUPPORTED_FILE', `${UP}.scales" is I16`, 'F16, BF16 and F32');
  });

  test('inputs that do not fill words', async () => {
    const hf = new HfBuilder({ ...TINY_HF, ffn: 24 }, { bits: 4, groupSize: -1 });
    await open(hf);
    const odd = new HfBuilder({ ...TINY_HF, ffn: 20 }, { bits: 4, groupSize: -1 });
    for (const tensor of odd.tensors) {
      tensor.shape = tensor.shape.map(Math.ceil);
      tensor.byteLength = tensor.shape.reduce((product, size) => product * size, 1) * 4;
      if (tensor.type !== 'I32') tensor.byteLength /= 2;
    }
    await refused(open(odd), 'INVALID_FILE', '4 bits of 20', 'not whole 32-bit words');
  });

  test('of several that are wrong the first is reported', async () => {
    for (let i = 0; i < 5; i++) {
      const hf = gptq();
      hf.remove('model.norm.weight');
      hf.find('model.layers.0.self_attn.k_proj.g_idx').data!.writeInt32LE(99, 0);
      hf.remove(`${DOWN}.scales`);
      await refused(open(hf), 'INVALID_FILE', 'k_proj.g_idx');
    }
  });
});
