import type { FileRange, ModelShape, Weight, WeightRole } from './checkpoint';
import { FORMATS, isFloat, type TensorFormat } from './formats';
import { invalid, quoted, unsupported } from './problems';

/** A weight the model must have, and what files call it. */
export interface Slot extends Pick<Weight, 'role' | 'layer' | 'rows' | 'columns'> {
  /** The tensor in a GGUF file. */
  readonly gguf: string;
  /** The module in a Hugging Face file; its tensors are `.weight`, or `.qweight` and others. */
  readonly module: string;
}

/** All weights of a model, in the order they are used. */
export function slots(shape: ModelShape): Slot[] {
  const { hiddenSize: hidden, ffnSize: ffn, vocabularySize: vocabulary } = shape;
  const queries = shape.heads * shape.headSize;
  const keys = shape.kvHeads * shape.headSize;
  const all: Slot[] = [];
  const add = (
    layer: number,
    role: WeightRole,
    rows: number,
    columns: number,
    gguf: string,
    module: string,
  ): void => {
    all.push({
      role,
      layer,
      rows,
      columns,
      gguf: layer < 0 ? `${gguf}.weight` : `blk.${layer}.${gguf}.weight`,
      module: layer < 0 ? module : `model.layers.${layer}.${module}`,
    });
  };
  add(-1, 'token_embedding', vocabulary, hidden, 'token_embd', 'model.embed_tokens');
  for (let i = 0; i < shape.layers; i++) {
    add(i, 'attention_norm', 1, hidden, 'attn_norm', 'input_layernorm');
    add(i, 'query', queries, hidden, 'attn_q', 'self_attn.q_proj');
    add(i, 'key', keys, hidden, 'attn_k', 'self_attn.k_proj');
    add(i, 'value', keys, hidden, 'attn_v', 'self_attn.v_proj');
    add(i, 'attention_output', hidden, queries, 'attn_output', 'self_attn.o_proj');
    add(i, 'ffn_norm', 1, hidden, 'ffn_norm', 'post_attention_layernorm');
    add(i, 'ffn_gate', ffn, hidden, 'ffn_gate', 'mlp.gate_proj');
    add(i, 'ffn_up', ffn, hidden, 'ffn_up', 'mlp.up_proj');
    add(i, 'ffn_down', hidden, ffn, 'ffn_down', 'mlp.down_proj');
  }
  add(-1, 'output_norm', 1, hidden, 'output_norm', 'model.norm');
  add(-1, 'output', vocabulary, hidden, 'output', 'lm_head');
  return all;
}

export function isNorm(role: WeightRole): boolean {
  return role === 'attention_norm' || role === 'ffn_norm' || role === 'output_norm';
}

/** A tensor as its file describes it. */
export interface FoundTensor {
  /** Of the file that holds it. */
  readonly path: string;
  readonly fileLength: number;
  readonly file: number;
  readonly name: string;
  readonly format: TensorFormat;
  /** Slowest first: [rows, columns], or [columns] of a norm. */
  readonly shape: readonly number[];
  /** Of the data, from the start of the file. */
  readonly offset: number;
  /** Where the header describes it, for messages. */
  readonly at: number;
}

/** Makes a weight of a tensor that fills a slot, when format, shape and range fit. */
export function plainWeight(slot: Slot, tensor: FoundTensor): Weight {
  const { path, name, format, at } = tensor;
  const { role, layer, rows, columns } = slot;
  const what = `tensor ${quoted(name)}`;
  const wanted = isNorm(role) ? [columns] : [rows, columns];
  if (tensor.shape.join() !== wanted.join()) {
    const found = `[${tensor.shape.join(', ')}]`;
    throw invalid(path, `${what} is ${found}, and this model's is [${wanted.join(', ')}]`, at);
  }
  if (isNorm(role) && !isFloat(format)) {
    throw unsupported(path, `${what} is ${format}; norms may be F32, F16 and BF16`, at);
  }
  const { blockValues, blockBytes } = FORMATS[format];
  if (columns % blockValues !== 0) {
    throw invalid(path, `${what}: ${columns} columns are not whole blocks of ${format}`, at);
  }
  const byteLength = rows * (columns / blockValues) * blockBytes;
  const range: FileRange = { file: tensor.file, offset: tensor.offset, byteLength };
  if (range.offset + byteLength > tensor.fileLength) {
    const end = `bytes ${range.offset} to ${range.offset + byteLength}`;
    throw invalid(path, `${what} lies at ${end}, and the file ends at ${tensor.fileLength}`, at);
  }
  return { name, role, layer, rows, columns, storage: { format, range } };
}

/** A range of a file that one tensor fills. */
export interface Extent {
  readonly name: string;
  readonly offset: number;
  readonly byteLength: number;
  readonly at: number;
}

/** Throws when two tensors of a file share bytes. */
export function refuseOverlaps(path: string, extents: readonly Extent[]): void {
  const sorted = extents.filter((extent) => extent.byteLength > 0);
  sorted.sort((a, b) => a.offset - b.offset);
  for (const [i, next] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before !== undefined && before.offset + before.byteLength > next.offset) {
      const pair = `tensors ${quoted(before.name)} and ${quoted(next.name)}`;
      throw invalid(path, `${pair} overlap at byte ${next.offset}`, next.at);
    }
  }
}
