/** Builds Hugging Face directories of small models, in floats or GPTQ, right ones and wrong ones. */
import { mkdirSync, openSync, writeFileSync, writeSync, closeSync, ftruncateSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryFolder, type Contents } from './memory';

export interface HfShape {
  layers: number;
  hidden: number;
  ffn: number;
  heads: number;
  kvHeads: number;
  vocabulary: number;
  context: number;
}

export const TINY_HF: HfShape = {
  layers: 1,
  hidden: 64,
  ffn: 96,
  heads: 4,
  kvHeads: 2,
  vocabulary: 32,
  context: 256,
};

export interface HfTensor {
  name: string;
  type: string;
  shape: number[];
  byteLength: number;
  /** Default: zeros. */
  data?: Buffer;
}

export interface GptqSettings {
  bits: number;
  groupSize: number;
  actOrder?: boolean;
  scales?: string;
  /** Default: all linear layers but lm_head. */
  quantized?: (module: string) => boolean;
}

const TYPE_BYTES: Record<string, number> = { F32: 4, F16: 2, BF16: 2, I32: 4, I64: 8, U8: 1 };

/** A directory in memory: change its parts, then open it. */
export class HfBuilder {
  readonly config: Record<string, unknown>;
  readonly tensors: HfTensor[] = [];
  readonly files: Contents = {
    'tokenizer.model': 'made up',
    'generation_config.json': JSON.stringify({ eos_token_id: 2 }),
  };
  /** Where tensors go; default: all into model.safetensors. */
  weightsName = 'model.safetensors';
  shards?: (name: string) => string;

  constructor(
    readonly shape: HfShape = TINY_HF,
    readonly gptq?: GptqSettings,
  ) {
    const { hidden, ffn, heads, kvHeads, vocabulary, layers } = shape;
    this.config = {
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
      hidden_act: 'silu',
      hidden_size: hidden,
      intermediate_size: ffn,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      max_position_embeddings: shape.context,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      sliding_window: null,
      tie_word_embeddings: false,
      vocab_size: vocabulary,
      eos_token_id: 2,
    };
    if (gptq !== undefined) {
      this.config['quantization_config'] = {
        quant_method: 'gptq',
        bits: gptq.bits,
        group_size: gptq.groupSize,
        desc_act: gptq.actOrder ?? false,
        sym: true,
        checkpoint_format: 'gptq',
      };
    }
    const keys = (kvHeads * hidden) / heads;
    this.add('model.embed_tokens.weight', 'BF16', [vocabulary, hidden]);
    for (let i = 0; i < layers; i++) {
      const layer = `model.layers.${i}`;
      this.add(`${layer}.input_layernorm.weight`, 'BF16', [hidden]);
      this.linear(`${layer}.self_attn.q_proj`, hidden, hidden);
      this.linear(`${layer}.self_attn.k_proj`, keys, hidden);
      this.linear(`${layer}.self_attn.v_proj`, keys, hidden);
      this.linear(`${layer}.self_attn.o_proj`, hidden, hidden);
      this.add(`${layer}.post_attention_layernorm.weight`, 'BF16', [hidden]);
      this.linear(`${layer}.mlp.gate_proj`, ffn, hidden);
      this.linear(`${layer}.mlp.up_proj`, ffn, hidden);
      this.linear(`${layer}.mlp.down_proj`, hidden, ffn);
    }
    this.add('model.norm.weight', 'BF16', [hidden]);
    this.linear('lm_head', vocabulary, hidden, (module) => gptq?.quantized?.(module) ?? false);
  }

  add(name: string, type: string, shape: number[], data?: Buffer): this {
    const values = shape.reduce((product, size) => product * size, 1);
    const byteLength = values * (TYPE_BYTES[type] ?? 1);
    this.tensors.push({ name, type, shape, byteLength, ...(data === undefined ? {} : { data }) });
    return this;
  }

  private linear(
    module: string,
    rows: number,
    columns: number,
    isQuantized = this.gptq?.quantized ?? ((): boolean => true),
  ): void {
    if (this.gptq === undefined || !isQuantized(module)) {
      this.add(`${module}.weight`, 'BF16', [rows, columns]);
      return;
    }
    const { bits, groupSize, actOrder, scales } = this.gptq;
    const group = groupSize === -1 ? columns : groupSize;
    const groups = Math.ceil(columns / group);
    const order = Array.from({ length: columns }, (_, k) => Math.floor(k / group));
    if (actOrder === true) order.reverse();
    this.add(`${module}.g_idx`, 'I32', [columns], Buffer.from(Int32Array.from(order).buffer));
    this.add(`${module}.qweight`, 'I32', [(columns * bits) / 32, rows]);
    this.add(`${module}.qzeros`, 'I32', [groups, (rows * bits) / 32]);
    this.add(`${module}.scales`, scales ?? 'F16', [groups, rows]);
  }

  find(name: string): HfTensor {
    const tensor = this.tensors.find((each) => each.name === name);
    if (tensor === undefined) throw new Error(`no tensor ${name}`);
    return tensor;
  }

  remove(name: string): this {
    this.tensors.splice(this.tensors.indexOf(this.find(name)), 1);
    return this;
  }

  quantization(): Record<string, unknown> {
    return this.config['quantization_config'] as Record<string, unknown>;
  }

  /** The directory's files. */
  contents(): Contents {
    const shards = new Map<string, HfTensor[]>();
    for (const tensor of this.tensors) {
      const name = this.shards?.(tensor.name) ?? this.weightsName;
      shards.set(name, [...(shards.get(name) ?? []), tensor]);
    }
    const index =
      this.shards === undefined
        ? {}
        : { 'model.safetensors.index.json': JSON.stringify({ weight_map: this.weightMap() }) };
    const weights = [...shards].map(([name, tensors]) => [name, safetensorsFile(tensors)] as const);
    return {
      'config.json': JSON.stringify(this.config),
      ...index,
      ...(Object.fromEntries(weights) as Contents),
      ...this.files,
    };
  }

  weightMap(): Record<string, string> {
    const place = this.shards ?? ((): string => this.weightsName);
    return Object.fromEntries(this.tensors.map(({ name }) => [name, place(name)]));
  }

  folder(): MemoryFolder {
    return new MemoryFolder(this.contents());
  }

  /** Writes the directory; zeros at the end of files are holes that take no space. */
  write(directory: string): void {
    mkdirSync(directory, { recursive: true });
    for (const [name, content] of Object.entries(this.contents())) {
      const path = join(directory, name);
      if (typeof content === 'string' || Buffer.isBuffer(content)) {
        writeFileSync(path, content);
        continue;
      }
      const file = openSync(path, 'w');
      writeSync(file, content.start);
      ftruncateSync(file, content.byteLength);
      closeSync(file);
    }
  }
}

/** A safetensors file: tensors with data first, the zeros after them are not stored. */
export function safetensorsFile(tensors: readonly HfTensor[]): {
  start: Buffer;
  byteLength: number;
} {
  const withData = tensors.filter(({ data }) => data !== undefined);
  const rest = tensors.filter(({ data }) => data === undefined);
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const { name, type, shape, byteLength } of [...withData, ...rest]) {
    header[name] = { dtype: type, shape, data_offsets: [end, end + byteLength] };
    end += byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const start = Buffer.concat([length, json, ...withData.map(({ data }) => data ?? Buffer.of())]);
  return { start, byteLength: 8 + json.length + end };
}
