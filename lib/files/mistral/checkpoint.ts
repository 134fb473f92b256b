/** Mistral's own layout: params.json, consolidated.safetensors and a tokenizer.model. */
import type { Folder } from '../byte-source';
import type { Checkpoint, WeightRole } from '../checkpoint';
import { folderTokenizer } from '../find-tokenizer';
import { withTensors } from '../hf/tensors';
import { countFormats, readWeights, refuseOthers } from '../hf/weights';
import { JsonObject, readJson } from '../json-object';
import { JSON_LIMITS, MAX_PIECES } from '../limits';
import { readShape, readSlidingWindow, type ShapeKeys } from '../shape';
import { slots } from '../weights';

const PARAMS = 'params.json';
const WEIGHTS = 'consolidated.safetensors';

const KEYS: ShapeKeys = {
  layers: 'n_layers',
  hiddenSize: 'dim',
  ffnSize: 'hidden_dim',
  heads: 'n_heads',
  kvHeads: 'n_kv_heads',
  headSize: ['head_dim'],
  contextSize: 'max_seq_len',
  rmsEpsilon: 'norm_eps',
  ropeBase: ['rope_theta'],
  slidingWindow: 'sliding_window',
};

const MODULES: Readonly<Record<WeightRole, string>> = {
  token_embedding: 'tok_embeddings',
  attention_norm: 'attention_norm',
  query: 'attention.wq',
  key: 'attention.wk',
  value: 'attention.wv',
  attention_output: 'attention.wo',
  ffn_norm: 'ffn_norm',
  ffn_gate: 'feed_forward.w1',
  ffn_down: 'feed_forward.w2',
  ffn_up: 'feed_forward.w3',
  output_norm: 'norm',
  output: 'output',
};

/**
 * Whether a directory is to be read in this layout: where the same weights are there in the Hugging
 * Face layout too, that one is, unless the user named the file.
 */
export function isMistralLayout(folder: Folder, only?: string): boolean {
  if (!folder.names.has(PARAMS) || !folder.names.has(WEIGHTS)) return false;
  if (only !== undefined) return only === WEIGHTS;
  return ![...folder.names].some((name) => name.endsWith('.safetensors') && name !== WEIGHTS);
}

/** Reads such a directory. `path` is the one the user gave. */
export async function readMistralCheckpoint(folder: Folder, path: string): Promise<Checkpoint> {
  const params = await readParams(folder);
  const vocabularySize = params.required('vocab_size', params.integer('vocab_size', 1, MAX_PIECES));
  const shape = readShape(params, KEYS, vocabularySize, 'neighbours');
  const wanted = slots(shape).map((slot) => {
    const prefix = slot.layer < 0 ? '' : `layers.${slot.layer}.`;
    return { ...slot, module: prefix + MODULES[slot.role] };
  });
  const tokenizer = await folderTokenizer(folder);
  return withTensors(folder, WEIGHTS, async (found) => {
    const weights = await readWeights(wanted, found, undefined, false);
    await refuseOthers(found, wanted, false);
    return {
      path,
      kind: 'safetensors',
      architecture: 'mistral',
      files: found.sources.map((source) => ({ path: source.path, byteLength: source.byteLength })),
      shape,
      slidingWindow: readSlidingWindow(params, KEYS, shape),
      weights,
      formats: countFormats(weights, undefined),
      tokenizer,
      endTokens: [],
    };
  });
}

/** Settings of models that compute otherwise. */
const OTHERS = ['moe', 'vision_encoder', 'yarn', 'quantization', 'lora', 'tied_embeddings'];

async function readParams(folder: Folder): Promise<JsonObject> {
  const file = await readJson(folder, PARAMS, JSON_LIMITS.config);
  for (const key of OTHERS) {
    const value = file.raw(key);
    if (value === undefined || value === null || value === false) continue;
    throw file.unsupported(key, 'is set; dense models with unscaled rope are supported');
  }
  // What files may leave out: v0.1 has a window and a rope base of 1e4, v0.2 neither. None says its
  // context.
  const missing = (key: string): boolean => (file.raw(key) ?? null) === null;
  return new JsonObject(file.path, {
    ...file.values,
    ...(missing('rope_theta') && { rope_theta: missing('sliding_window') ? 1e6 : 1e4 }),
    ...(missing('max_seq_len') && { max_seq_len: 32_768 }),
  });
}
