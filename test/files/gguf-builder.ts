/**
 * Builds headers of GGUF files, right ones and wrong ones. Data need not exist: the header says
 * where it would be, and `byteLength` how long the file would be.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { FORMATS } from '../../lib/files/formats';
import { MemoryFile } from './memory';

export const TYPES = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;
export type TypeName = keyof typeof TYPES;

/** GGUF numbers of the formats tests build with. */
export const FORMAT_NUMBERS = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8, Q4_K: 12, Q6_K: 14, BF16: 30 };
export type BuilderFormat = keyof typeof FORMAT_NUMBERS;

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function string(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

export function scalar(type: TypeName, value: unknown): Buffer {
  if (type === 'string') return string(value as string);
  const bytes = Buffer.alloc(8);
  const number = value as number;
  switch (type) {
    case 'u8':
    case 'bool':
      return bytes.subarray(0, bytes.writeUInt8(Number(value)));
    case 'i8':
      return bytes.subarray(0, bytes.writeInt8(number));
    case 'u16':
      return bytes.subarray(0, bytes.writeUInt16LE(number));
    case 'i16':
      return bytes.subarray(0, bytes.writeInt16LE(number));
    case 'u32':
      return bytes.subarray(0, bytes.writeUInt32LE(number));
    case 'i32':
      return bytes.subarray(0, bytes.writeInt32LE(number));
    case 'f32':
      return bytes.subarray(0, bytes.writeFloatLE(number));
    case 'u64':
      return bytes.subarray(0, bytes.writeBigUInt64LE(BigInt(number)));
    case 'i64':
      return bytes.subarray(0, bytes.writeBigInt64LE(BigInt(number)));
    case 'f64':
      return bytes.subarray(0, bytes.writeDoubleLE(number));
    case 'array':
      throw new Error('an array is no scalar');
  }
}

/** An array's type, count and elements. */
function arrayBytes(type: TypeName, values: readonly unknown[]): Buffer {
  const elements = values.map((value) => scalar(type, value));
  return Buffer.concat([u32(TYPES.array), u32(TYPES[type]), u64(values.length), ...elements]);
}

export interface BuilderTensor {
  name: string;
  /** Fastest first, as in the file. */
  dimensions: (number | bigint)[];
  type: number;
  byteLength: number;
  /** Default: behind the tensors before it. */
  offset?: number | bigint;
}

export class GgufBuilder {
  magic = 'GGUF';
  version = 3;
  alignment = 32;
  /** Counts as written; default: the true ones. */
  tensorCount?: number | bigint;
  valueCount?: number | bigint;
  readonly values: { key: string; bytes: Buffer }[] = [];
  readonly tensors: BuilderTensor[] = [];

  /** Sets a value, in place of one with the same key. */
  set(key: string, type: TypeName, value: unknown): this {
    return this.raw(key, Buffer.concat([u32(TYPES[type]), scalar(type, value)]));
  }

  array(key: string, type: TypeName, values: readonly unknown[]): this {
    return this.raw(key, arrayBytes(type, values));
  }

  /** Sets a value's type and bytes. */
  raw(key: string, bytes: Buffer): this {
    const old = this.values.find((value) => value.key === key);
    if (old === undefined) this.values.push({ key, bytes });
    else old.bytes = bytes;
    return this;
  }

  remove(key: string): this {
    const index = this.values.findIndex((value) => value.key === key);
    if (index >= 0) this.values.splice(index, 1);
    return this;
  }

  tensor(name: string, format: BuilderFormat, dimensions: number[]): this {
    const { blockValues, blockBytes } = FORMATS[format];
    const values = dimensions.reduce((product, size) => product * size, 1);
    const byteLength = (values / blockValues) * blockBytes;
    this.tensors.push({ name, dimensions, type: FORMAT_NUMBERS[format], byteLength });
    return this;
  }

  find(name: string): BuilderTensor {
    const tensor = this.tensors.find((each) => each.name === name);
    if (tensor === undefined) throw new Error(`no tensor ${name}`);
    return tensor;
  }

  /** The header, and the length of the file it belongs to. */
  build(): { header: Buffer; byteLength: number } {
    const parts = [
      Buffer.from(this.magic, 'latin1'),
      u32(this.version),
      u64(this.tensorCount ?? this.tensors.length),
      u64(this.valueCount ?? this.values.length),
      ...this.values.flatMap(({ key, bytes }) => [string(key), bytes]),
    ];
    let end = 0;
    for (const { name, dimensions, type, byteLength, offset } of this.tensors) {
      const start = offset ?? Math.ceil(end / this.alignment) * this.alignment;
      parts.push(
        string(name),
        u32(dimensions.length),
        ...dimensions.map(u64),
        u32(type),
        u64(start),
      );
      if (offset === undefined) end = Number(start) + byteLength;
    }
    const header = Buffer.concat(parts);
    const dataStart = Math.ceil(header.length / this.alignment) * this.alignment;
    return { header, byteLength: dataStart + end };
  }

  /** The file in memory; its data are zeros. */
  file(path = 'memory.gguf'): MemoryFile {
    const { header, byteLength } = this.build();
    return new MemoryFile(path, header, byteLength);
  }

  /** Writes the file; its data are a hole that takes no space. */
  writeSparse(path: string): void {
    const { header, byteLength } = this.build();
    const file = openSync(path, 'w');
    try {
      writeSync(file, header);
      ftruncateSync(file, byteLength);
    } finally {
      closeSync(file);
    }
  }
}

export interface BuilderShape {
  layers: number;
  hidden: number;
  ffn: number;
  heads: number;
  kvHeads: number;
  context: number;
  vocabulary: number;
  /** null: no key. */
  ropeBase: number | null;
  format: BuilderFormat;
  output: BuilderFormat;
}

export const TINY: BuilderShape = {
  layers: 1,
  hidden: 64,
  ffn: 96,
  heads: 4,
  kvHeads: 2,
  context: 256,
  vocabulary: 32,
  ropeBase: 10_000,
  format: 'Q4_0',
  output: 'Q8_0',
};

/** The shape of Mistral 7B v0.1. */
export const MISTRAL_7B: BuilderShape = {
  layers: 32,
  hidden: 4096,
  ffn: 14_336,
  heads: 32,
  kvHeads: 8,
  context: 32_768,
  vocabulary: 32_000,
  ropeBase: 10_000,
  format: 'Q4_0',
  output: 'Q6_K',
};

/** A model's file with all keys and tensors it needs, and a vocabulary of made-up tokens. */
export function modelGguf(shape: BuilderShape = TINY, architecture = 'llama'): GgufBuilder {
  const { hidden, ffn, heads, kvHeads, vocabulary, format } = shape;
  const headSize = hidden / heads;
  const gguf = new GgufBuilder()
    .set('general.architecture', 'string', architecture)
    .set('general.name', 'string', 'built')
    .set(`${architecture}.context_length`, 'u32', shape.context)
    .set(`${architecture}.embedding_length`, 'u32', hidden)
    .set(`${architecture}.block_count`, 'u32', shape.layers)
    .set(`${architecture}.feed_forward_length`, 'u32', ffn)
    .set(`${architecture}.attention.head_count`, 'u32', heads)
    .set(`${architecture}.attention.head_count_kv`, 'u32', kvHeads)
    .set(`${architecture}.attention.layer_norm_rms_epsilon`, 'f32', 1e-5)
    .set(`${architecture}.rope.dimension_count`, 'u32', headSize)
    .set('tokenizer.ggml.model', 'string', 'llama')
    .raw('tokenizer.ggml.tokens', vocabularyArrays(vocabulary).tokens)
    .raw('tokenizer.ggml.scores', vocabularyArrays(vocabulary).scores)
    .raw('tokenizer.ggml.token_type', vocabularyArrays(vocabulary).types)
    .set('tokenizer.ggml.bos_token_id', 'u32', 1)
    .set('tokenizer.ggml.eos_token_id', 'u32', 2);
  if (shape.ropeBase !== null) gguf.set(`${architecture}.rope.freq_base`, 'f32', shape.ropeBase);

  gguf.tensor('token_embd.weight', format, [hidden, vocabulary]);
  for (let i = 0; i < shape.layers; i++) {
    gguf
      .tensor(`blk.${i}.attn_norm.weight`, 'F32', [hidden])
      .tensor(`blk.${i}.attn_q.weight`, format, [hidden, heads * headSize])
      .tensor(`blk.${i}.attn_k.weight`, format, [hidden, kvHeads * headSize])
      .tensor(`blk.${i}.attn_v.weight`, format, [hidden, kvHeads * headSize])
      .tensor(`blk.${i}.attn_output.weight`, format, [heads * headSize, hidden])
      .tensor(`blk.${i}.ffn_norm.weight`, 'F32', [hidden])
      .tensor(`blk.${i}.ffn_gate.weight`, format, [hidden, ffn])
      .tensor(`blk.${i}.ffn_up.weight`, format, [hidden, ffn])
      .tensor(`blk.${i}.ffn_down.weight`, format, [ffn, hidden]);
  }
  return gguf
    .tensor('output_norm.weight', 'F32', [hidden])
    .tensor('output.weight', shape.output, [hidden, vocabulary]);
}

const vocabularies = new Map<number, Record<'tokens' | 'scores' | 'types', Buffer>>();

/** Made-up tokens about as long as real ones: six and a half bytes. */
function vocabularyArrays(count: number): Record<'tokens' | 'scores' | 'types', Buffer> {
  const known = vocabularies.get(count);
  if (known !== undefined) return known;
  const ids = Array.from({ length: count }, (_, id) => id);
  const pieces = ids.map((id) => (id < 3 ? `<${id}>` : `\u2581${id.toString(8)}`));
  const made = {
    tokens: arrayBytes('string', pieces),
    scores: arrayBytes('f32', ids),
    types: arrayBytes('i32', ids.fill(1)),
  };
  vocabularies.set(count, made);
  return made;
}

export const PART_NAMES = [1, 2, 3].map((number) => `m-0000${number}-of-00003.gguf`);

/** A model in three parts, the first with all values; `change` may spoil them. */
export function splitGguf(change: (parts: GgufBuilder[]) => void = () => undefined): GgufBuilder[] {
  const whole = modelGguf();
  const each = Math.ceil(whole.tensors.length / PART_NAMES.length);
  const made = Array.from({ length: PART_NAMES.length }, (_, number) => {
    const part = new GgufBuilder();
    if (number === 0) part.values.push(...whole.values);
    part.tensors.push(...whole.tensors.slice(number * each, (number + 1) * each));
    return part
      .set('split.no', 'u16', number)
      .set('split.count', 'u16', PART_NAMES.length)
      .set('split.tensors.count', 'i32', whole.tensors.length);
  });
  change(made);
  return made;
}
