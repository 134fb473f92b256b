/** Small models and adapters of PEFT with numbers that are known. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelShape } from '../../lib/files/checkpoint';
import {
  HfBuilder,
  safetensorsFile,
  TINY_HF,
  type HfShape,
  type HfTensor,
} from '../files/hf-builder';
import { fixture } from '../reference';

export type Matrix = number[][];

export const SHAPE: HfShape = { ...TINY_HF, layers: 2, vocabulary: 384 };

/** Of the model, as adapters are read for it. */
export const ADAPTED: ModelShape = {
  layers: SHAPE.layers,
  hiddenSize: SHAPE.hidden,
  ffnSize: SHAPE.ffn,
  heads: SHAPE.heads,
  kvHeads: SHAPE.kvHeads,
  headSize: SHAPE.hidden / SHAPE.heads,
  vocabularySize: SHAPE.vocabulary,
  contextSize: SHAPE.context,
  rmsEpsilon: 1e-5,
  ropeBase: 10_000,
  ropePairing: 'halves',
};

/** The linear layers of a layer by their names, and their outputs and inputs. */
const { hidden, ffn, heads, kvHeads } = SHAPE;
const keys = (kvHeads * hidden) / heads;
export const LINEARS: Readonly<Record<string, readonly [outputs: number, inputs: number]>> = {
  'self_attn.q_proj': [hidden, hidden],
  'self_attn.k_proj': [keys, hidden],
  'self_attn.v_proj': [keys, hidden],
  'self_attn.o_proj': [hidden, hidden],
  'mlp.gate_proj': [ffn, hidden],
  'mlp.up_proj': [ffn, hidden],
  'mlp.down_proj': [hidden, ffn],
};
export const MODULES = Array.from({ length: SHAPE.layers }, (_, layer) =>
  Object.keys(LINEARS).map((name) => `model.layers.${layer}.${name}`),
).flat();

export function sizesOf(module: string): readonly [outputs: number, inputs: number] {
  return LINEARS[module.replace(/^model\.layers\.\d+\./, '')]!;
}

/** Numbers from -1 to 1 that a float holds, the same ones each time. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return ((state >>> 16) - 2 ** 15) / 2 ** 15;
  };
}

export function randomMatrix(
  random: () => number,
  rows: number,
  columns: number,
  scale: number,
): Matrix {
  return Array.from({ length: rows }, () =>
    Array.from({ length: columns }, () => Math.fround(random() * scale)),
  );
}

export type FloatType = 'F32' | 'F16' | 'BF16';

/** Of 16-bit types the numbers must be ones that they have. */
export function floats(matrix: Matrix, type: FloatType = 'F32'): Buffer {
  const words = new Uint32Array(Float32Array.from(matrix.flat()).buffer);
  if (type === 'F32') return Buffer.from(words.buffer);
  return Buffer.from(Uint16Array.from(words, type === 'BF16' ? upperHalf : halfBits).buffer);
}

function upperHalf(bits: number): number {
  if ((bits & 0xffff) !== 0) throw new Error('not a number of BF16');
  return bits >>> 16;
}

/** The bits of a normal number, or zero, as F16. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  if (bits << 1 === 0) return sign;
  const exponent = ((bits >>> 23) & 0xff) - 127 + 15;
  if (exponent < 1 || exponent > 30 || (bits & 0x1fff) !== 0) throw new Error('not of F16');
  return sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

/** Writes a model in floats; gives its weights by their names without `.weight`. */
export function writeModel(directory: string, seed = 1): Map<string, Matrix> {
  const hf = new HfBuilder(SHAPE);
  const random = randomFrom(seed);
  const weights = new Map<string, Matrix>();
  for (const tensor of hf.tensors) {
    const [rows, columns] = tensor.shape.length === 1 ? [1, tensor.shape[0]!] : tensor.shape;
    const matrix = randomMatrix(random, rows!, columns!, 0.4);
    if (rows === 1) matrix[0] = matrix[0]!.map((value) => Math.fround(1 + value));
    weights.set(tensor.name.replace(/\.weight$/, ''), matrix);
    Object.assign(tensor, { type: 'F32', data: floats(matrix), byteLength: 4 * rows! * columns! });
  }
  const tokenizer = fixture('gptq/swa-gptq-b4-g128-actorder/tokenizer.json');
  hf.files['tokenizer.json'] = readFileSync(tokenizer, 'utf8');
  delete hf.files['tokenizer.model'];
  hf.write(directory);
  return weights;
}

/** The low-rank matrices of a module, and DoRA's lengths. */
export interface Pair {
  a: Matrix;
  b: Matrix;
  magnitude?: number[];
}

export interface BuiltAdapter {
  /** adapter_config.json: change it, then write(). */
  config: Record<string, unknown>;
  pairs: Map<string, Pair>;
  /** Beside those of the pairs. */
  others: HfTensor[];
}

/** A LoRA of these modules. */
export function buildAdapter(
  rank: number,
  alpha: number,
  { modules = MODULES, seed = 7, scale = 0.3, dora = false, rankOf = (_: string) => rank } = {},
): BuiltAdapter {
  const random = randomFrom(seed);
  const pairs = new Map(
    modules.map((module): [string, Pair] => {
      const [outputs, inputs] = sizesOf(module);
      const a = randomMatrix(random, rankOf(module), inputs, scale);
      const b = randomMatrix(random, outputs, rankOf(module), scale);
      const lengths = randomMatrix(random, 1, outputs, 0.5)[0]!.map((x) => Math.fround(x + 2));
      return [module, { a, b, ...(dora && { magnitude: lengths }) }];
    }),
  );
  const names = modules.map((module) => module.replace(/^.*\./, ''));
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: 'tiny',
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0.1,
    bias: 'none',
    fan_in_fan_out: false,
    target_modules: [...new Set(names)],
    use_rslora: false,
    use_dora: dora,
    modules_to_save: null,
    layers_to_transform: null,
    layer_replication: null,
    rank_pattern: {},
    alpha_pattern: {},
    init_lora_weights: true,
    inference_mode: true,
  };
  return { config, pairs, others: [] };
}

export function tensorOf(
  name: string,
  matrix: Matrix,
  type: FloatType = 'F32',
  shape = [matrix.length, matrix[0]!.length],
): HfTensor {
  const data = floats(matrix, type);
  return { name, type, shape, data, byteLength: data.length };
}

/** The files of a directory as PEFT writes it. */
export function adapterContents(
  { config, pairs, others }: BuiltAdapter,
  type: FloatType = 'F32',
): Record<'adapter_config.json' | 'adapter_model.safetensors', Buffer> {
  const tensors = [...pairs].flatMap(([module, { a, b, magnitude }]) => {
    const name = `base_model.model.${module}`;
    const lengths = `${name}.lora_magnitude_vector`;
    return [
      tensorOf(`${name}.lora_A.weight`, a, type),
      tensorOf(`${name}.lora_B.weight`, b, type),
      ...(magnitude ? [tensorOf(lengths, [magnitude], type, [magnitude.length])] : []),
    ];
  });
  return {
    'adapter_config.json': Buffer.from(JSON.stringify(config)),
    'adapter_model.safetensors': safetensorsFile([...tensors, ...others]).start,
  };
}

/** Writes such a directory, and gives its path. */
export function writeAdapter(directory: string, built: BuiltAdapter, type?: FloatType): string {
  mkdirSync(directory, { recursive: true });
  for (const [name, bytes] of Object.entries(adapterContents(built, type))) {
    writeFileSync(join(directory, name), bytes);
  }
  return directory;
}

/** The model's weights with an adapter's part merged, in doubles. */
export function merged(
  weights: ReadonlyMap<string, Matrix>,
  { pairs }: BuiltAdapter,
  scaleOf: (module: string) => number,
): Map<string, Matrix> {
  const result = new Map(weights);
  for (const [module, { a, b, magnitude }] of pairs) {
    const scale = scaleOf(module);
    const rows = weights.get(module)!.map((row, o) => {
      const sum = row.map((w, i) => {
        return w + scale * b[o]!.reduce((total, value, k) => total + value * a[k]![i]!, 0);
      });
      if (magnitude === undefined) return sum;
      const length = Math.sqrt(sum.reduce((total, value) => total + value * value, 0));
      return sum.map((value) => (magnitude[o]! / length) * value);
    });
    result.set(module, rows);
  }
  return result;
}
