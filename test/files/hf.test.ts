/** Hugging Face directories: config.json's spellings, shards, and what is refused. */
import type { Checkpoint } from '../../lib/files/checkpoint';
import { JsonObject } from '../../lib/files/json-object';
import { readHfCheckpoint } from '../../lib/files/hf/checkpoint';
import { HfBuilder } from './hf-builder';
import { MemoryFolder } from './memory';
import { refused } from './refused';

const open = (hf: HfBuilder, only?: string): Promise<Checkpoint> =>
  readHfCheckpoint(hf.folder(), 'given', only);

describe('config.json', () => {
  test('a plain model', async () => {
    const checkpoint = await open(new HfBuilder());
    expect(checkpoint).toMatchObject({ path: 'given', kind: 'safetensors', endTokens: [2] });
    expect(checkpoint.shape).toEqual({
      layers: 1,
      hiddenSize: 64,
      ffnSize: 96,
      heads: 4,
      kvHeads: 2,
      headSize: 16,
      vocabularySize: 32,
      contextSize: 256,
      rmsEpsilon: 1e-5,
      ropeBase: 10_000,
      ropePairing: 'halves',
    });
    expect(checkpoint.formats).toEqual({ BF16: 12 });
  });

  test('the rope base: old key, new key, none', async () => {
    const hf = new HfBuilder();
    hf.config['rope_theta'] = 5e5;
    expect((await open(hf)).shape.ropeBase).toBe(5e5);
    delete hf.config['rope_theta'];
    hf.config['rope_parameters'] = { rope_theta: 1e6, rope_type: 'default' };
    expect((await open(hf)).shape.ropeBase).toBe(1e6);
    delete hf.config['rope_parameters'];
    expect((await open(hf)).shape.ropeBase).toBe(1e4);
  });

  test('head_dim is its own number', async () => {
    const hf = new HfBuilder({ ...new HfBuilder().shape, heads: 2, kvHeads: 2 });
    hf.config['head_dim'] = 8;
    const sizes: Record<string, number[]> = { q: [16, 64], k: [16, 64], v: [16, 64], o: [64, 16] };
    for (const [letter, shape] of Object.entries(sizes)) {
      const tensor = hf.find(`model.layers.0.self_attn.${letter}_proj.weight`);
      tensor.shape = shape;
      tensor.byteLength = 2 * 16 * 64;
    }
    expect((await open(hf)).shape).toMatchObject({ headSize: 8, hiddenSize: 64 });
  });

  test('a Llama without architectures, and nulls where values may be missing', async () => {
    const hf = new HfBuilder();
    delete hf.config['architectures'];
    Object.assign(hf.config, { model_type: 'llama', head_dim: null, rope_scaling: null });
    expect((await open(hf)).architecture).toBe('llama');
  });

  test('a tied output is the embedding, whatever lm_head holds', async () => {
    const hf = new HfBuilder();
    hf.config['tie_word_embeddings'] = true;
    for (const remove of [false, true]) {
      if (remove) hf.remove('lm_head.weight');
      const { weights, formats } = await open(hf);
      expect(weights.at(-1)).toEqual({ ...weights[0], role: 'output' });
      expect(formats).toEqual({ BF16: 11 });
    }
  });

  test('end tokens of both files, a list or one', async () => {
    const hf = new HfBuilder();
    hf.files['generation_config.json'] = JSON.stringify({ eos_token_id: [7, 2] });
    expect((await open(hf)).endTokens).toEqual([7, 2]);
    hf.config['eos_token_id'] = 9;
    expect((await open(hf)).endTokens).toEqual([7, 2, 9]);
    delete hf.files['generation_config.json'];
    hf.config['eos_token_id'] = null;
    expect((await open(hf)).endTokens).toEqual([]);
  });

  test('an end token that the model does not have counts as absent', async () => {
    const hf = new HfBuilder();
    hf.files['generation_config.json'] = JSON.stringify({ eos_token_id: [-1, 7, 32] });
    hf.config['eos_token_id'] = 4_294_967_295;
    expect((await open(hf)).endTokens).toEqual([7]);
  });

  test('linear scaling of rope by a factor of 1 is none', async () => {
    const hf = new HfBuilder();
    hf.config['rope_scaling'] = { type: 'linear', factor: 1 };
    expect((await open(hf)).weights).toHaveLength(12);
  });

  test('JSON as Python writes it: a byte order mark, NaN and infinities', async () => {
    const hf = new HfBuilder();
    const text = JSON.stringify({ ...hf.config, a: 0, b: 0 });
    hf.files['config.json'] =
      `\ufeff${text.replace('"a":0', '"a":NaN').replace('"b":0', '"b":[-Infinity]')}`;
    hf.files['generation_config.json'] = '\ufeff{"eos_token_id":[3],"temperature":NaN}';
    expect((await open(hf)).endTokens).toEqual([3, 2]);
    hf.files['config.json'] = text.replace('"rope_theta":10000', '"rope_theta":NaN');
    await refused(open(hf), 'INVALID_FILE', 'rope_theta is "NaN", not a number');
  });

  test('the chat template: a file, a string, or the default of a list, and one for tools', async () => {
    const hf = new HfBuilder();
    expect(await open(hf)).not.toHaveProperty('chatTemplate');
    const set = (template: unknown): void => {
      hf.files['tokenizer_config.json'] = JSON.stringify({ chat_template: template });
    };
    set('one');
    expect((await open(hf)).chatTemplate).toBe('one');
    const list = [
      { name: 'tool_use', template: 'two' },
      { name: 'default', template: 'three' },
    ];
    set(list);
    expect(await open(hf)).toMatchObject({ chatTemplate: 'three', toolTemplate: 'two' });
    set(list.slice(0, 1));
    expect(await open(hf)).toMatchObject({ toolTemplate: 'two' });
    expect(await open(hf)).not.toHaveProperty('chatTemplate');
    hf.files['chat_template.jinja'] = 'four';
    expect(await open(hf)).toMatchObject({ chatTemplate: 'four', toolTemplate: 'two' });
    set(['a', 'b']);
    await refused(open(hf), 'INVALID_FILE', 'chat_template has "a" in its list');
    set(7);
    await refused(open(hf), 'INVALID_FILE', 'chat_template is 7, not a string');
  });

  test.each<[string, string, Record<string, unknown>, string]>([
    ['INVALID_FILE', 'no hidden size', { hidden_size: undefined }, 'hidden_size is missing'],
    ['INVALID_FILE', 'a hidden size that is text', { hidden_size: '64' }, 'hidden_size is "64"'],
    ['INVALID_FILE', 'no vocabulary', { vocab_size: 0 }, 'vocab_size is 0'],
    ['INVALID_FILE', 'another vocabulary', { vocab_size: 40 }, 'model.embed_tokens.weight'],
    ['INVALID_FILE', 'heads that do not divide', { num_attention_heads: 6 }, 'num_attention_heads'],
    ['INVALID_FILE', 'a window that is text', { sliding_window: '4096' }, 'is "4096", not an'],
    ['INVALID_FILE', 'a window that is a list', { sliding_window: [4096] }, 'is a list, not an'],
    ['INVALID_FILE', 'rope_scaling that is text', { rope_scaling: 'x' }, 'rope_scaling is "x"'],
    ['INVALID_FILE', 'a list as rope_parameters', { rope_parameters: [] }, 'is a list, not an'],
    ['INVALID_FILE', 'an end token that is text', { eos_token_id: ['</s>'] }, 'eos_token_id'],
    ['INVALID_FILE', 'more layers than tensors', { num_hidden_layers: 2 }, 'model.layers.1'],
    ['UNSUPPORTED_FILE', 'another architecture', { architectures: ['Qwen3ForCausalLM'] }, 'Qwen3'],
    ['UNSUPPORTED_FILE', 'another model type', { model_type: 'mixtral' }, 'mixtral'],
    ['UNSUPPORTED_FILE', 'an architecture of no text', { architectures: [{}] }, 'architectures'],
    ['UNSUPPORTED_FILE', 'another activation', { hidden_act: 'gelu' }, 'hidden_act is "gelu"'],
    ['UNSUPPORTED_FILE', 'biases', { attention_bias: true }, 'attention_bias'],
    ['UNSUPPORTED_FILE', 'MLP biases', { mlp_bias: true }, 'mlp_bias'],
    ['UNSUPPORTED_FILE', 'partial rotation', { partial_rotary_factor: 0.5 }, 'partial_rotary'],
    ['UNSUPPORTED_FILE', 'llama3 rope', { rope_scaling: { rope_type: 'llama3' } }, '"llama3"'],
    ['UNSUPPORTED_FILE', 'linear rope', { rope_scaling: { type: 'linear', factor: 2 } }, 'linear'],
    ['UNSUPPORTED_FILE', 'a factor alone', { rope_scaling: { factor: 2 } }, 'factor 2'],
    ['UNSUPPORTED_FILE', 'new yarn', { rope_parameters: { rope_type: 'yarn' } }, '"yarn"'],
  ])('%s: %s', async (code, _, change, message) => {
    const hf = new HfBuilder();
    Object.assign(hf.config, change);
    await refused(open(hf), code as 'INVALID_FILE', message);
  });

  test.each(['', '{', '[]', '"x"', '{"hidden_size": NaN}', '{"a": 1}x'])(
    'JSON %p',
    async (text) => {
      const hf = new HfBuilder();
      hf.files['config.json'] = text;
      await refused(open(hf), 'INVALID_FILE', 'config.json: ');
    },
  );

  test('a deeply nested config.json', async () => {
    const hf = new HfBuilder();
    hf.files['config.json'] = '{"a":' + '['.repeat(60);
    await refused(open(hf), 'INVALID_FILE', 'config.json: not JSON');
    hf.files['config.json'] = `{"model_type":${'['.repeat(60)}${']'.repeat(60)}}`;
    await refused(open(hf), 'INVALID_FILE', 'model_type');
  });

  test('a config.json beyond all measure is not read', async () => {
    const hf = new HfBuilder();
    hf.files['config.json'] = { start: Buffer.from('{'), byteLength: 100_000_001 };
    const folder = hf.folder();
    await refused(
      readHfCheckpoint(folder, 'given'),
      'INVALID_FILE',
      'config.json: 100000001 bytes',
    );
    expect(folder.opened[0]!.bytesRead).toBe(0);
  });

  test('keys of Object.prototype are not values', async () => {
    const hf = new HfBuilder();
    delete hf.config['hidden_size'];
    const text = JSON.stringify(hf.config);
    hf.files['config.json'] = `{"__proto__":{"hidden_size":64},${text.slice(1)}`;
    await refused(open(hf), 'INVALID_FILE', 'hidden_size is missing');
    const facts = new JsonObject('x.json', { a: { b: 1 } });
    expect([facts.raw('a.b'), facts.raw('toString'), facts.raw('a.constructor')]).toEqual([
      1,
      undefined,
      undefined,
    ]);
  });
});

describe('tensors', () => {
  test.each(['F32', 'F16', 'BF16'])('%s', async (type) => {
    const hf = new HfBuilder();
    for (const tensor of hf.tensors) {
      tensor.byteLength *= type === 'F32' ? 2 : 1;
      tensor.type = type;
    }
    expect((await open(hf)).formats).toEqual({ [type]: 12 });
  });

  test('stored rotation frequencies and biases of zeros change nothing', async () => {
    const hf = new HfBuilder()
      .add('model.layers.0.self_attn.rotary_emb.inv_freq', 'F32', [8])
      .add('model.layers.0.self_attn.q_proj.bias', 'F16', [64]);
    expect((await open(hf)).weights).toHaveLength(12);
  });

  test.each<[string, (hf: HfBuilder) => unknown, string]>([
    [
      'a bias that says something',
      (hf) => hf.add('model.layers.0.mlp.up_proj.bias', 'F16', [96], Buffer.alloc(192, 1)),
      'up_proj.bias": layers with a bias',
    ],
    ['a norm with a bias', (hf) => hf.add('model.norm.bias', 'F16', [64]), 'model.norm.bias'],
    ['FP8', (hf) => (hf.find('lm_head.weight').type = 'F8_E4M3'), 'lm_head.weight" is "F8_E4M3"'],
    [
      'compressed tensors',
      (hf) => (hf.find('lm_head.weight').name = 'lm_head.weight_packed'),
      'compressed-tensors',
    ],
    [
      'bitsandbytes',
      (hf) => hf.add('model.layers.0.mlp.up_proj.weight.absmax', 'F32', [8]),
      'bitsandbytes',
    ],
    ['Marlin', (hf) => (hf.find('lm_head.weight').name = 'lm_head.B'), 'repacked for Marlin'],
    ['EXL2', (hf) => (hf.find('lm_head.weight').name = 'lm_head.q_weight'), 'EXL2'],
    [
      'experts',
      (hf) => hf.add('model.layers.0.block_sparse_moe.experts.0.w1.weight', 'BF16', [8]),
      'mixture of experts',
    ],
    ['a LoRA adapter', (hf) => hf.add('model.x.lora_A.weight', 'BF16', [8]), 'LoRA'],
    [
      "Mistral's own names",
      (hf) => (hf.find('lm_head.weight').name = 'layers.0.attention.wq.weight'),
      "in Mistral's own layout",
    ],
    ['a stranger', (hf) => hf.add('vision.weight', 'BF16', [8]), '"vision.weight" belongs to no'],
  ])('unsupported: %s', async (_, spoil, message) => {
    const hf = new HfBuilder();
    spoil(hf);
    for (const tensor of hf.tensors) {
      const values = tensor.shape.reduce((product, size) => product * size, 1);
      if (tensor.type === 'F8_E4M3') tensor.byteLength = values;
    }
    await refused(
      open(hf),
      'UNSUPPORTED_FILE',
      'memory/model.safetensors: ',
      message,
      /at byte \d+/,
    );
  });

  test.each<[string, (hf: HfBuilder) => unknown, string]>([
    ['one is missing', (hf) => hf.remove('model.norm.weight'), '"model.norm.weight" is missing'],
    ['lm_head is missing', (hf) => hf.remove('lm_head.weight'), '"lm_head.weight" is missing'],
    [
      'a wrong shape',
      (hf) => (hf.find('model.layers.0.mlp.up_proj.weight').shape = [64, 96]),
      `up_proj.weight" is [64, 96], and this model's is [96, 64]`,
    ],
    ['a norm of two dimensions', (hf) => (hf.find('model.norm.weight').shape = [1, 64]), '[1, 64]'],
    [
      'quantized without a word',
      (hf) => (hf.find('lm_head.weight').name = 'lm_head.qweight'),
      'lm_head.qweight" is quantized, and neither config.json nor quantize_config.json says how',
    ],
  ])('invalid: %s', async (_, spoil, message) => {
    const hf = new HfBuilder();
    spoil(hf);
    await refused(open(hf), 'INVALID_FILE', 'memory/model.safetensors: ', message);
  });
});

describe('shards', () => {
  const half = (name: string): string =>
    name.includes('mlp') ? 'model-00002-of-00002.safetensors' : 'model-00001-of-00002.safetensors';

  function sharded(): HfBuilder {
    const hf = new HfBuilder();
    hf.shards = half;
    return hf;
  }

  test('weights name the shard they are in', async () => {
    const hf = sharded();
    const checkpoint = await open(hf);
    expect(checkpoint.files.map(({ path }) => path)).toEqual([
      'memory/model-00001-of-00002.safetensors',
      'memory/model-00002-of-00002.safetensors',
    ]);
    for (const { name, storage } of checkpoint.weights) {
      if (storage.format === 'GPTQ') throw new Error('not plain');
      expect(checkpoint.files[storage.range.file]!.path).toBe(`memory/${half(name)}`);
    }
  });

  test('naming one shard opens them all', async () => {
    expect((await open(sharded(), 'model-00002-of-00002.safetensors')).files).toHaveLength(2);
  });

  test('every file is closed, when it works and when it fails', async () => {
    for (const spoil of [false, true]) {
      const hf = sharded();
      if (spoil) hf.remove('model.norm.weight');
      const folder = hf.folder();
      await readHfCheckpoint(folder, 'given').catch(() => undefined);
      expect(folder.opened.length).toBeGreaterThan(4);
      for (const file of folder.opened) expect([file.path, file.closed]).toEqual([file.path, 1]);
    }
  });

  test('a shard that is not there', async () => {
    const contents = sharded().contents();
    delete contents['model-00002-of-00002.safetensors'];
    await refused(
      readHfCheckpoint(new MemoryFolder(contents), 'given'),
      'FILE_NOT_READABLE',
      'model-00002-of-00002.safetensors: not there',
      'model.safetensors.index.json puts tensor "model.layers.0.mlp.gate_proj.weight" into it',
    );
  });

  test('a tensor in two shards', async () => {
    const hf = sharded();
    hf.shards = (name) => (name === 'again' ? half('mlp') : half(name));
    hf.add('again', 'BF16', [64]);
    const contents = hf.contents();
    const second = contents['model-00002-of-00002.safetensors'] as { start: Buffer };
    const place = second.start.indexOf('"again"');
    expect(place).toBeGreaterThan(0);
    // The same length: "again" with spaces behind it becomes a shorter name without.
    const text = second.start
      .toString('latin1')
      .replace('"again":{"dtype"', '"model.norm.weight":{"dtype"');
    const json = Buffer.from(text.slice(8), 'latin1');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    contents['model-00002-of-00002.safetensors'] = {
      start: Buffer.concat([length, json]),
      byteLength: 8 + json.length + 3 * 64 * 96 * 2 + 128,
    };
    const index = { weight_map: sharded().weightMap() };
    contents['model.safetensors.index.json'] = JSON.stringify(index);
    await refused(
      readHfCheckpoint(new MemoryFolder(contents), 'given'),
      'INVALID_FILE',
      'tensor "model.norm.weight" is also in "model-00001-of-00002.safetensors"',
    );
  });

  test('a tensor that is not where the index says', async () => {
    const hf = sharded();
    const map = hf.weightMap();
    map['model.norm.weight'] = 'model-00002-of-00002.safetensors';
    hf.files['model.safetensors.index.json'] = JSON.stringify({ weight_map: map });
    await refused(
      open(hf),
      'INVALID_FILE',
      'model-00002-of-00002.safetensors: tensor "model.norm.weight" is missing',
    );
  });

  test.each(['../secret.safetensors', '/etc/passwd', 'a\\b.safetensors', 'model.bin', 7, null])(
    'an index that points to %p',
    async (file) => {
      const hf = sharded();
      const map = { ...hf.weightMap(), 'model.norm.weight': file };
      hf.files['model.safetensors.index.json'] = JSON.stringify({ weight_map: map });
      await refused(open(hf), 'INVALID_FILE', 'weight_map puts "model.norm.weight" into');
    },
  );

  test('an index without a map', async () => {
    const hf = sharded();
    hf.files['model.safetensors.index.json'] = '{}';
    await refused(open(hf), 'INVALID_FILE', 'weight_map is not an object');
  });
});

describe('which files hold the weights', () => {
  test('model.safetensors, or the only one there is', async () => {
    const hf = new HfBuilder();
    hf.weightsName = 'gptq_model-4bit-128g.safetensors';
    expect((await open(hf)).files[0]!.path).toBe('memory/gptq_model-4bit-128g.safetensors');
    hf.files['consolidated.safetensors'] = 'not looked at';
    expect((await open(hf)).files).toHaveLength(1);
  });

  test('two: the user must name one', async () => {
    const hf = new HfBuilder();
    hf.weightsName = 'one.safetensors';
    hf.files['two.safetensors'] = 'not looked at';
    await refused(open(hf), 'INVALID_FILE', 'holds 2 safetensors files; name the one to open');
    expect((await open(hf, 'one.safetensors')).weights).toHaveLength(12);
  });

  test.each([
    ['consolidated.safetensors', 'UNSUPPORTED_FILE', "Mistral's own layout"],
    ['pytorch_model.bin', 'UNSUPPORTED_FILE', '"pytorch_model.bin" and no safetensors'],
    ['README.md', 'FILE_NOT_READABLE', 'holds no weights'],
  ])('only %s', async (name, code, message) => {
    const hf = new HfBuilder();
    hf.weightsName = name;
    await refused(open(hf), code as 'INVALID_FILE', message);
  });
});
