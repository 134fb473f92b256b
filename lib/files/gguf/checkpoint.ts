/** From the header of a GGUF file to a checkpoint. */
import type { Checkpoint, Weight } from '../checkpoint';
import type { ByteSource } from '../byte-source';
import { ggmlFormat, ggmlTypeName, SUPPORTED_FORMATS } from '../formats';
import { readGguf, type GgufHeader, type GgufTensor } from './reader';
import { GgufFacts } from './facts';
import { ggufTokenizer } from './tokenizer';
import { MAX_PIECES } from '../limits';
import { invalid, quoted, unsupported } from '../problems';
import { readShape, readSlidingWindow, type ShapeKeys } from '../shape';
import { plainWeight, refuseOverlaps, slots, type Slot } from '../weights';

const ARCHITECTURES = ['llama', 'mistral'];

/** Reads a GGUF file of a supported architecture. `path` is the one the user gave. */
export async function readGgufCheckpoint(source: ByteSource, path: string): Promise<Checkpoint> {
  const header = await readGguf(source);
  const facts = new GgufFacts(header);
  const architecture = facts.required('general.architecture', facts.string('general.architecture'));
  refuseOtherModels(facts, architecture);

  const keys = shapeKeys(architecture);
  const tokenizer = ggufTokenizer(facts);
  const shape = readShape(facts, keys, vocabularySize(header), 'neighbours');
  if (facts.has(TOKENS) && tokenizer.pieces.length !== shape.vocabularySize) {
    const tokens = `lists ${tokenizer.pieces.length} tokens`;
    throw facts.invalid(TOKENS, `${tokens}, and ${EMBEDDING} has ${shape.vocabularySize} rows`);
  }
  refuseOtherRotations(facts, architecture, shape.headSize);

  const endTokens = new Set<number>();
  for (const key of ['tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id']) {
    const id = facts.integer(key, 0, shape.vocabularySize - 1);
    if (id !== undefined) endTokens.add(id);
  }
  const name = facts.string('general.name');
  const chatTemplate = facts.string('tokenizer.chat_template');
  return {
    path,
    kind: 'gguf',
    architecture,
    ...(name === undefined ? {} : { name }),
    files: [{ path: source.path, byteLength: source.byteLength }],
    shape,
    slidingWindow: readSlidingWindow(facts, keys, shape),
    weights: readWeights(header, slots(shape)),
    formats: countFormats(header),
    tokenizer,
    endTokens: [...endTokens],
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}

const TOKENS = 'tokenizer.ggml.tokens';
const EMBEDDING = 'token_embd.weight';
const OUTPUT = 'output.weight';

function shapeKeys(architecture: string): ShapeKeys {
  const attention = `${architecture}.attention`;
  return {
    layers: `${architecture}.block_count`,
    hiddenSize: `${architecture}.embedding_length`,
    ffnSize: `${architecture}.feed_forward_length`,
    heads: `${attention}.head_count`,
    kvHeads: `${attention}.head_count_kv`,
    headSize: [`${attention}.key_length`, `${architecture}.rope.dimension_count`],
    contextSize: `${architecture}.context_length`,
    rmsEpsilon: `${attention}.layer_norm_rms_epsilon`,
    ropeBase: [`${architecture}.rope.freq_base`],
    slidingWindow: `${attention}.sliding_window`,
  };
}

function refuseOtherModels(facts: GgufFacts, architecture: string): void {
  if ((facts.integer('split.count', 0, 65_535) ?? 0) > 1) {
    const advice = 'merge the parts with llama-gguf-split --merge, and open the result';
    throw facts.unsupported('split.count', `says this is one part of a split file; ${advice}`);
  }
  if (!ARCHITECTURES.includes(architecture)) {
    const supported = `${ARCHITECTURES.join(' and ')} are supported`;
    throw facts.unsupported('general.architecture', `is ${quoted(architecture)}; ${supported}`);
  }
  const experts = `${architecture}.expert_count`;
  if ((facts.integer(experts, 0, 2 ** 16) ?? 0) > 0) {
    throw facts.unsupported(experts, 'says mixture of experts; dense models are supported');
  }
  const causal = `${architecture}.attention.causal`;
  if (facts.boolean(causal) === false) {
    throw facts.unsupported(causal, 'is false; causal models are supported');
  }
}

/** Attention heads are rotated whole and unscaled; anything else would give wrong text silently. */
function refuseOtherRotations(facts: GgufFacts, architecture: string, headSize: number): void {
  for (const name of ['rope.dimension_count', 'attention.value_length']) {
    const key = `${architecture}.${name}`;
    const value = facts.integer(key, 0, 2 ** 20) ?? headSize;
    if (value !== headSize) {
      throw facts.unsupported(key, `is ${value}; the head size, ${headSize}, is supported`);
    }
  }
  const typeKey = `${architecture}.rope.scaling.type`;
  const type = facts.string(typeKey);
  if (type === 'none') return;
  for (const name of ['rope.scaling.factor', 'rope.scale_linear']) {
    const key = `${architecture}.${name}`;
    const factor = facts.real(key, 0, Number.MAX_VALUE) ?? 1;
    if (factor !== 0 && factor !== 1) {
      throw facts.unsupported(key, `is ${factor}; unscaled rope is supported`);
    }
  }
  if (type !== undefined && type !== 'linear') {
    throw facts.unsupported(typeKey, `is ${quoted(type)}; unscaled rope is supported`);
  }
}

function vocabularySize(header: GgufHeader): number {
  const embedding = header.tensors.get(EMBEDDING);
  if (embedding === undefined) throw invalid(header.path, `tensor ${EMBEDDING} is missing`);
  const rows = embedding.dimensions[1];
  if (embedding.dimensions.length !== 2 || rows === undefined || rows > MAX_PIECES) {
    const found = `[${embedding.dimensions.join(', ')}]`;
    throw invalid(header.path, `tensor ${EMBEDDING} has dimensions ${found}`, embedding.at);
  }
  return rows;
}

function readWeights(header: GgufHeader, wanted: readonly Slot[]): Weight[] {
  const weights: Weight[] = [];
  const used = new Set<string>();
  for (const slot of wanted) {
    const tied = slot.role === 'output' && !header.tensors.has(OUTPUT);
    const tensor = header.tensors.get(tied ? EMBEDDING : slot.gguf);
    if (tensor === undefined) throw invalid(header.path, `tensor ${slot.gguf} is missing`);
    used.add(tensor.name);
    weights.push(readWeight(header, slot, tensor));
  }
  for (const tensor of header.tensors.values()) {
    if (!used.has(tensor.name)) throw unexpected(header.path, tensor);
  }
  const extents = weights.flatMap(({ name, role, storage }) => {
    // A tied output is the embedding again.
    if (storage.format === 'GPTQ' || (role === 'output' && name === EMBEDDING)) return [];
    return [{ name, ...storage.range, at: header.tensors.get(name)?.at ?? 0 }];
  });
  refuseOverlaps(header.path, extents);
  return weights;
}

function readWeight(header: GgufHeader, slot: Slot, tensor: GgufTensor): Weight {
  const { path, fileLength } = header;
  const { name, offset, at } = tensor;
  const format = ggmlFormat(tensor.type);
  if (format === undefined) {
    const found = `tensor ${quoted(name)} is ${ggmlTypeName(tensor.type)}`;
    throw unsupported(path, `${found}; supported are ${SUPPORTED_FORMATS}`, at);
  }
  const shape = tensor.dimensions.toReversed();
  return plainWeight(slot, { path, fileLength, file: 0, name, format, shape, offset, at });
}

/** The error for a tensor that no supported model has. */
function unexpected(path: string, { name, at }: GgufTensor): Error {
  const what = `tensor ${quoted(name)}`;
  const layer = /^blk\.(\d+)\./.exec(name)?.[1];
  if (/^rope_(freqs|factors)/.test(name)) {
    return unsupported(path, `${what} scales rope; unscaled rope is supported`, at);
  }
  if (name.endsWith('.bias')) {
    return unsupported(path, `${what}: layers with a bias are not supported`, at);
  }
  if (/_exps|\bffn_(gate|up|down)\.\d|ffn_gate_inp/.test(name)) {
    return unsupported(path, `${what}: mixture of experts; dense models are supported`, at);
  }
  if (layer !== undefined) {
    return unsupported(path, `${what} belongs to no weight of this model's layers`, at);
  }
  return unsupported(path, `${what} belongs to no weight of a Llama or Mistral model`, at);
}

function countFormats(header: GgufHeader): Record<string, number> {
  const formats: Record<string, number> = {};
  for (const { type } of header.tensors.values()) {
    const name = ggmlTypeName(type);
    formats[name] = (formats[name] ?? 0) + 1;
  }
  return formats;
}
