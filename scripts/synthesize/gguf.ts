/** Writes a GGUF v3 file of a shape, with random blocks. */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { FORMATS, type TensorFormat } from '../../lib/files/formats';
import { blocks } from './random';
import { matricesOfLayer, vocabulary, type Shape } from './shape';

const U32 = 4;
const F32 = 6;
const STRING = 8;
const ARRAY = 9;
const ALIGNMENT = 32;

interface Tensor {
  readonly name: string;
  readonly format: TensorFormat;
  readonly rows: number;
  readonly columns: number;
}

/** Like llama.cpp's Q4_K_M: the output, and values and ffn_down of half the layers, in Q6_K. */
function formatOf(format: string, name: string, layer: number, layers: number): TensorFormat {
  if (format !== 'Q4_K_M') return format as TensorFormat;
  const more = layer < layers / 8 || layer >= (7 * layers) / 8 || (layer - layers / 8) % 3 === 2;
  return name === 'output' || (more && /attn_v|ffn_down/.test(name)) ? 'Q6_K' : 'Q4_K';
}

function tensors(shape: Shape, format: string): Tensor[] {
  const { hidden, layers, vocabulary: rows } = shape;
  const norm = (name: string): Tensor => ({ name, format: 'F32', rows: 1, columns: hidden });
  const all: Tensor[] = [
    { name: 'token_embd.weight', format: formatOf(format, '', -1, layers), rows, columns: hidden },
  ];
  for (let layer = 0; layer < layers; layer++) {
    all.push(norm(`blk.${String(layer)}.attn_norm.weight`));
    for (const { gguf, rows: outputs, columns } of matricesOfLayer(shape, layer)) {
      const its = formatOf(format, gguf, layer, layers);
      all.push({ name: gguf, format: its, rows: outputs, columns });
    }
    all.push(norm(`blk.${String(layer)}.ffn_norm.weight`));
  }
  all.push(norm('output_norm.weight'));
  all.push({
    name: 'output.weight',
    format: formatOf(format, 'output', -1, layers),
    rows,
    columns: hidden,
  });
  return all;
}

function byteLength({ format, rows, columns }: Tensor): number {
  const { blockValues, blockBytes } = FORMATS[format];
  return rows * (columns / blockValues) * blockBytes;
}

const padding = (length: number): number => (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;

function header(shape: Shape, all: readonly Tensor[]): Buffer {
  const parts: Buffer[] = [];
  const u32 = (value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  const u64 = (value: number): void => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    parts.push(bytes);
  };
  const text = (value: string): void => {
    u64(Buffer.byteLength(value));
    parts.push(Buffer.from(value));
  };
  let keys = 0;
  const entry = (name: string, type: number, write: () => void): void => {
    text(name);
    u32(type);
    write();
    keys++;
  };
  const integer = (name: string, value: number): void => {
    entry(name, U32, () => {
      u32(value);
    });
  };
  const float = (value: number): void => {
    parts.push(Buffer.from(Float32Array.of(value).buffer));
  };
  const array = (
    name: string,
    type: number,
    values: readonly unknown[],
    write: (v: never) => void,
  ): void => {
    entry(name, ARRAY, () => {
      u32(type);
      u64(values.length);
      for (const value of values) write(value as never);
    });
  };

  const { pieces, types } = vocabulary(shape.vocabulary);
  entry('general.architecture', STRING, () => {
    text('llama');
  });
  entry('general.name', STRING, () => {
    text('synthetic');
  });
  integer('llama.block_count', shape.layers);
  integer('llama.context_length', shape.context);
  integer('llama.embedding_length', shape.hidden);
  integer('llama.feed_forward_length', shape.ffn);
  integer('llama.attention.head_count', shape.heads);
  integer('llama.attention.head_count_kv', shape.kvHeads);
  integer('llama.rope.dimension_count', shape.hidden / shape.heads);
  if (shape.window > 0) integer('llama.attention.sliding_window', shape.window);
  entry('llama.attention.layer_norm_rms_epsilon', F32, () => {
    float(1e-5);
  });
  entry('llama.rope.freq_base', F32, () => {
    float(1e6);
  });
  entry('tokenizer.ggml.model', STRING, () => {
    text('llama');
  });
  array('tokenizer.ggml.tokens', STRING, pieces, text);
  array(
    'tokenizer.ggml.scores',
    F32,
    pieces.map((_, i) => -i),
    float,
  );
  array('tokenizer.ggml.token_type', U32 + 1, types, u32);
  integer('tokenizer.ggml.bos_token_id', 1);
  integer('tokenizer.ggml.eos_token_id', 2);

  let offset = 0;
  for (const tensor of all) {
    text(tensor.name);
    u32(tensor.rows === 1 ? 1 : 2);
    u64(tensor.columns);
    if (tensor.rows > 1) u64(tensor.rows);
    u32(FORMATS[tensor.format].type);
    u64(offset);
    offset += byteLength(tensor) + padding(byteLength(tensor));
  }
  const start = Buffer.alloc(24);
  start.write('GGUF');
  start.writeUInt32LE(3, 4);
  start.writeBigUInt64LE(BigInt(all.length), 8);
  start.writeBigUInt64LE(BigInt(keys), 16);
  const head = Buffer.concat([start, ...parts]);
  return Buffer.concat([head, Buffer.alloc(padding(head.length))]);
}

/** About 4 MB of each format is made once; a tensor is that, repeated to its length. */
export async function writeGguf(path: string, shape: Shape, format: string): Promise<number> {
  const all = tensors(shape, format);
  const made = new Map<TensorFormat, Buffer>();
  const source = (its: TensorFormat): Buffer => {
    const found = made.get(its);
    if (found) return found;
    const ones = Buffer.from(new Float32Array(1 << 16).fill(1).buffer);
    const { blockBytes } = FORMATS[its];
    const bytes = its === 'F32' ? ones : blocks(its, blockBytes, Math.ceil((4 << 20) / blockBytes));
    made.set(its, bytes);
    return bytes;
  };
  const stream = createWriteStream(path, { highWaterMark: 16 << 20 });
  const write = async (bytes: Buffer): Promise<void> => {
    if (!stream.write(bytes)) await once(stream, 'drain');
  };
  const head = header(shape, all);
  await write(head);
  let total = head.length;
  for (const tensor of all) {
    const bytes = source(tensor.format);
    const length = byteLength(tensor);
    for (let done = 0; done < length; done += bytes.length) {
      await write(bytes.subarray(0, Math.min(bytes.length, length - done)));
    }
    await write(Buffer.alloc(padding(length)));
    total += length + padding(length);
  }
  stream.end();
  await once(stream, 'close');
  return total;
}
