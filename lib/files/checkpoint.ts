/**
 * A checkpoint as the rest of the package sees it, whatever the files it came from: the model's
 * shape, a table of weights with the byte ranges they lie in, and the tokenizer's raw data.
 * Nothing here has been read but headers; the weights stay in their files.
 */
import type { TensorFormat } from './formats';
import type { TokenizerSource } from './tokenizer-source';

/** A byte range of one of the checkpoint's files. */
export interface FileRange {
  /** Index into {@link Checkpoint.files}. */
  readonly file: number;
  /** Bytes from the start of the file. Not necessarily aligned to anything. */
  readonly offset: number;
  readonly byteLength: number;
}

/** The parts of a weight quantized by GPTQ: K inputs (columns) and N outputs (rows). */
export interface GptqParts {
  readonly bits: 2 | 3 | 4 | 8;
  /** Inputs that share a scale; the whole column (-1 in the files) is written as K. */
  readonly groupSize: number;
  /** What is added to a stored zero point, modulo 2^bits: 1 in the `gptq` (v1) layout, 0 in `gptq_v2`. */
  readonly zeroBias: 0 | 1;
  /** Whether g_idx is out of order, so that neighbouring inputs may belong to different groups. */
  readonly actOrder: boolean;
  /** int32 [K * bits / 32][N] */
  readonly qweight: FileRange;
  /** int32 [groups][N * bits / 32] */
  readonly qzeros: FileRange;
  /** [groups][N] */
  readonly scales: FileRange & { readonly format: 'F16' | 'BF16' | 'F32' };
  /**
   * int32 [K], absent when input k belongs to group floor(k / groupSize). Each is a group that
   * exists; groups need not have equally many inputs.
   */
  readonly groupIndex?: FileRange;
  /**
   * Inputs when those of a group are brought together and each group is filled up to whole blocks
   * of 32, as the CPU does (cpp/cpu/gptq/gptq.h); absent when blocks are of one group as they lie.
   */
  readonly orderedColumns?: number;
  /** int32 [orderedColumns * bits / 32][N]: a copy of qweight in that order, in a cache file. */
  readonly ordered?: FileRange;
}

/** How the weights of a GPTQ checkpoint are quantized, in short. */
export interface GptqFacts {
  readonly bits: 2 | 3 | 4 | 8;
  /** Inputs that share a scale; null: the whole column. */
  readonly groupSize: number | null;
  /** Whether inputs of a group are scattered (a g_idx out of order) in some module. */
  readonly actOrder: boolean;
  /** What the configuration says, if it does. */
  readonly symmetric?: boolean;
  /** How zero points are stored: less one (v1, `gptq`), or as they are (v2, `gptq_v2`). */
  readonly zeroFormat: 'v1' | 'v2';
  /** Linear layers that are not quantized, such as `lm_head` and `model.layers.0-3.mlp.up_proj`. */
  readonly plainModules: readonly string[];
  /** Modules quantized otherwise (`dynamic`), and how: `{ 'model.layers.7.mlp.up_proj': 'GPTQ-8bit-g32' }`. */
  readonly otherModules: Readonly<Record<string, string>>;
}

/** What a weight does in the model. Layer roles exist once a layer, the others once. */
export type WeightRole =
  | 'token_embedding'
  | 'output_norm'
  | 'output'
  | 'attention_norm'
  | 'query'
  | 'key'
  | 'value'
  | 'attention_output'
  | 'ffn_norm'
  | 'ffn_gate'
  | 'ffn_up'
  | 'ffn_down';

/** One weight: a matrix of `rows` outputs by `columns` inputs, or a vector with one row. */
export interface Weight {
  /** The name in the file, for messages. For GPTQ the module's, without `.qweight`. */
  readonly name: string;
  readonly role: WeightRole;
  /** Layer number, or -1 where the role exists once. */
  readonly layer: number;
  readonly rows: number;
  readonly columns: number;
  /** A plain tensor in one range, or the parts of a GPTQ weight. */
  readonly storage:
    | { readonly format: TensorFormat; readonly range: FileRange }
    | { readonly format: 'GPTQ'; readonly gptq: GptqParts };
}

export interface ModelShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Its own number: not necessarily hiddenSize / heads. */
  readonly headSize: number;
  readonly vocabularySize: number;
  /** Tokens of prompt and output together, as the file says. */
  readonly contextSize: number;
  readonly rmsEpsilon: number;
  readonly ropeBase: number;
  /** Which elements of a head are rotated together: (2i, 2i+1) in GGUF, (i, i + d/2) in safetensors. */
  readonly ropePairing: 'neighbours' | 'halves';
}

/** The attention window a file asks for, and how that was found. */
export interface SlidingWindow {
  /** Keys each query sees, its own included; null: all before it. */
  readonly size: number | null;
  readonly source: 'option' | 'file' | 'v0.1-shape' | 'none';
}

export interface Checkpoint {
  /** The path that was opened. */
  readonly path: string;
  readonly kind: 'gguf' | 'safetensors' | 'gptq';
  readonly architecture: string;
  readonly name?: string;
  /** The files weights lie in, and their lengths when their headers were read. */
  readonly files: readonly { readonly path: string; readonly byteLength: number }[];
  readonly shape: ModelShape;
  readonly slidingWindow: SlidingWindow;
  /** All weights; when the output is tied, the embedding appears again with role `output`. */
  readonly weights: readonly Weight[];
  /** Tensors per storage format, as in the file (a GPTQ weight counts as one, e.g. `GPTQ-4bit-g128`). */
  readonly formats: Readonly<Record<string, number>>;
  /** Of the kind `gptq` only. */
  readonly gptq?: GptqFacts;
  readonly tokenizer: TokenizerSource;
  /** Tokens that end a generation: end of sequence, end of turn. */
  readonly endTokens: readonly number[];
  /** The chat template (Jinja), where there is one. */
  readonly chatTemplate?: string;
  /** The one for conversations with tools (`tool_use`), where there is one of its own. */
  readonly toolTemplate?: string;
}
