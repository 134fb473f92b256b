/**
 * Adapters as PEFT keeps them: a directory with adapter_config.json and adapter_model.safetensors,
 * which transformers' users load by `PeftModel.from_pretrained(model, directory)`.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TramontaneError } from '../errors';
import type { AdapterTensor } from '../adapters/adapter-file';
import { openAdapter } from '../adapters/open';
import { PEFT_CONFIG, PEFT_TENSORS, peftTensor, writePeftConfig } from '../adapters/peft';
import { openFile, type ByteSource } from '../files/byte-source';
import type { ModelShape } from '../files/checkpoint';
import { writeWhole } from '../files/write-whole';
import { exportedB, importB, type LoraSlot, type TargetModule } from './lora';

/** What a configuration says of adapters. */
export interface LoraSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly targets: readonly TargetModule[];
}

/** A tensor to write. */
export interface FileTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Writes a safetensors file whole or not at all: beside its place first, then there. */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<FileTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const list = [...tensors];
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const { name, shape, values } of list) {
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + values.byteLength] };
    end += values.byteLength;
  }
  const text = JSON.stringify(header);
  // The data begins at a multiple of eight, as the format wants it.
  const bytes = Buffer.from(text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  await writeWhole(path, async (write) => {
    await write(length);
    await write(bytes);
    for (const { values } of list) {
      await write(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
    }
  });
}

/** @param base what the adapter was trained on, for those who load it elsewhere */
export async function writeAdapter(
  directory: string,
  slots: readonly LoraSlot[],
  { rank, alpha, rsLora, targets }: LoraSettings,
  parameters: Float32Array,
  base: string,
): Promise<void> {
  await makeDirectory(directory);
  const tensors = slots.flatMap((slot) => [
    {
      name: peftTensor(slot.module, 'lora_A'),
      shape: [rank, slot.inputs],
      values: parameters.subarray(slot.a, slot.b),
    },
    {
      name: peftTensor(slot.module, 'lora_B'),
      shape: [slot.outputs, rank],
      values: exportedB(slot, rank, parameters),
    },
  ]);
  await writeSafetensors(join(directory, PEFT_TENSORS), tensors, { format: 'pt' });
  const config = writePeftConfig({
    rank,
    alpha,
    rslora: rsLora,
    dora: false,
    targetModules: targets,
    base,
  });
  await writeWhole(join(directory, PEFT_CONFIG), (write) => write(Buffer.from(config)));
}

export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
  } catch (cause) {
    const { message } = cause as Error;
    throw new TramontaneError('FILE_NOT_WRITABLE', `${directory}: ${message}`, { cause });
  }
}

/**
 * Reads an adapter to go on from into native's parameters. It must have the form that is trained: the
 * same targets, rank and scale.
 * @throws TramontaneError as openAdapter() does; INVALID_OPTION where the form is another
 */
export async function readAdapter(
  path: string,
  shape: ModelShape,
  slots: readonly LoraSlot[],
  { rank, scale }: { readonly rank: number; readonly scale: number },
  parameters: Float32Array,
): Promise<void> {
  const file = await openAdapter(path, shape);
  const pairs = new Map(file.pairs.map((pair) => [`${pair.role} ${pair.layer}`, pair]));
  const unlike = (problem: string): TramontaneError =>
    new TramontaneError('INVALID_OPTION', `adapter: ${file.path} ${problem}`);
  const source = await openFile(file.path);
  try {
    for (const slot of slots) {
      const key = `${slot.role} ${slot.layer}`;
      const pair = pairs.get(key);
      pairs.delete(key);
      if (pair === undefined) throw unlike(`has nothing for ${slot.module}, which targets name`);
      const { down, up, magnitude } = pair;
      if (magnitude !== undefined) throw unlike('is of DoRA, which is not trained');
      if (file.ropePairing !== 'halves') throw unlike('is GGUF: PEFT directories are gone on from');
      if (down.rows !== rank) throw unlike(`has rank ${down.rows}, and rank is ${rank}`);
      if (Math.abs(pair.scale - scale) > 1e-6 * scale) {
        throw unlike(`has alpha / rank ${pair.scale}, and the options ${scale}`);
      }
      parameters.set(await floatsOf(source, down), slot.a);
      importB(slot, rank, await floatsOf(source, up), parameters);
    }
  } finally {
    await source.close();
  }
  const [extra] = pairs.values();
  if (extra !== undefined) throw unlike(`has ${extra.down.name}, of no module that targets name`);
}

/** The values of a tensor in floats, of which what PEFT writes is one of three kinds. */
async function floatsOf(source: ByteSource, tensor: AdapterTensor): Promise<Float32Array> {
  const { format, range } = tensor;
  const bytes = await source.read(range.offset, range.byteLength);
  if (format === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return Float32Array.from(halves, format === 'BF16' ? bf16ToNumber : f16ToNumber);
}

const bits = new DataView(new ArrayBuffer(4));

function bf16ToNumber(half: number): number {
  bits.setUint32(0, half * 2 ** 16);
  return bits.getFloat32(0);
}

function f16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
