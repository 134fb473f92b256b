/** A GGUF model with an adapter in its weights, as a file of its own. */
import { openAdapter } from '../adapters/open';
import { TramontaneError } from '../errors';
import { openFile, type ByteSource } from '../files/byte-source';
import type { Checkpoint, Weight } from '../files/checkpoint';
import { FORMATS, type FormatLayout } from '../files/formats';
import { readGguf, type GgufHeader, type GgufTensor } from '../files/gguf/reader';
import { openCheckpoint } from '../files/open';
import { unsupported } from '../files/problems';
import { writeWhole } from '../files/write-whole';
import { fromNative, native, type MergedFormat } from './native';
import { defaultThreads } from './process-limits';

export interface MergeOptions {
  /** Of the weights that the adapter changes; all others stay as they are. */
  readonly format: MergedFormat;
  /** What the adapter's part is multiplied by, beside what its file says. */
  readonly scale: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (fraction: number) => void;
}

const ALIGNMENT = 32;
/** Magic, version, and the counts of tensors and values. */
const COUNTS_END = 24;
const PIECE = 2 ** 24;

/** A tensor of the new file. */
interface Planned {
  readonly tensor: GgufTensor;
  readonly layout: FormatLayout;
  readonly byteLength: number;
  /** Of the weight that the adapter changes; else the tensor is copied. */
  readonly weight?: Weight;
}

/**
 * Writes a GGUF model with the part of an adapter in its weights.
 * @param model a .gguf file
 * @param adapter as of Model.loadAdapter()
 * @param output the file to write, which is there whole or not at all
 * @returns how many weights were changed, and the bytes written
 * @throws TramontaneError FILE_NOT_READABLE, FILE_NOT_WRITABLE, INVALID_FILE, UNSUPPORTED_FILE,
 *   OUT_OF_MEMORY, COMPUTE_FAILED; the signal's reason when it is aborted
 */
export async function mergeAdapter(
  model: string,
  adapter: string,
  output: string,
  { format, scale, signal, onProgress }: MergeOptions,
): Promise<{ weights: number; bytes: number }> {
  const checkpoint = await openCheckpoint(model, signal ? { signal } : {});
  const [only, ...others] = checkpoint.files;
  if (checkpoint.kind !== 'gguf' || only === undefined || others.length > 0) {
    const advice = 'merge others where they were made, and convert the result';
    throw unsupported(model, `no GGUF model in one file, which is what is merged; ${advice}`);
  }
  const { shape } = checkpoint;
  const file = await openAdapter(adapter, shape, signal);
  const pairs = new Map(file.pairs.map((pair) => [`${pair.layer} ${pair.role}`, pair]));
  const source = await openFile(only.path, signal);
  try {
    const header = await readGguf(source);
    const plan = planTensors(header, checkpoint, (weight) => {
      return pairs.has(`${weight.layer} ${weight.role}`) ? format : undefined;
    });
    const start = await newHeader(source, header, plan);
    const total = start.length + plan.reduce((sum, { byteLength }) => sum + padded(byteLength), 0);
    let done = 0;
    await writeWhole(output, async (write) => {
      const put = async (bytes: Uint8Array): Promise<void> => {
        signal?.throwIfAborted();
        await write(bytes);
        done += bytes.length;
        onProgress?.(done / total);
      };
      await put(start);
      for (const { tensor, byteLength, weight } of plan) {
        if (weight === undefined) {
          for (let at = 0; at < byteLength; at += PIECE) {
            await put(await source.read(tensor.offset + at, Math.min(PIECE, byteLength - at)));
          }
        } else {
          const merged = Buffer.alloc(byteLength);
          const pair = pairs.get(`${weight.layer} ${weight.role}`)!;
          const request = {
            files: [only.path],
            weight,
            shape,
            adapter: { ...file, pairs: [pair] },
            scale,
            format,
            threads: defaultThreads().count,
          };
          await native()
            .mergeWeight(request, merged)
            .catch((error: unknown) => {
              throw fromNative(error);
            });
          await put(merged);
        }
        await put(Buffer.alloc(padded(byteLength) - byteLength));
      }
    });
    return { weights: plan.filter(({ weight }) => weight !== undefined).length, bytes: total };
  } finally {
    await source.close();
  }
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** All tensors in the file's order. */
function planTensors(
  { path, tensors }: GgufHeader,
  { weights }: Checkpoint,
  formatOf: (weight: Weight) => MergedFormat | undefined,
): Planned[] {
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  return Array.from(tensors.values(), (tensor): Planned => {
    const weight = byName.get(tensor.name);
    const format = weight && formatOf(weight);
    const layout =
      format === undefined
        ? Object.values(FORMATS).find(({ type }) => type === tensor.type)
        : FORMATS[format];
    const [columns = 1, ...rows] = tensor.dimensions;
    if (layout === undefined || columns % layout.blockValues !== 0) {
      const problem = `tensor ${tensor.name}: ${columns} columns are not whole blocks of ${format}`;
      throw new TramontaneError('INVALID_OPTION', `${path}: ${problem}`);
    }
    const blocks = rows.reduce((product, size) => product * size, columns / layout.blockValues);
    const byteLength = blocks * layout.blockBytes;
    return { tensor, layout, byteLength, ...(format !== undefined && weight && { weight }) };
  });
}

/** The old header with the new types and places of tensors; its alignment is the least. */
async function newHeader(
  source: ByteSource,
  { tensors, metadata }: GgufHeader,
  plan: readonly Planned[],
): Promise<Buffer> {
  const alignment = metadata.get('general.alignment')?.value ?? ALIGNMENT;
  if (alignment !== ALIGNMENT) {
    throw unsupported(
      source.path,
      `general.alignment is not ${ALIGNMENT}, which is what is merged`,
    );
  }
  const valuesEnd = Math.min(...Array.from(tensors.values(), ({ at }) => at));
  const parts = [await source.read(0, COUNTS_END)];
  parts.push(await source.read(COUNTS_END, valuesEnd - COUNTS_END));
  let offset = 0;
  for (const { tensor, layout, byteLength } of plan) {
    const name = Buffer.from(tensor.name);
    const line = Buffer.alloc(8 + name.length + 4 + 8 * tensor.dimensions.length + 4 + 8);
    let at = line.writeBigUInt64LE(BigInt(name.length));
    at += name.copy(line, at);
    at = line.writeUInt32LE(tensor.dimensions.length, at);
    for (const size of tensor.dimensions) at = line.writeBigUInt64LE(BigInt(size), at);
    at = line.writeUInt32LE(layout.type, at);
    line.writeBigUInt64LE(BigInt(offset), at);
    parts.push(line);
    offset += padded(byteLength);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header], padded(header.length));
}
