/** GGUF headers: what is accepted, what is refused and where, and how little is read. */
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFile } from '../../lib/files/byte-source';
import type { Checkpoint } from '../../lib/files/checkpoint';
import { FORMATS } from '../../lib/files/formats';
import { readGgufCheckpoint } from '../../lib/files/gguf/checkpoint';
import { openCheckpoint } from '../../lib/files/open';
import {
  GgufBuilder,
  MISTRAL_7B,
  modelGguf,
  scalar,
  string,
  TINY,
  TYPES,
  u32,
  u64,
  type BuilderFormat,
  type TypeName,
} from './gguf-builder';
import { alone, MemoryFile } from './memory';
import { refused } from './refused';

const open = (gguf: GgufBuilder): Promise<Checkpoint> =>
  readGgufCheckpoint(gguf.file(), 'given', alone);

describe('GGUF: what is accepted', () => {
  test.each([2, 3])('version %d', async (version) => {
    const gguf = modelGguf();
    gguf.version = version;
    const checkpoint = await open(gguf);
    expect(checkpoint).toMatchObject({ path: 'given', kind: 'gguf', name: 'built' });
    expect(checkpoint.weights).toHaveLength(12);
  });

  test('general.alignment moves the data', async () => {
    const gguf = modelGguf().set('general.alignment', 'u32', 4096);
    gguf.alignment = 4096;
    const { weights } = await open(gguf);
    for (const { storage } of weights) {
      if (storage.format === 'GPTQ') throw new Error('GPTQ in GGUF');
      expect(storage.range.offset % 4096).toBe(0);
    }
  });

  test('the architecture is the prefix of the keys', async () => {
    const checkpoint = await open(modelGguf(TINY, 'mistral'));
    expect(checkpoint.architecture).toBe('mistral');
    expect(checkpoint.shape).toMatchObject({ hiddenSize: 64, heads: 4, headSize: 16 });
  });

  test('a missing output is the embedding again, counted once', async () => {
    const gguf = modelGguf();
    gguf.tensors.pop();
    const { weights, formats } = await open(gguf);
    const [embedding, output] = [weights[0]!, weights.at(-1)!];
    expect(output).toEqual({ ...embedding, role: 'output' });
    expect(formats).toEqual({ Q4_0: 8, F32: 3 });
  });

  test('integers of any width, and a rope base of either precision', async () => {
    const types: TypeName[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'];
    for (const type of types) {
      const { shape } = await open(modelGguf().set('llama.attention.head_count', type, 4));
      expect(shape.heads).toBe(4);
    }
    for (const type of ['f32', 'f64'] as const) {
      const { shape } = await open(modelGguf().set('llama.rope.freq_base', type, 1e6));
      expect(shape.ropeBase).toBe(1e6);
    }
  });

  test('without head_count_kv every query head has its own; without freq_base it is 10000', async () => {
    const gguf = modelGguf({ ...TINY, kvHeads: 4, ropeBase: null });
    const { shape } = await open(gguf.remove('llama.attention.head_count_kv'));
    expect(shape).toMatchObject({ heads: 4, kvHeads: 4, ropeBase: 10_000 });
  });

  test('heads need not be hidden / heads wide', async () => {
    const gguf = modelGguf()
      .set('llama.attention.key_length', 'u32', 32)
      .set('llama.attention.value_length', 'u32', 32)
      .set('llama.rope.dimension_count', 'u32', 32);
    gguf.find('blk.0.attn_q.weight').dimensions = [64, 128];
    gguf.find('blk.0.attn_k.weight').dimensions = [64, 64];
    gguf.find('blk.0.attn_v.weight').dimensions = [64, 64];
    gguf.find('blk.0.attn_output.weight').dimensions = [128, 64];
    for (const tensor of gguf.tensors) tensor.byteLength = 64 * 128;
    expect((await open(gguf)).shape.headSize).toBe(32);
  });

  test('end of sequence, of turn and of message each end a generation', async () => {
    const gguf = modelGguf()
      .set('tokenizer.ggml.eot_token_id', 'u32', 7)
      .set('tokenizer.ggml.eom_token_id', 'u32', 8);
    expect((await open(gguf)).endTokens).toEqual([2, 7, 8]);
    expect((await open(gguf.remove('tokenizer.ggml.eos_token_id'))).endTokens).toEqual([7, 8]);
  });

  test.each([
    ['u32', 32],
    ['u32', 4_294_967_295],
    ['i32', -1],
    ['u64', 2n ** 64n - 1n],
  ] as const)('the id %s %d is of no token: it counts as absent', async (type, id) => {
    const gguf = modelGguf();
    for (const name of ['bos', 'eos', 'eot', 'eom', 'unknown', 'padding']) {
      gguf.set(`tokenizer.ggml.${name}_token_id`, type, id);
    }
    const { endTokens, tokenizer } = await open(gguf);
    expect(endTokens).toEqual([]);
    expect(tokenizer).not.toHaveProperty('bosId');
    expect(tokenizer).not.toHaveProperty('eosId');
  });

  test('flags may be the numbers 0 and 1', async () => {
    for (const flag of [0, 1]) {
      const gguf = modelGguf().set('tokenizer.ggml.add_bos_token', 'u8', flag);
      expect((await open(gguf)).tokenizer).toHaveProperty('addBos', flag === 1);
    }
  });

  test('a name that is not UTF-8', async () => {
    const name = string(Buffer.from('Mém', 'latin1'));
    const gguf = modelGguf().raw('general.name', Buffer.concat([u32(TYPES.string), name]));
    expect((await open(gguf)).name).toBe('M\ufffdm');
  });

  test('fewer or more tokens than embeddings', async () => {
    for (const count of [1, 40]) {
      const tokens = Array.from({ length: count }, (_, id) => `t${id}`);
      const gguf = modelGguf().array('tokenizer.ggml.tokens', 'string', tokens);
      const { shape, tokenizer } = await open(gguf);
      expect(shape.vocabularySize).toBe(32);
      expect(tokenizer).toHaveProperty('pieces', tokens);
    }
  });

  test('a chat template, and one for tools', async () => {
    const gguf = modelGguf()
      .set('tokenizer.chat_template', 'string', 'one')
      .set('tokenizer.chat_template.tool_use', 'string', 'two');
    expect(await open(gguf)).toMatchObject({ chatTemplate: 'one', toolTemplate: 'two' });
  });

  describe('tensors that change nothing', () => {
    /** A file that ends with a tensor of these bytes. */
    function withLast(
      name: string,
      format: BuilderFormat,
      bytes: Buffer,
      count: number,
    ): MemoryFile {
      const { header, byteLength } = modelGguf().tensor(name, format, [count]).build();
      const start = Buffer.alloc(byteLength);
      header.copy(start);
      bytes.copy(start, byteLength - bytes.length);
      return new MemoryFile('memory.gguf', start);
    }

    test.each(['F32', 'F16', 'BF16'] as const)('a bias of zeros in %s', async (format) => {
      const bytes = Buffer.alloc(64 * FORMATS[format].blockBytes);
      const zeros = withLast('blk.0.attn_q.bias', format, bytes, 64);
      expect((await readGgufCheckpoint(zeros, 'given', alone)).weights).toHaveLength(12);
      bytes[bytes.length - 2] = 1;
      const other = withLast('blk.0.attn_q.bias', format, bytes, 64);
      await refused(readGgufCheckpoint(other, 'given', alone), 'UNSUPPORTED_FILE', 'a bias');
    });

    test('rope factors of one', async () => {
      const factors = new Float32Array(8).fill(1);
      const bytes = Buffer.from(factors.buffer);
      const ones = withLast('rope_freqs.weight', 'F32', bytes, 8);
      expect((await readGgufCheckpoint(ones, 'given', alone)).weights).toHaveLength(12);
      factors[7] = 8;
      const other = withLast('rope_freqs.weight', 'F32', bytes, 8);
      await refused(readGgufCheckpoint(other, 'given', alone), 'UNSUPPORTED_FILE', 'scales rope');
    });

    test('but not where the file ends before them', async () => {
      const { header } = modelGguf().tensor('blk.0.attn_q.bias', 'F32', [64]).build();
      const short = new MemoryFile('memory.gguf', header, header.length + 100);
      await refused(readGgufCheckpoint(short, 'given', alone), 'INVALID_FILE');
    });
  });

  test('values nobody asks for are stepped over, whatever their type', async () => {
    const gguf = modelGguf()
      .set('general.description', 'string', 'x'.repeat(1000))
      .array('general.tags', 'string', ['a', '', 'c'])
      .array('general.numbers', 'f64', [1, 2, 3])
      .set('general.flag', 'bool', true)
      .raw('general.invalid', Buffer.concat([u32(TYPES.string), string(Buffer.of(0xff, 0xfe))]));
    expect((await open(gguf)).weights).toHaveLength(12);
  });

  test('without tokenizer keys there is a shape and no vocabulary', async () => {
    const gguf = modelGguf();
    for (const { key } of [...gguf.values]) if (key.startsWith('tokenizer.')) gguf.remove(key);
    const checkpoint = await open(gguf);
    expect(checkpoint.shape.vocabularySize).toBe(32);
    expect(checkpoint.tokenizer).toEqual({
      kind: 'gguf',
      path: 'memory.gguf',
      model: '',
      pieces: [],
    });
  });

  test('a byte order mark and U+FFFD in a token stay', async () => {
    const tokens = Array.from({ length: 32 }, (_, id) => `t${id}`);
    tokens[5] = '\ufeffa';
    tokens[6] = '\ufffd';
    const { tokenizer } = await open(modelGguf().array('tokenizer.ggml.tokens', 'string', tokens));
    expect(tokenizer).toHaveProperty('pieces', tokens);
  });

  test('the rope scaling type none is none, and so is a factor of 1 or 0', async () => {
    const none = modelGguf()
      .set('llama.rope.scaling.type', 'string', 'none')
      .set('llama.rope.scaling.factor', 'f32', 8);
    await open(none);
    for (const factor of [0, 1]) {
      await open(modelGguf().set('llama.rope.scaling.factor', 'f32', factor));
    }
  });
});

describe('GGUF: what is refused, and the place it names', () => {
  const invalid: [string, (gguf: GgufBuilder) => unknown, ...(string | RegExp)[]][] = [
    ['another magic', (g) => (g.magic = 'GGUX'), 'starts with "GGUX"', 'at byte 0'],
    ['more tensors than the file holds', (g) => (g.tensorCount = 2n ** 40n), 'number of tensors'],
    ['more values than the file holds', (g) => (g.valueCount = 2n ** 63n), 'number of values'],
    [
      'too many tensors',
      (g) => {
        g.tensorCount = 70_000;
        g.find('output.weight').byteLength = 70_000 * 32;
      },
      /70000 tensors.*too many/,
      'at byte 8',
    ],
    [
      'a key twice',
      (g) => g.values.push({ key: 'general.name', bytes: Buffer.concat([u32(4), u32(1)]) }),
      'key "general.name" appears twice',
      /at byte \d+/,
    ],
    [
      'a value of no known type',
      (g) => g.raw('x.y', Buffer.concat([u32(13), u64(0)])),
      'key "x.y"',
      'no value type 13',
    ],
    [
      'an array of arrays',
      (g) => g.raw('x.y', Buffer.concat([u32(TYPES.array), u32(TYPES.array), u64(0)])),
      'key "x.y"',
      'array of type 9',
    ],
    [
      'an array longer than the file',
      (g) => g.raw('x.y', Buffer.concat([u32(TYPES.array), u32(TYPES.u64), u64(2n ** 60n)])),
      /x\.y: 11529215046068\d+ is more than the file can hold/,
      /at byte \d+/,
    ],
    [
      'a string longer than the file',
      (g) => g.raw('general.name', Buffer.concat([u32(TYPES.string), u64(2n ** 64n - 1n)])),
      'general.name',
      'more than the file can hold',
    ],
    [
      'a token that is not UTF-8',
      (g) => {
        const head = Buffer.concat([u32(TYPES.array), u32(TYPES.string), u64(1)]);
        g.raw('tokenizer.ggml.tokens', Buffer.concat([head, string(Buffer.of(0xc0, 0x80))]));
      },
      'tokenizer.ggml.tokens: a string is not UTF-8',
    ],
    ['scores that are text', (g) => g.array('tokenizer.ggml.scores', 'string', ['1']), 'floats'],
    ['scores of 8 bits', (g) => g.array('tokenizer.ggml.scores', 'u8', [1]), 'ggml.scores'],
    ['tokens that are numbers', (g) => g.array('tokenizer.ggml.tokens', 'i32', [1]), 'strings'],
    ['tokens that are no array', (g) => g.set('tokenizer.ggml.tokens', 'u32', 1), 'strings'],
    [
      'more tokens than any vocabulary has',
      (g) => {
        const head = Buffer.concat([u32(TYPES.array), u32(TYPES.string), u64(1_310_721)]);
        g.raw('tokenizer.ggml.tokens', head);
        g.find('output.weight').byteLength = 2 ** 30;
      },
      'tokenizer.ggml.tokens has 1310721 elements; at most 1310720',
    ],
    [
      'an end token that is text',
      (g) => g.set('tokenizer.ggml.eos_token_id', 'string', '</s>'),
      'eos_token_id is a string, not the id of a token',
    ],
    [
      'a window that is a list',
      (g) => g.array('llama.attention.sliding_window', 'u32', [48]),
      'sliding_window is a list, not an integer',
      /at byte \d+/,
    ],
    [
      'a window that is text',
      (g) => g.set('llama.attention.sliding_window', 'string', '48'),
      'sliding_window is a string, not an integer',
    ],
    [
      'KV heads that are a list',
      (g) => g.array('llama.attention.head_count_kv', 'u32', [2]),
      'head_count_kv is a list',
    ],
    [
      'a rope factor that is a list',
      (g) => g.array('llama.rope.scaling.factor', 'f32', [8]),
      'rope.scaling.factor is a list',
    ],
    [
      'a number of experts that is a list',
      (g) => g.array('llama.expert_count', 'u32', [8]),
      'expert_count is a list',
    ],
    [
      'a chat template that is a list',
      (g) => g.array('tokenizer.chat_template', 'string', ['a']),
      'chat_template is a list, not a string',
    ],
    [
      'a flag that is neither 0 nor 1',
      (g) => g.set('tokenizer.ggml.add_bos_token', 'u8', 2),
      'add_bos_token is 2, not true or false',
    ],
    [
      'an alignment that is no power of two',
      (g) => g.set('general.alignment', 'u32', 24),
      'alignment',
    ],
    ['an alignment of zero', (g) => g.set('general.alignment', 'u32', 0), 'alignment is 0'],
    ['no architecture', (g) => g.remove('general.architecture'), 'general.architecture is missing'],
    [
      'an architecture that is a number',
      (g) => g.set('general.architecture', 'u32', 1),
      'a string',
    ],
    ['no layers', (g) => g.set('llama.block_count', 'u32', 0), 'block_count is 0', /at byte \d+/],
    ['too many layers', (g) => g.set('llama.block_count', 'u32', 1025), 'block_count is 1025'],
    ['more layers than tensors', (g) => g.set('llama.block_count', 'u32', 2), 'blk.1.attn_norm'],
    ['a negative count', (g) => g.set('llama.block_count', 'i32', -1), 'block_count is -1'],
    ['a count that is no integer', (g) => g.set('llama.block_count', 'f32', 1.5), 'is 1.5'],
    ['a count that is a list', (g) => g.array('llama.feed_forward_length', 'u32', [96]), 'a list'],
    ['no hidden size', (g) => g.remove('llama.embedding_length'), 'embedding_length is missing'],
    [
      'a hidden size beyond bounds',
      (g) => g.set('llama.embedding_length', 'u32', 2 ** 21),
      '2097152',
    ],
    ['no context', (g) => g.remove('llama.context_length'), 'context_length is missing'],
    [
      'a context beyond 31 bits',
      (g) => g.set('llama.context_length', 'u32', 2 ** 31),
      'context_length',
    ],
    [
      'an epsilon of NaN',
      (g) => g.set('llama.attention.layer_norm_rms_epsilon', 'f32', NaN),
      'epsilon',
    ],
    ['a rope base of infinity', (g) => g.set('llama.rope.freq_base', 'f32', Infinity), 'freq_base'],
    ['a rope base of zero', (g) => g.set('llama.rope.freq_base', 'f32', 0), 'freq_base is 0'],
    [
      'heads that KV heads do not divide',
      (g) => g.set('llama.attention.head_count_kv', 'u32', 3),
      '3 KV',
    ],
    [
      'heads wider together than bounds',
      (g) =>
        g
          .set('llama.attention.head_count', 'u32', 2 ** 14)
          .set('llama.attention.key_length', 'u32', 128),
      'head_count is 16384, too many for heads of 128',
    ],
    [
      'a window beyond 31 bits',
      (g) => g.set('llama.attention.sliding_window', 'u32', 2 ** 31),
      'window',
    ],
    ['a tensor that is missing', (g) => g.tensors.splice(4, 1), 'blk.0.attn_v.weight is missing'],
    ['no embedding', (g) => g.tensors.shift(), 'token_embd.weight is missing'],
    [
      'an embedding with one dimension',
      (g) => (g.tensors[0]!.dimensions = [64]),
      'token_embd.weight',
    ],
    [
      'a vocabulary beyond bounds',
      (g) => (g.tensors[0]!.dimensions = [64, 2 ** 23]),
      'token_embd.weight has dimensions [64, 8388608]',
    ],
    [
      'a tensor twice',
      (g) => (g.find('blk.0.attn_q.weight').name = 'blk.0.attn_k.weight'),
      'tensor "blk.0.attn_k.weight" appears twice',
      /at byte \d+/,
    ],
    [
      'a tensor turned around',
      (g) => (g.find('blk.0.ffn_up.weight').dimensions = [96, 64]),
      `tensor "blk.0.ffn_up.weight" is [64, 96], and this model's is [96, 64]`,
      /at byte \d+/,
    ],
    [
      'a norm of two dimensions',
      (g) => (g.find('output_norm.weight').dimensions = [64, 1]),
      'tensor "output_norm.weight" is [1, 64]',
    ],
    [
      'five dimensions',
      (g) => (g.find('output_norm.weight').dimensions = [64, 1, 1, 1, 1]),
      'has 5 dimensions',
    ],
    ['an empty tensor', (g) => (g.find('output_norm.weight').dimensions = [0]), 'is empty'],
    [
      'rows that are not whole blocks',
      (g) => (g.find('blk.0.attn_q.weight').type = 12),
      'tensor "blk.0.attn_q.weight": 64 columns are not whole blocks of Q4_K',
    ],
    [
      'data beyond the end of the file',
      (g) => (g.find('output.weight').offset = 2n ** 40n),
      'tensor "output.weight" lies at bytes 1099511',
      'the file ends at',
    ],
    [
      'data beyond any file',
      (g) => (g.find('output.weight').offset = 2n ** 64n - 32n),
      'tensor "output.weight"',
    ],
    [
      'data out of line',
      (g) => (g.find('blk.0.attn_q.weight').offset = 16),
      'offset 16 is not a multiple of 32',
    ],
    [
      'data on top of other data',
      (g) => (g.find('blk.0.attn_q.weight').offset = 32),
      'tensors "token_embd.weight" and "blk.0.attn_q.weight" overlap at byte',
    ],
  ];
  test.each(invalid)('%s', async (_, spoil, ...parts) => {
    const gguf = modelGguf();
    spoil(gguf);
    await refused(open(gguf), 'INVALID_FILE', 'memory.gguf: ', ...parts);
  });

  const unsupported: [string, (gguf: GgufBuilder) => unknown, ...(string | RegExp)[]][] = [
    ['version 1', (g) => (g.version = 1), 'GGUF version 1', 'at byte 4'],
    ['version 4', (g) => (g.version = 4), 'versions 2 and 3 are supported'],
    ['a big-endian file', (g) => (g.version = 0x03000000), 'big-endian'],
    ['another architecture', (g) => g.set('general.architecture', 'string', 'gemma3'), '"gemma3"'],
    ['a vocabulary alone', (g) => g.tensors.splice(0), 'a vocabulary only; loadTokenizer takes it'],
    ['a LoRA adapter', (g) => g.set('general.type', 'string', 'adapter'), 'no model but a LoRA'],
    ['an importance matrix', (g) => g.set('general.type', 'string', 'imatrix'), '"imatrix"'],
    ['mixture of experts', (g) => g.set('llama.expert_count', 'u32', 8), 'expert_count', 'dense'],
    ['no causal mask', (g) => g.set('llama.attention.causal', 'bool', false), 'causal'],
    [
      'heads rotated in part',
      (g) => g.set('llama.attention.key_length', 'u32', 32),
      'dimension_count',
    ],
    [
      'values of another width',
      (g) => g.set('llama.attention.value_length', 'u32', 8),
      'value_length',
    ],
    ['linear rope scaling', (g) => g.set('llama.rope.scaling.factor', 'f32', 4), 'factor is 4'],
    ['old linear rope scaling', (g) => g.set('llama.rope.scale_linear', 'f32', 2), 'scale_linear'],
    ['yarn', (g) => g.set('llama.rope.scaling.type', 'string', 'yarn'), '"yarn"', 'unscaled'],
    ['a quantized norm', (g) => (g.find('output_norm.weight').type = 8), 'norms may be F32'],
    [
      'a format that is not read',
      (g) => (g.find('blk.0.ffn_down.weight').type = 16),
      'tensor "blk.0.ffn_down.weight" is IQ2_XXS; supported are F32, F16, BF16, Q4_0',
      /at byte \d+/,
    ],
    ['a format that does not exist', (g) => (g.find('output.weight').type = 77), 'is type 77'],
    [
      'rope factors',
      (g) => g.tensor('rope_freqs.weight', 'F32', [8]),
      'rope_freqs.weight',
      'scales',
    ],
    ['a bias of another length', (g) => g.tensor('blk.0.attn_q.bias', 'F32', [65]), 'bias'],
    ['a bias of no weight', (g) => g.tensor('blk.0.attn_x.bias', 'F32', [64]), 'bias'],
    ['experts', (g) => g.tensor('blk.0.ffn_up_exps.weight', 'F32', [64, 96, 8]), 'experts'],
    ['old experts', (g) => g.tensor('blk.0.ffn_up.7.weight', 'F32', [64, 96]), 'experts'],
    ['a layer too many', (g) => g.tensor('blk.1.attn_norm.weight', 'F32', [64]), 'blk.1.attn_norm'],
    ['a stranger', (g) => g.tensor('vision.weight', 'F32', [64]), '"vision.weight" belongs to no'],
  ];
  test.each(unsupported)('%s', async (_, spoil, ...parts) => {
    const gguf = modelGguf();
    spoil(gguf);
    await refused(open(gguf), 'UNSUPPORTED_FILE', 'memory.gguf: ', ...parts);
  });

  test('a key of control characters and great length makes a short line', async () => {
    const key = `\u0000\n\u001b[31m${'x'.repeat(60_000)}`;
    const gguf = modelGguf().raw(key, Buffer.concat([u32(TYPES.string), u64(2n ** 50n)]));
    const error: unknown = await open(gguf).catch((reason: unknown) => reason);
    const { message } = error as Error;
    expect(message).toMatch(/^memory\.gguf: \?\?\?\[31mxxx/);
    expect(message.length).toBeLessThan(700);
  });

  test('heads that are no multiple of 8', async () => {
    const gguf = modelGguf({ ...TINY, heads: 16, kvHeads: 16 });
    await refused(open(gguf), 'UNSUPPORTED_FILE', 'heads of 4', 'multiples of 8');
  });

  test('a file cut anywhere in its header', async () => {
    const { header } = modelGguf().build();
    for (let length = 0; length < header.length; length++) {
      const file = new MemoryFile('cut.gguf', header.subarray(0, length));
      await refused(readGgufCheckpoint(file, 'given', alone), 'INVALID_FILE', 'cut.gguf: ');
    }
  });

  test('a tensor whose product of dimensions overflows 64 bits', async () => {
    const gguf = modelGguf();
    gguf.find('output.weight').dimensions = [2n ** 63n, 2n ** 63n];
    await refused(open(gguf), 'INVALID_FILE', 'output.weight');
  });
});

describe('GGUF: how little is read', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-gguf-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test('of a 4 GB file with a 32k vocabulary, one chunk', async () => {
    const path = join(directory, '7b.gguf');
    modelGguf(MISTRAL_7B).writeSparse(path);
    expect(statSync(path).size).toBeGreaterThan(4.0e9);
    const source = await openFile(path);
    const reads: [number, number][] = [];
    const counted = {
      ...source,
      read(offset: number, length: number): Promise<Buffer> {
        reads.push([offset, length]);
        return source.read(offset, length);
      },
    };
    const checkpoint = await readGgufCheckpoint(counted, path, alone);
    await source.close();
    expect(checkpoint.weights).toHaveLength(291);
    expect(checkpoint.tokenizer).toHaveProperty('pieces.length', 32_000);
    expect(reads).toEqual([[0, 2 ** 20]]);
  });

  test('a header of several chunks is read once, and at most four times too much', async () => {
    const { header, byteLength } = modelGguf({ ...TINY, vocabulary: 100_000 }).build();
    expect(header.length).toBeGreaterThan(2 * 2 ** 20);
    const file = new MemoryFile('long.gguf', header, byteLength + 2 ** 33);
    expect((await readGgufCheckpoint(file, 'given', alone)).shape.vocabularySize).toBe(100_000);
    expect(file.bytesRead).toBeGreaterThanOrEqual(header.length);
    expect(file.bytesRead).toBeLessThanOrEqual(4 * header.length);
  });

  test('a skipped array that fills the file makes no allocation of its size', async () => {
    const length = 2 ** 40;
    const array = Buffer.concat([u32(TYPES.array), u32(TYPES.u8), u64(length)]);
    const gguf = new GgufBuilder().raw('general.big', array);
    const file = new MemoryFile('big.gguf', gguf.build().header, 2 * length);
    await refused(
      readGgufCheckpoint(file, 'given', alone),
      'INVALID_FILE',
      'general.big',
      'the header has',
    );
    expect(file.bytesRead).toBeLessThanOrEqual(2 ** 20);
  });

  test('endless empty strings end at the limit of a header', async () => {
    const array = Buffer.concat([u32(TYPES.array), u32(TYPES.string), u64(2 ** 36)]);
    const gguf = new GgufBuilder().raw('general.strings', array);
    const file = new MemoryFile('strings.gguf', gguf.build().header, 2 ** 40);
    await refused(
      readGgufCheckpoint(file, 'given', alone),
      'INVALID_FILE',
      'the header has more than',
    );
  });

  test('a file cut short after its length was seen', async () => {
    const path = join(directory, 'cut.gguf');
    modelGguf({ ...TINY, vocabulary: 100_000 }).writeSparse(path);
    const source = await openFile(path);
    truncateSync(path, 5000);
    await refused(
      readGgufCheckpoint(source, path, alone),
      'INVALID_FILE',
      'file ends early',
      'at byte 5000',
    );
    await source.close();
  });

  test('a scalar at the very end of the first chunk is read after the second', async () => {
    for (let padding = 0; padding < 16; padding++) {
      const gguf = new GgufBuilder().set('x', 'string', 'x'.repeat(2 ** 20 - 50 - padding));
      for (const { key, bytes } of modelGguf().values) gguf.raw(key, bytes);
      gguf.tensors.push(...modelGguf().tensors);
      expect((await open(gguf)).weights).toHaveLength(12);
    }
  });

  test('an aborted open rejects with the reason of the signal', async () => {
    const path = join(directory, 'abort.gguf');
    modelGguf().writeSparse(path);
    const reason = new Error('stop');
    await expect(openCheckpoint(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const opening = openCheckpoint(path, { signal: controller.signal });
    controller.abort(reason);
    await expect(opening).rejects.toBe(reason);
    const late = new AbortController();
    const source = await openFile(path, late.signal);
    await source.read(0, 4);
    late.abort(reason);
    await expect(source.read(0, 4)).rejects.toBe(reason);
    await source.close();
  });
});

test('the builder writes what it says', () => {
  expect(scalar('i16', -2)).toEqual(Buffer.of(0xfe, 0xff));
  expect(string('\u00e9')).toEqual(Buffer.of(2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0xa9));
});
