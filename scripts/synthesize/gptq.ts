/** Writes a GPTQ directory of a shape: 4 bits, groups of 128 and so on, act-order or not. */
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { halves, randomBytes } from './random';
import { matricesOfLayer, vocabulary, type Shape } from './shape';

interface Tensor {
  readonly name: string;
  readonly dtype: 'I32' | 'F16';
  readonly shape: readonly number[];
  /** Bytes that are repeated to the tensor's length. */
  readonly source: Buffer;
}

export interface GptqFormat {
  readonly bits: number;
  readonly groupSize: number;
  readonly actOrder: boolean;
}

/** Groups of the inputs in a scattered order, as act-order leaves them. */
function groupIndex(columns: number, groupSize: number, actOrder: boolean): Buffer {
  const order = Int32Array.from({ length: columns }, (_, i) => i);
  const random = new Uint32Array(randomBytes(4 * columns, 3).buffer);
  for (let i = columns - 1; actOrder && i > 0; i--) {
    const j = (random[i] ?? 0) % (i + 1);
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return Buffer.from(order.map((place) => Math.floor(place / groupSize)).buffer);
}

function tensors(shape: Shape, { bits, groupSize, actOrder }: GptqFormat): Tensor[] {
  const { hidden, vocabulary: rows } = shape;
  const words = randomBytes(4 << 20, 4);
  const small = halves(1 << 20);
  const ones = halves(hidden, 1);
  const scales = halves(1 << 16, 0.005);
  // The stored zero point of symmetric weights: 2^(bits-1) - 1 in every field.
  const zeros = Buffer.alloc(1 << 16, bits === 4 ? 0x77 : bits === 8 ? 0x7f : 0x55);
  const orders = new Map<number, Buffer>();
  const float = (name: string, dims: number[], source: Buffer): Tensor => ({
    name,
    dtype: 'F16',
    shape: dims,
    source,
  });
  const all = [float('model.embed_tokens.weight', [rows, hidden], small)];
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `model.layers.${String(layer)}`;
    all.push(float(`${prefix}.input_layernorm.weight`, [hidden], ones));
    all.push(float(`${prefix}.post_attention_layernorm.weight`, [hidden], ones));
    for (const { module, rows: outputs, columns } of matricesOfLayer(shape, layer)) {
      const groups = Math.ceil(columns / groupSize);
      const order = orders.get(columns) ?? groupIndex(columns, groupSize, actOrder);
      orders.set(columns, order);
      all.push({
        name: `${module}.qweight`,
        dtype: 'I32',
        shape: [(columns * bits) / 32, outputs],
        source: words,
      });
      all.push({
        name: `${module}.qzeros`,
        dtype: 'I32',
        shape: [groups, (outputs * bits) / 32],
        source: zeros,
      });
      all.push(float(`${module}.scales`, [groups, outputs], scales));
      all.push({ name: `${module}.g_idx`, dtype: 'I32', shape: [columns], source: order });
    }
  }
  all.push(float('model.norm.weight', [hidden], ones));
  all.push(float('lm_head.weight', [rows, hidden], small));
  return all;
}

function byteLength({ dtype, shape }: Tensor): number {
  return shape.reduce((product, size) => product * size, dtype === 'I32' ? 4 : 2);
}

export async function writeGptq(
  directory: string,
  shape: Shape,
  format: GptqFormat,
): Promise<number> {
  mkdirSync(directory, { recursive: true });
  const json = (name: string, value: unknown): void => {
    writeFileSync(join(directory, name), JSON.stringify(value, null, 2));
  };
  json('config.json', {
    architectures: ['MistralForCausalLM'],
    model_type: 'mistral',
    hidden_size: shape.hidden,
    intermediate_size: shape.ffn,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    vocab_size: shape.vocabulary,
    max_position_embeddings: shape.context,
    rms_norm_eps: 1e-5,
    rope_theta: 1e6,
    sliding_window: shape.window || null,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    quantization_config: {
      quant_method: 'gptq',
      bits: format.bits,
      group_size: format.groupSize,
      desc_act: format.actOrder,
      sym: true,
      checkpoint_format: 'gptq',
    },
  });
  const { pieces } = vocabulary(shape.vocabulary);
  json('tokenizer.json', {
    version: '1.0',
    added_tokens: pieces.slice(0, 3).map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '\u2581' },
        { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
      ],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [],
    },
  });

  const all = tensors(shape, format);
  let offset = 0;
  const entries = all.map((tensor) => {
    const from = offset;
    offset += byteLength(tensor);
    return [
      tensor.name,
      { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [from, offset] },
    ];
  });
  const header = JSON.stringify(Object.fromEntries(entries));
  // To a multiple of 8, as those who write such files do.
  const head = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));

  const stream = createWriteStream(join(directory, 'model.safetensors'), {
    highWaterMark: 16 << 20,
  });
  const write = async (bytes: Buffer): Promise<void> => {
    if (!stream.write(bytes)) await once(stream, 'drain');
  };
  await write(length);
  await write(head);
  for (const tensor of all) {
    const total = byteLength(tensor);
    for (let done = 0; done < total; done += tensor.source.length) {
      await write(tensor.source.subarray(0, Math.min(tensor.source.length, total - done)));
    }
  }
  stream.end();
  await once(stream, 'close');
  return offset + head.length + 8;
}
