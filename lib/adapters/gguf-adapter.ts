/** From a GGUF file with a LoRA, as llama.cpp's convert_lora_to_gguf writes them, to an adapter. */
import type { ByteSource } from '../files/byte-source';
import type { ModelShape } from '../files/checkpoint';
import { FORMATS, ggmlFormat, ggmlTypeName, SUPPORTED_FORMATS } from '../files/formats';
import { GgufFacts } from '../files/gguf/facts';
import { readGguf, type GgufTensor } from '../files/gguf/reader';
import { invalid, quoted, unsupported } from '../files/problems';
import { refuseOverlaps } from '../files/weights';
import { adaptable, type AdapterFile, type AdapterPair, type AdapterTensor } from './adapter-file';

const ARCHITECTURES = ['llama', 'mistral'];
const PARTS = /^(.+)\.(lora_a|lora_b)$/;
const MAX_RANK = 4096;

/** Reads the header of a GGUF file. */
export async function readGgufAdapter(source: ByteSource, shape: ModelShape): Promise<AdapterFile> {
  const facts = new GgufFacts(await readGguf(source));
  const alpha = readAlpha(facts);
  const tensors = facts.header.tensors;
  const slots = adaptable(shape);
  refuseOthers(source, tensors, new Set(slots.map(({ gguf }) => gguf)));
  const pairs = slots.flatMap(({ role, layer, gguf, rows, columns }): AdapterPair[] => {
    const [a, b] = [tensors.get(`${gguf}.lora_a`), tensors.get(`${gguf}.lora_b`)];
    if (a === undefined && b === undefined) return [];
    if (a === undefined || b === undefined) {
      const missing = quoted(`${gguf}.${a === undefined ? 'lora_a' : 'lora_b'}`);
      throw invalid(source.path, `tensor ${missing} is missing`, (a ?? b)?.at);
    }
    const rank = a.dimensions[1] ?? 1;
    if (rank > MAX_RANK) {
      throw unsupported(source.path, `tensor ${quoted(a.name)} has the rank ${rank}`, a.at);
    }
    const down = readTensor(source, a, rank, columns);
    const up = readTensor(source, b, rows, rank);
    // Without an alpha, files mean 1 for the whole.
    return [{ role, layer, scale: alpha === 0 ? 1 : alpha / rank, down, up }];
  });
  if (pairs.length === 0) throw invalid(source.path, 'has no tensors of an adapter');
  refuseOverlaps(
    source.path,
    pairs.flatMap(({ down, up }) => {
      return [down, up].map(({ name, range }) => ({ name, ...range, at: tensors.get(name)!.at }));
    }),
  );
  const { path, byteLength } = source;
  return { kind: 'gguf', path, byteLength, ropePairing: 'neighbours', pairs };
}

function readAlpha(facts: GgufFacts): number {
  const type = facts.string('general.type') ?? 'model';
  if (type !== 'adapter') {
    throw facts.unsupported('general.type', `is ${quoted(type)}, and not "adapter"`);
  }
  const kind = facts.required('adapter.type', facts.string('adapter.type'));
  if (kind !== 'lora') {
    throw facts.unsupported('adapter.type', `is ${quoted(kind)}; "lora" is supported`);
  }
  const architecture = facts.required('general.architecture', facts.string('general.architecture'));
  if (!ARCHITECTURES.includes(architecture)) {
    const supported = `${ARCHITECTURES.join(' and ')} are supported`;
    throw facts.unsupported('general.architecture', `is ${quoted(architecture)}; ${supported}`);
  }
  const alpha = facts.real('adapter.lora.alpha', -1e6, 1e6);
  return facts.required('adapter.lora.alpha', alpha);
}

function refuseOthers(
  { path }: ByteSource,
  tensors: ReadonlyMap<string, GgufTensor>,
  known: ReadonlySet<string>,
): void {
  for (const { name, at } of tensors.values()) {
    const weight = PARTS.exec(name)?.[1];
    const what = `tensor ${quoted(name)}`;
    if (weight === undefined) {
      throw unsupported(
        path,
        `${what} is no part of a low-rank pair: others are not supported`,
        at,
      );
    }
    if (!known.has(weight)) {
      const problem = `${what} is of no linear layer of this model that can have an adapter`;
      throw unsupported(path, problem, at);
    }
  }
}

function readTensor(
  { path, byteLength: fileLength }: ByteSource,
  { name, dimensions, type, offset, at }: GgufTensor,
  rows: number,
  columns: number,
): AdapterTensor {
  const what = `tensor ${quoted(name)}`;
  const format = ggmlFormat(type);
  if (format === undefined) {
    const found = `${what} is ${ggmlTypeName(type)}`;
    throw unsupported(path, `${found}; supported are ${SUPPORTED_FORMATS}`, at);
  }
  if (dimensions.toReversed().join() !== [rows, columns].join()) {
    const found = `[${dimensions.toReversed().join(', ')}]`;
    throw invalid(path, `${what} is ${found}, and should be [${rows}, ${columns}]`, at);
  }
  const { blockValues, blockBytes } = FORMATS[format];
  if (columns % blockValues !== 0) {
    throw invalid(path, `${what}: ${columns} columns are not whole blocks of ${format}`, at);
  }
  const byteLength = rows * (columns / blockValues) * blockBytes;
  if (offset + byteLength > fileLength) {
    const end = `bytes ${offset} to ${offset + byteLength}`;
    throw invalid(path, `${what} lies at ${end}, and the file ends at ${fileLength}`, at);
  }
  return { name, format, rows, columns, range: { file: 0, offset, byteLength } };
}
