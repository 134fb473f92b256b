/** From the headers of a GGUF model to a checkpoint. */
import type { Checkpoint, Weight } from '../checkpoint';
import type { ByteSource, Folder } from '../byte-source';
import { ggmlFormat, ggmlTypeName, isFloat, SUPPORTED_FORMATS, type FloatFormat } from '../formats';
import type { GgufTensor } from './reader';
import { withParts, type GgufPart } from './parts';
import type { GgufFacts } from './facts';
import { ggufTokenizer } from './tokenizer';
import { MAX_PIECES } from '../limits';
import { invalid, quoted, unsupported } from '../problems';
import { readShape, readSlidingWindow, type ShapeKeys } from '../shape';
import { plainWeight, refuseOverlaps, slots, type Extent, type Slot } from '../weights';

const ARCHITECTURES = ['llama', 'mistral'];

/**
 * Reads a GGUF model of a supported architecture. `path` is the one the user gave.
 * @param source its file, or one of its files
 * @param siblings gives the directory the file is in
 */
export async function readGgufCheckpoint(
  source: ByteSource,
  path: string,
  siblings: () => Folder | Promise<Folder>,
): Promise<Checkpoint> {
  return withParts(source, siblings, (parts) => describe(parts, path));
}

async function describe(
  parts: readonly [GgufPart, ...GgufPart[]],
  path: string,
): Promise<Checkpoint> {
  const { facts } = parts[0];
  const architecture = facts.required('general.architecture', facts.string('general.architecture'));
  refuseOtherModels(facts, architecture);

  const keys = shapeKeys(architecture);
  const tensors = tensorsOf(parts);
  if (tensors.size === 0) {
    throw unsupported(facts.path, 'has no weights but a vocabulary only; loadTokenizer takes it');
  }
  const shape = readShape(facts, keys, vocabularySize(facts.path, tensors), 'neighbours');
  refuseOtherRotations(facts, architecture, shape.headSize);
  const weights = readWeights(facts.path, tensors, slots(shape));
  await refuseOthers(tensors, weights, shape.headSize);

  const name = facts.string('general.name');
  const chatTemplate = facts.string('tokenizer.chat_template');
  const toolTemplate = facts.string('tokenizer.chat_template.tool_use');
  return {
    path,
    kind: 'gguf',
    architecture,
    ...(name === undefined ? {} : { name }),
    files: parts.map(({ source }) => ({ path: source.path, byteLength: source.byteLength })),
    shape,
    slidingWindow: readSlidingWindow(facts, keys, shape),
    weights,
    formats: countFormats(tensors),
    tokenizer: ggufTokenizer(facts),
    endTokens: readEndTokens(facts, shape.vocabularySize),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    ...(toolTemplate === undefined ? {} : { toolTemplate }),
  };
}

/** End of sequence, of turn and of message: each ends a generation. */
function readEndTokens(facts: GgufFacts, vocabularySize: number): number[] {
  const ids = ['eos', 'eot', 'eom'].map((name) => {
    return facts.tokenId(`tokenizer.ggml.${name}_token_id`, vocabularySize);
  });
  return [...new Set(ids.filter((id) => id !== undefined))];
}

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
  const type = facts.string('general.type') ?? 'model';
  if (type === 'adapter') {
    const advice = 'open the model that it was made for';
    throw facts.unsupported('general.type', `is "adapter": no model but a LoRA of one; ${advice}`);
  }
  if (type !== 'model') {
    throw facts.unsupported('general.type', `is ${quoted(type)}, and not "model"`);
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

/** A tensor, and the file it is in. */
interface PlacedTensor extends GgufTensor {
  readonly source: ByteSource;
  /** Index of the file. */
  readonly file: number;
}

type Tensors = ReadonlyMap<string, PlacedTensor>;

function tensorsOf(parts: readonly GgufPart[]): Tensors {
  const tensors = new Map<string, PlacedTensor>();
  for (const [file, { source, facts }] of parts.entries()) {
    for (const tensor of facts.header.tensors.values()) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        const where = `is also in ${other.source.path}: one of them is of another model`;
        throw invalid(source.path, `tensor ${quoted(tensor.name)} ${where}`, tensor.at);
      }
      tensors.set(tensor.name, { ...tensor, source, file });
    }
  }
  return tensors;
}

function vocabularySize(path: string, tensors: Tensors): number {
  const embedding = tensors.get(EMBEDDING);
  if (embedding === undefined) throw invalid(path, `tensor ${EMBEDDING} is missing`);
  const rows = embedding.dimensions[1];
  if (embedding.dimensions.length !== 2 || rows === undefined || rows > MAX_PIECES) {
    const found = `[${embedding.dimensions.join(', ')}]`;
    const problem = `tensor ${EMBEDDING} has dimensions ${found}`;
    throw invalid(embedding.source.path, problem, embedding.at);
  }
  return rows;
}

function readWeights(path: string, tensors: Tensors, wanted: readonly Slot[]): Weight[] {
  const weights = wanted.map((slot) => {
    const tied = slot.role === 'output' && !tensors.has(OUTPUT);
    const tensor = tensors.get(tied ? EMBEDDING : slot.gguf);
    if (tensor === undefined) throw invalid(path, `tensor ${slot.gguf} is missing`);
    return readWeight(slot, tensor);
  });
  const extents = new Map<string, Extent[]>();
  for (const { name, role, storage } of weights) {
    const tensor = tensors.get(name);
    // A tied output is the embedding again.
    if (tensor === undefined || storage.format === 'GPTQ') continue;
    if (role === 'output' && name === EMBEDDING) continue;
    const extent = { name, ...storage.range, at: tensor.at };
    const others = extents.get(tensor.source.path);
    if (others === undefined) extents.set(tensor.source.path, [extent]);
    else others.push(extent);
  }
  for (const [file, inside] of extents) refuseOverlaps(file, inside);
  return weights;
}

function readWeight(slot: Slot, tensor: PlacedTensor): Weight {
  const { name, offset, at, file } = tensor;
  const { path, byteLength: fileLength } = tensor.source;
  const format = ggmlFormat(tensor.type);
  if (format === undefined) {
    const found = `tensor ${quoted(name)} is ${ggmlTypeName(tensor.type)}`;
    throw unsupported(path, `${found}; supported are ${SUPPORTED_FORMATS}`, at);
  }
  const shape = tensor.dimensions.toReversed();
  return plainWeight(slot, { path, fileLength, file, name, format, shape, offset, at });
}

/** Refuses tensors that no weight uses, but for those that change nothing. */
async function refuseOthers(
  tensors: Tensors,
  weights: readonly Weight[],
  headSize: number,
): Promise<void> {
  const rowsOf = new Map(weights.map(({ name, rows }) => [name, rows]));
  for (const tensor of tensors.values()) {
    const { name } = tensor;
    if (rowsOf.has(name)) continue;
    const rows = name.endsWith('.bias') ? rowsOf.get(name.replace(/bias$/, 'weight')) : undefined;
    if (rows !== undefined && (await isFilledWith(tensor, rows, 0))) continue;
    if (name === ROPE_FACTORS && (await isFilledWith(tensor, headSize / 2, 1))) continue;
    throw unexpected(tensor);
  }
}

/** Rotation frequencies are divided by these. */
const ROPE_FACTORS = 'rope_freqs.weight';

/** Whether a float tensor is a vector of `count` times this value. */
async function isFilledWith(tensor: PlacedTensor, count: number, value: 0 | 1): Promise<boolean> {
  const { source, offset, dimensions } = tensor;
  const format = ggmlFormat(tensor.type) ?? '';
  if (!isFloat(format) || dimensions.join() !== String(count)) return false;
  const wanted = Buffer.from(BYTES[format][value]);
  const byteLength = count * wanted.length;
  if (offset + byteLength > source.byteLength) return false;
  return Buffer.alloc(byteLength, wanted).equals(await source.read(offset, byteLength));
}

/** The bytes of 0 and of 1. */
const BYTES: Readonly<Record<FloatFormat, readonly [number[], number[]]>> = {
  F32: [
    [0, 0, 0, 0],
    [0, 0, 0x80, 0x3f],
  ],
  F16: [
    [0, 0],
    [0, 0x3c],
  ],
  BF16: [
    [0, 0],
    [0x80, 0x3f],
  ],
};

/** The error for a tensor that no supported model has. */
function unexpected({ source: { path }, name, at }: PlacedTensor): Error {
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

function countFormats(tensors: Tensors): Record<string, number> {
  const formats: Record<string, number> = {};
  for (const { type } of tensors.values()) {
    const name = ggmlTypeName(type);
    formats[name] = (formats[name] ?? 0) + 1;
  }
  return formats;
}
