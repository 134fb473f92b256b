/**
 * Safetensors headers (https://github.com/huggingface/safetensors): eight bytes of length, then a
 * JSON object that gives each tensor's type, shape and byte range.
 */
import type { ByteSource } from '../byte-source';
import { isObject, outerKeys, parseJsonObject } from '../json';
import { JSON_LIMITS, MAX_TENSORS } from '../limits';
import { invalid, quoted } from '../problems';
import { notAModel, START_BYTES } from '../recognize';
import { refuseOverlaps } from '../weights';

export interface SafetensorsTensor {
  readonly name: string;
  /** As written: F32, BF16, I32, ... */
  readonly type: string;
  /** Slowest first. */
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
  /** Where the header names it, for messages. */
  readonly at: number;
}

const LIMITS = JSON_LIMITS.safetensors;
const LENGTH_BYTES = 8;
const MAX_RANK = 8;

const TYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ['F64', 8],
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['I64', 8],
  ['I32', 4],
  ['I16', 2],
  ['I8', 1],
  ['U64', 8],
  ['U32', 4],
  ['U16', 2],
  ['U8', 1],
  ['BOOL', 1],
  ['F8_E4M3', 1],
  ['F8_E5M2', 1],
]);

/** Reads the header of a safetensors file and nothing else. Tensors are in the header's order. */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsTensor[]> {
  const { path, byteLength: fileLength } = source;
  const noHeader = async (problem: string): Promise<Error> => {
    const start = await source.read(0, Math.min(START_BYTES, fileLength));
    return notAModel(path, start) ?? invalid(path, problem, 0);
  };
  if (fileLength < LENGTH_BYTES) throw await noHeader('too short for a safetensors file');
  const headerLength = Number((await source.read(0, LENGTH_BYTES)).readBigUInt64LE());
  const dataStart = LENGTH_BYTES + headerLength;
  if (headerLength < 2 || headerLength > LIMITS.bytes || dataStart > fileLength) {
    const limit = Math.min(LIMITS.bytes, fileLength - LENGTH_BYTES);
    throw await noHeader(`a header of ${headerLength} bytes, and 2 to ${limit} can be`);
  }
  const bytes = await source.read(LENGTH_BYTES, headerLength);
  const header = parseJsonObject({ path, bytes }, LIMITS, LENGTH_BYTES);

  const seen = new Set<string>();
  const tensors: SafetensorsTensor[] = [];
  for (const { key, at } of outerKeys(bytes)) {
    const place = LENGTH_BYTES + at;
    if (seen.has(key)) throw invalid(path, `tensor ${quoted(key)} appears twice`, place);
    seen.add(key);
    if (seen.size > MAX_TENSORS) throw invalid(path, `more than ${MAX_TENSORS} tensors`, place);
    if (key === '__metadata__') continue;
    tensors.push(readTensor(path, key, header[key], place, dataStart, fileLength));
  }
  refuseOverlaps(path, tensors);
  return tensors;
}

function readTensor(
  path: string,
  name: string,
  entry: unknown,
  at: number,
  dataStart: number,
  fileLength: number,
): SafetensorsTensor {
  const what = `tensor ${quoted(name)}`;
  const { dtype: type, shape, data_offsets: range } = isObject(entry) ? entry : {};
  if (typeof type !== 'string') throw invalid(path, `${what} has no dtype`, at);
  if (!isSizes(shape) || shape.length > MAX_RANK)
    throw invalid(path, `${what} has no valid shape`, at);
  if (!isSizes(range) || range.length !== 2) {
    throw invalid(path, `${what} has no valid data_offsets`, at);
  }
  const [begin, end] = range as [number, number];
  if (begin > end || dataStart + end > fileLength) {
    const found = `data_offsets [${begin}, ${end}]`;
    const limit = `the file has ${fileLength - dataStart} bytes of data`;
    throw invalid(path, `${what} has ${found}, and ${limit}`, at);
  }
  const valueBytes = TYPE_BYTES.get(type);
  const values = shape.reduce((product, size) => product * size, 1);
  if (valueBytes !== undefined && values * valueBytes !== end - begin) {
    const found = `${end - begin} bytes for ${type} [${shape.join(', ')}]`;
    throw invalid(path, `${what} has ${found}`, at);
  }
  return { name, type, shape, offset: dataStart + begin, byteLength: end - begin, at };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
