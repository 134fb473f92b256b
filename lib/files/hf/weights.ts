/** The weights of safetensors files: each found by its module's name, plain or quantized by GPTQ. */
import type { Weight } from '../checkpoint';
import { isFloat, type TensorFormat } from '../formats';
import type { GptqConfig } from '../gptq/config';
import { gptqFormatName, gptqWeight } from '../gptq/weights';
import { invalid, quoted, unsupported } from '../problems';
import { isNorm, plainWeight, type Slot } from '../weights';
import type { HfTensor, HfTensors } from './tensors';

/** Reads in flight at a time, of at most a few MB each. */
const CONCURRENCY = 32;

/**
 * Reads all weights; of several that are wrong, the first in order is the one reported.
 * @param tied whether the output is the embedding
 */
export async function readWeights(
  wanted: readonly Slot[],
  found: HfTensors,
  gptq: GptqConfig | undefined,
  tied: boolean,
): Promise<Weight[]> {
  const embedding = wanted.find(({ role }) => role === 'token_embedding');
  const shared = tied ? found.tensors.get(`${embedding?.module}.weight`) : undefined;
  const weights: Weight[] = [];
  for (let i = 0; i < wanted.length; i += CONCURRENCY) {
    const some = wanted.slice(i, i + CONCURRENCY);
    const results = await Promise.allSettled(
      some.map((slot) => {
        return readWeight(slot, found, gptq, slot.role === 'output' ? shared : undefined);
      }),
    );
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
      weights.push(result.value);
    }
  }
  return weights;
}

async function readWeight(
  slot: Slot,
  found: HfTensors,
  gptq: GptqConfig | undefined,
  shared: HfTensor | undefined,
): Promise<Weight> {
  const plain = found.tensors.get(`${slot.module}.weight`);
  const packed = found.tensors.get(`${slot.module}.qweight`);
  if (packed === undefined) {
    const tensor = shared ?? plain;
    if (tensor !== undefined) return floatWeight(slot, tensor, found);
    throw missing(slot, found, gptq !== undefined);
  }
  const { path } = packed.source;
  const what = `tensor ${quoted(packed.name)}`;
  if (plain !== undefined) {
    throw invalid(path, `${what} and ${quoted(plain.name)} are the same weight`, packed.at);
  }
  if (isNorm(slot.role) || slot.role === 'token_embedding') {
    throw unsupported(path, `${what}: only linear layers may be quantized`, packed.at);
  }
  if (gptq === undefined) {
    const problem = 'is quantized, and neither config.json nor quantize_config.json says how';
    throw invalid(path, `${what} ${problem}`, packed.at);
  }
  return gptqWeight(slot, found, gptq);
}

function floatWeight(slot: Slot, tensor: HfTensor, found: HfTensors): Weight {
  const { name, type, shape, offset, source, file, at } = tensor;
  const { path, byteLength: fileLength } = source;
  if (!isFloat(type)) {
    const problem = `tensor ${quoted(name)} is ${quoted(type)}`;
    throw exotic(found) ?? unsupported(path, `${problem}; F32, F16 and BF16 are supported`, at);
  }
  const format: TensorFormat = type;
  return plainWeight(slot, { path, fileLength, file, name, format, shape, offset, at });
}

/** Tensors that say by their names which layout they belong to. */
const LAYOUTS: readonly [RegExp, string][] = [
  [/\.weight_packed$|\.weight_scale(_inv)?$/, 'compressed-tensors or FP8'],
  [/\.(absmax|quant_map|nested_absmax|quant_state\..*|SCB)$/, 'bitsandbytes'],
  [/\.(B|s|workspace|B_24|B_meta)$/, 'repacked for Marlin'],
  [/\.(q_weight|q_scale|q_groups|q_invperm)$/, 'EXL2'],
  [/\.(trellis|suh|svh)$/, 'EXL3'],
  [/\.(W_q|W_nbits)$/, 'HQQ'],
  [/\.codebooks$/, 'AQLM'],
  [/\.experts\.|block_sparse_moe/, 'mixture of experts'],
  [/\.lora_[AB]\b|^base_model\./, 'a LoRA adapter'],
];
const SUPPORTED = 'plain and GPTQ weights of dense models in the Hugging Face layout are supported';

function exotic(found: HfTensors): Error | undefined {
  for (const { name, source, at } of found.tensors.values()) {
    const layout = LAYOUTS.find(([pattern]) => pattern.test(name))?.[1];
    if (layout === undefined) continue;
    return unsupported(source.path, `tensor ${quoted(name)} is ${layout}; ${SUPPORTED}`, at);
  }
  return undefined;
}

function missing(slot: Slot, found: HfTensors, mayBeGptq: boolean): Error {
  const [first, ...others] = found.sources.map((source) => source.path);
  const files = others.length === 0 ? '' : ` (and in ${others.length} other files)`;
  const name = quoted(`${slot.module}.weight`);
  const problem = mayBeGptq
    ? `neither tensor ${name} nor its .qweight is here`
    : `tensor ${name} is missing`;
  return exotic(found) ?? invalid(first ?? '', `${problem}${files}`);
}

/** Refuses tensors that no weight uses, but for those that change nothing. */
export async function refuseOthers(
  found: HfTensors,
  wanted: readonly Slot[],
  mayBeGptq: boolean,
): Promise<void> {
  const suffixes = ['weight', ...(mayBeGptq ? ['qweight', 'qzeros', 'scales', 'g_idx'] : [])];
  const known = new Set(wanted.flatMap(({ module }) => suffixes.map((s) => `${module}.${s}`)));
  const rowsOf = new Map(wanted.map(({ module, rows }) => [`${module}.bias`, rows]));
  for (const tensor of found.tensors.values()) {
    const { name, source, at } = tensor;
    // Rotation frequencies, which old files store, follow from the rope base.
    if (known.has(name) || name.endsWith('.rotary_emb.inv_freq')) continue;
    if (rowsOf.has(name) && (await isZero(tensor, rowsOf.get(name)))) continue;
    const { path } = source;
    const reason = name.endsWith('.bias')
      ? unsupported(path, `tensor ${quoted(name)}: layers with a bias are not supported`, at)
      : exotic(found);
    if (reason !== undefined) throw reason;
    throw unsupported(path, `tensor ${quoted(name)} belongs to no weight of this model`, at);
  }
}

/** AutoGPTQ's early versions gave every layer a bias of zeros. */
async function isZero(tensor: HfTensor, rows?: number): Promise<boolean> {
  if (tensor.shape.join() !== String(rows)) return false;
  const bytes = await tensor.source.read(tensor.offset, tensor.byteLength);
  return bytes.every((byte) => byte === 0);
}

export function countFormats(
  weights: readonly Weight[],
  gptq: GptqConfig | undefined,
): Record<string, number> {
  const formats: Record<string, number> = {};
  for (const [name, { storage }] of new Map(weights.map((weight) => [weight.name, weight]))) {
    const rules = storage.format === 'GPTQ' ? gptq?.rules(name) : undefined;
    const format = rules === undefined ? storage.format : gptqFormatName(rules);
    formats[format] = (formats[format] ?? 0) + 1;
  }
  return formats;
}
