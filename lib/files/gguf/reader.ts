/**
 * GGUF headers, versions 2 and 3, little endian
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): named values, then the table of
 * tensors. Says nothing about models; see checkpoint.ts.
 */
import type { ByteSource } from '../byte-source';
import { shown, Unread } from '../facts';
import { MAX_MERGES, MAX_PIECES, MAX_TENSORS } from '../limits';
import { invalid, quoted, unsupported } from '../problems';

/** A value of the header, and the byte it starts at. */
export interface GgufEntry {
  readonly at: number;
  readonly value: GgufValue | Unread;
}

export type GgufValue = number | boolean | string | readonly string[] | Float32Array | Int32Array;

export interface GgufTensor {
  readonly name: string;
  /** Fastest first: a matrix of r rows and c columns is [c, r]. */
  readonly dimensions: readonly number[];
  /** The format's number in GGUF. */
  readonly type: number;
  /** Where the data starts in the file. How long it is follows from the type. */
  readonly offset: number;
  /** Where its line of the table starts, for messages. */
  readonly at: number;
}

export interface GgufHeader {
  readonly path: string;
  readonly fileLength: number;
  readonly metadata: ReadonlyMap<string, GgufEntry>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** The header of a 7B model with 32k tokens has some 750 KB, with merges twice that. */
const FIRST_CHUNK = 1024 * 1024;
const CHUNK_GROWTH = 4;
/** The longest known header (200k tokens with merges) has some 15 MB. */
const MAX_HEADER = 64 * 1024 * 1024;
/** Of named values; real files have some 40. */
const MAX_VALUES = 65_536;
/** The longest key the specification allows. */
const MAX_NAME = 65_535;

const NAME = 'general.name';
/** Strings that are read; others are stepped over. */
const WANTED_STRINGS = new Set([
  'general.architecture',
  'general.type',
  'adapter.type',
  'tokenizer.ggml.model',
  'tokenizer.ggml.pre',
  'tokenizer.chat_template',
  'tokenizer.chat_template.tool_use',
]);

function isWantedString(key: string): boolean {
  return WANTED_STRINGS.has(key) || key.endsWith('.rope.scaling.type');
}

/** Arrays that are read, and how many elements they may have. */
const WANTED_ARRAYS: ReadonlyMap<string, number> = new Map([
  ['tokenizer.ggml.tokens', MAX_PIECES],
  ['tokenizer.ggml.scores', MAX_PIECES],
  ['tokenizer.ggml.token_type', MAX_PIECES],
  ['tokenizer.ggml.merges', MAX_MERGES],
]);

/** Reads the header of a GGUF file, and little more than the header. */
export async function readGguf(source: ByteSource): Promise<GgufHeader> {
  let bytes = await source.read(0, Math.min(FIRST_CHUNK, source.byteLength));
  for (;;) {
    const parsed = parseAvailable(source, bytes);
    if (!(parsed instanceof MoreBytes)) return parsed;
    // Parsing starts again on a prefix four times as long: at most a third more work in all.
    const length = Math.min(
      source.byteLength,
      Math.max(parsed.needed, bytes.length * CHUNK_GROWTH),
    );
    const more = await source.read(bytes.length, length - bytes.length);
    bytes = Buffer.concat([bytes, more], length);
  }
}

/** Whether the first four bytes of a file are GGUF's. */
export function isGguf(start: Buffer): boolean {
  return start.length >= 4 && start.toString('latin1', 0, 4) === 'GGUF';
}

/** The header lies partly beyond the bytes at hand. */
class MoreBytes extends Error {
  constructor(readonly needed: number) {
    super('more bytes are needed');
  }
}

function parseAvailable(source: ByteSource, bytes: Buffer): GgufHeader | MoreBytes {
  try {
    return parse(new Reader(source.path, bytes, source.byteLength));
  } catch (error) {
    if (error instanceof MoreBytes) return error;
    throw error;
  }
}

function parse(reader: Reader): GgufHeader {
  const { path, fileLength } = reader;
  const magic = reader.bytes.subarray(0, 4);
  if (!isGguf(magic)) {
    throw invalid(path, `starts with ${quoted(magic.toString('latin1'))}, not GGUF`, 0);
  }
  reader.skip(4, 'magic');
  const version = reader.u32('version');
  if (version !== 0 && (version & 0xffff) === 0) {
    throw unsupported(path, 'a big-endian GGUF file; little endian is supported', 4);
  }
  if (version !== 2 && version !== 3) {
    throw unsupported(path, `GGUF version ${version}; versions 2 and 3 are supported`, 4);
  }
  const tensorCount = reader.count('number of tensors', 32);
  const entryCount = reader.count('number of values', 13);
  if (tensorCount > MAX_TENSORS || entryCount > MAX_VALUES) {
    throw invalid(path, `${tensorCount} tensors and ${entryCount} values: too many`, 8);
  }
  const metadata = parseMetadata(reader, entryCount);
  const alignment = dataAlignment(path, metadata);
  const table = parseTensors(reader, tensorCount);
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const tensor of table) {
    const { name, offset, at } = tensor;
    const what = `tensor ${quoted(name)}`;
    if (tensors.has(name)) throw invalid(path, `${what} appears twice`, at);
    if (offset % alignment !== 0) {
      throw invalid(path, `${what}: offset ${offset} is not a multiple of ${alignment}`, at);
    }
    tensors.set(name, { ...tensor, offset: dataStart + offset });
  }
  return { path, fileLength, metadata, tensors };
}

function parseMetadata(reader: Reader, count: number): Map<string, GgufEntry> {
  const metadata = new Map<string, GgufEntry>();
  for (let i = 0; i < count; i++) {
    const start = reader.position;
    const key = reader.name('key');
    if (metadata.has(key)) throw invalid(reader.path, `key ${quoted(key)} appears twice`, start);
    const type = reader.u32(key);
    const at = reader.position;
    metadata.set(key, { at, value: parseValue(reader, key, type) });
  }
  return metadata;
}

const TYPE_STRING = 8;
const TYPE_ARRAY = 9;
const TYPE_INT32 = 5;
const TYPE_UINT32 = 4;
const TYPE_FLOAT32 = 6;

function parseValue(reader: Reader, key: string, type: number): GgufValue | Unread {
  if (type === TYPE_STRING) {
    // A name is for people: one in another encoding than UTF-8 is no reason to refuse a model.
    if (key === NAME) return reader.lenientString(key);
    if (isWantedString(key)) return reader.string(key);
    reader.skipString(key);
    return new Unread('a string');
  }
  if (type === TYPE_ARRAY) return parseArray(reader, key);
  return reader.scalar(type, key);
}

function parseArray(reader: Reader, key: string): GgufValue | Unread {
  const at = reader.position;
  const type = reader.u32(key);
  const elementBytes = type === TYPE_STRING ? 8 : SCALARS[type]?.length;
  if (elementBytes === undefined) {
    throw invalid(reader.path, `key ${quoted(key)}: an array of type ${type}`, at);
  }
  const count = reader.count(key, elementBytes);
  const limit = WANTED_ARRAYS.get(key);
  if (limit === undefined) {
    if (type !== TYPE_STRING) reader.skip(count * elementBytes, key);
    else for (let i = 0; i < count; i++) reader.skipString(key);
    return new Unread('a list');
  }
  if (count > limit) {
    throw invalid(reader.path, `${key} has ${count} elements; at most ${limit} are taken`, at);
  }
  if (type === TYPE_STRING) {
    const strings: string[] = [];
    for (let i = 0; i < count; i++) strings.push(reader.string(key));
    return strings;
  }
  if (type === TYPE_FLOAT32) return new Float32Array(reader.copy(count * 4, key));
  if (type === TYPE_INT32 || type === TYPE_UINT32) {
    return new Int32Array(reader.copy(count * 4, key));
  }
  throw invalid(reader.path, `key ${quoted(key)}: an array of type ${type}`, at);
}

function dataAlignment(path: string, metadata: ReadonlyMap<string, GgufEntry>): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return 32;
  const value = entry.value;
  const isPowerOfTwo =
    typeof value === 'number' && value >= 1 && Number.isInteger(Math.log2(value));
  if (!isPowerOfTwo || value > 2 ** 30) {
    throw invalid(path, `general.alignment is ${shown(value)}, not a power of two`, entry.at);
  }
  return value;
}

/** The table of tensors; offsets still count from the start of the data. */
function parseTensors(reader: Reader, count: number): GgufTensor[] {
  const tensors: GgufTensor[] = [];
  for (let i = 0; i < count; i++) {
    const at = reader.position;
    const name = reader.name('tensor name');
    const what = `tensor ${quoted(name)}`;
    const rank = reader.u32(what);
    if (rank < 1 || rank > 4) throw invalid(reader.path, `${what} has ${rank} dimensions`, at);
    const dimensions = Array.from({ length: rank }, () => reader.u64(what));
    if (dimensions.includes(0)) throw invalid(reader.path, `${what} is empty`, at);
    const type = reader.u32(what);
    const offset = reader.u64(what);
    tensors.push({ name, dimensions, type, offset, at });
  }
  return tensors;
}

interface Scalar {
  readonly length: number;
  read(bytes: Buffer, at: number): number | boolean;
}

/** Scalar values by their type's number; the hole is strings and arrays. */
const SCALARS: readonly (Scalar | undefined)[] = [
  { length: 1, read: (bytes, at) => bytes.readUInt8(at) },
  { length: 1, read: (bytes, at) => bytes.readInt8(at) },
  { length: 2, read: (bytes, at) => bytes.readUInt16LE(at) },
  { length: 2, read: (bytes, at) => bytes.readInt16LE(at) },
  { length: 4, read: (bytes, at) => bytes.readUInt32LE(at) },
  { length: 4, read: (bytes, at) => bytes.readInt32LE(at) },
  { length: 4, read: (bytes, at) => bytes.readFloatLE(at) },
  { length: 1, read: (bytes, at) => bytes.readUInt8(at) !== 0 },
  undefined,
  undefined,
  { length: 8, read: (bytes, at) => Number(bytes.readBigUInt64LE(at)) },
  { length: 8, read: (bytes, at) => Number(bytes.readBigInt64LE(at)) },
  { length: 8, read: (bytes, at) => bytes.readDoubleLE(at) },
];

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads values one after another, and never past the file's end. */
class Reader {
  position = 0;

  constructor(
    readonly path: string,
    readonly bytes: Buffer,
    readonly fileLength: number,
  ) {}

  /** Moves on by `length` bytes, which must be at hand, and gives where they start. */
  private take(length: number, what: string): number {
    const start = this.position;
    this.skip(length, what);
    if (this.position > this.bytes.length) throw new MoreBytes(this.position);
    return start;
  }

  /** Moves on by `length` bytes without looking at them. */
  skip(length: number, what: string): void {
    const end = this.position + length;
    if (end > this.fileLength) {
      throw invalid(this.path, `${what} runs past the end of the file`, this.position);
    }
    if (end > MAX_HEADER) {
      throw invalid(this.path, `${what}: the header has more than ${MAX_HEADER} bytes`);
    }
    this.position = end;
  }

  u32(what: string): number {
    return this.bytes.readUInt32LE(this.take(4, what));
  }

  /** Not exact above 2^53, where every bound refuses it anyway. */
  u64(what: string): number {
    const start = this.take(8, what);
    return this.bytes.readUInt32LE(start) + this.bytes.readUInt32LE(start + 4) * 2 ** 32;
  }

  /** A count of things of at least `bytesEach` bytes, as many as the rest of the file can hold. */
  count(what: string, bytesEach: number): number {
    const at = this.position;
    const count = this.u64(what);
    if (count * bytesEach > this.fileLength - this.position) {
      throw invalid(this.path, `${what}: ${count} is more than the file can hold`, at);
    }
    return count;
  }

  string(what: string): string {
    const length = this.count(what, 1);
    const start = this.take(length, what);
    try {
      return UTF8.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw invalid(this.path, `${what}: a string is not UTF-8`, start);
    }
  }

  /** With U+FFFD in place of what is not UTF-8. */
  lenientString(what: string): string {
    const length = this.count(what, 1);
    const start = this.take(length, what);
    return this.bytes.toString('utf8', start, start + length);
  }

  skipString(what: string): void {
    this.skip(this.count(what, 1), what);
  }

  /** A key or the name of a tensor. */
  name(what: string): string {
    const at = this.position;
    const name = this.string(what);
    if (name.length > MAX_NAME) throw invalid(this.path, `${what} has ${name.length} bytes`, at);
    return name;
  }

  /** A copy of `length` bytes, aligned for typed arrays. */
  copy(length: number, what: string): ArrayBuffer {
    const start = this.take(length, what);
    const copy = new Uint8Array(length);
    copy.set(this.bytes.subarray(start, start + length));
    return copy.buffer;
  }

  scalar(type: number, key: string): number | boolean {
    const scalar = SCALARS[type];
    if (scalar === undefined) {
      throw invalid(this.path, `key ${quoted(key)}: there is no value type ${type}`, this.position);
    }
    return scalar.read(this.bytes, this.take(scalar.length, key));
  }
}
