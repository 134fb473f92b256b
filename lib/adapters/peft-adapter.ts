/** From a directory of PEFT to an adapter. */
import type { ByteSource, Folder } from '../files/byte-source';
import type { ModelShape } from '../files/checkpoint';
import { isFloat } from '../files/formats';
import { readSafetensors, type SafetensorsTensor } from '../files/hf/safetensors';
import { readJson } from '../files/json-object';
import { JSON_LIMITS } from '../files/limits';
import { invalid, quoted, unsupported } from '../files/problems';
import type { Slot } from '../files/weights';
import { adaptable, type AdapterFile, type AdapterPair, type AdapterTensor } from './adapter-file';
import {
  parsePeftTensor,
  PEFT_CONFIG,
  peftTensor,
  readPeftConfig,
  type PeftPart,
  type PeftRules,
} from './peft';

/** The parts of each module that the file has. */
type Parts = ReadonlyMap<string, ReadonlyMap<PeftPart, SafetensorsTensor>>;

/** Reads adapter_config.json of the folder, and the header of the file with the tensors. */
export async function readPeftAdapter(
  folder: Folder,
  source: ByteSource,
  shape: ModelShape,
): Promise<AdapterFile> {
  const rules = readPeftConfig(await readJson(folder, PEFT_CONFIG, JSON_LIMITS.config));
  const slots = adaptable(shape);
  const parts = partsOf(source, await readSafetensors(source), slots);
  const pairs = slots.flatMap((slot) => readPair(source, slot, parts, rules) ?? []);
  if (pairs.length === 0) throw invalid(source.path, 'has no tensors of an adapter');
  const { path, byteLength } = source;
  return {
    kind: 'peft',
    path,
    byteLength,
    ropePairing: 'halves',
    pairs,
    ...(rules.base !== undefined && { base: rules.base }),
  };
}

function partsOf(
  { path }: ByteSource,
  tensors: readonly SafetensorsTensor[],
  slots: readonly Slot[],
): Parts {
  const known = new Set(slots.map(({ module }) => module));
  const parts = new Map<string, Map<PeftPart, SafetensorsTensor>>();
  for (const tensor of tensors) {
    const what = `tensor ${quoted(tensor.name)}`;
    const named = parsePeftTensor(tensor.name);
    if (named === undefined) {
      const problem = `${what} is no part of a low-rank pair: others are not supported`;
      throw unsupported(path, problem, tensor.at);
    }
    const { module, part } = named;
    if (!known.has(module)) {
      const problem = `${what} is of ${quoted(module)}, no linear layer of this model that can have an adapter`;
      throw unsupported(path, problem, tensor.at);
    }
    const others = parts.get(module) ?? new Map<PeftPart, SafetensorsTensor>();
    if (others.has(part)) throw invalid(path, `${what} is there in two forms`, tensor.at);
    parts.set(module, others.set(part, tensor));
  }
  return parts;
}

/** The pair of a weight; undefined where the adapter leaves it as it is. */
function readPair(
  source: ByteSource,
  { role, layer, module, rows, columns }: Slot,
  parts: Parts,
  rules: PeftRules,
): AdapterPair | undefined {
  const { path } = source;
  const found = parts.get(module);
  if (!rules.targets(module, layer)) {
    if (found === undefined) return undefined;
    const problem = `has tensors of ${quoted(module)}, which ${PEFT_CONFIG} does not target`;
    throw invalid(path, problem, [...found.values()][0]?.at);
  }
  const tensor = (part: PeftPart, shape: readonly number[]): AdapterTensor => {
    const name = peftTensor(module, part);
    const at = found?.get(part);
    if (at === undefined) {
      throw invalid(path, `tensor ${quoted(name)} is missing, which ${PEFT_CONFIG} asks for`);
    }
    return readTensor(source, at, shape);
  };
  const rank = rules.rankOf(module);
  const scale = rules.scaleOf(module);
  const down = tensor('lora_A', [rank, columns]);
  const up = tensor('lora_B', [rows, rank]);
  if (rules.dora) {
    return { role, layer, scale, down, up, magnitude: tensor('lora_magnitude_vector', [rows]) };
  }
  const magnitude = found?.get('lora_magnitude_vector');
  if (magnitude !== undefined) {
    const problem = `tensor ${quoted(magnitude.name)} is of DoRA, and ${PEFT_CONFIG} says use_dora is false`;
    throw invalid(path, problem, magnitude.at);
  }
  return { role, layer, scale, down, up };
}

function readTensor(
  { path }: ByteSource,
  { name, type, shape, offset, byteLength, at }: SafetensorsTensor,
  wanted: readonly number[],
): AdapterTensor {
  const what = `tensor ${quoted(name)}`;
  if (!isFloat(type)) {
    throw unsupported(path, `${what} is ${quoted(type)}; F32, F16 and BF16 are supported`, at);
  }
  if (shape.join() !== wanted.join()) {
    const found = `[${shape.join(', ')}]`;
    throw invalid(path, `${what} is ${found}, and should be [${wanted.join(', ')}]`, at);
  }
  const [rows = 1, columns = 1] = shape;
  return { name, format: type, rows, columns, range: { file: 0, offset, byteLength } };
}
