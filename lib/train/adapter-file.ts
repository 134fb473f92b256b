/**
 * Adapters as PEFT keeps them: a directory with adapter_config.json and adapter_model.safetensors,
 * which transformers' users load by `PeftModel.from_pretrained(model, directory)`.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TramontaneError } from '../errors';
import { openFile } from '../files/byte-source';
import { readSafetensors } from '../files/hf/safetensors';
import { exportedB, importB, type LoraSlot, type TargetModule } from './lora';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

/** What a configuration says of adapters. */
export interface LoraSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly dropout: number;
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

/**
 * Writes a file beside its place and moves it there when all of it is on the disk: whoever is killed
 * meanwhile leaves the one that was.
 * @throws TramontaneError FILE_NOT_WRITABLE
 */
export async function writeWhole(
  path: string,
  write: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await write(async (bytes) => {
        await file.writeFile(bytes);
      });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    const { message } = cause as Error;
    throw new TramontaneError('FILE_NOT_WRITABLE', `${path}: ${message}`, { cause });
  }
}

/** @param base what the adapter was trained on, for those who load it elsewhere */
export async function writeAdapter(
  directory: string,
  slots: readonly LoraSlot[],
  settings: LoraSettings,
  parameters: Float32Array,
  base: string,
): Promise<void> {
  const { rank, alpha, rsLora, dropout, targets } = settings;
  await makeDirectory(directory);
  const tensors = slots.flatMap((slot) => {
    const name = `base_model.model.${slot.module}`;
    return [
      {
        name: `${name}.lora_A.weight`,
        shape: [rank, slot.inputs],
        values: parameters.subarray(slot.a, slot.b),
      },
      {
        name: `${name}.lora_B.weight`,
        shape: [slot.outputs, rank],
        values: exportedB(slot, rank, parameters),
      },
    ];
  });
  await writeSafetensors(join(directory, WEIGHTS), tensors, { format: 'pt' });
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    use_rslora: rsLora,
    use_dora: false,
    target_modules: targets,
    bias: 'none',
    fan_in_fan_out: false,
    modules_to_save: null,
    inference_mode: true,
  };
  await writeWhole(join(directory, CONFIG), (write) =>
    write(Buffer.from(`${JSON.stringify(config, null, 2)}\n`)),
  );
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
 * same rank and targets.
 */
export async function readAdapter(
  directory: string,
  slots: readonly LoraSlot[],
  rank: number,
  parameters: Float32Array,
): Promise<void> {
  const source = await openFile(join(directory, WEIGHTS));
  try {
    const tensors = new Map(
      (await readSafetensors(source)).map((tensor) => [tensor.name, tensor] as const),
    );
    const wrong = (problem: string): TramontaneError =>
      new TramontaneError('INVALID_FILE', `${source.path}: ${problem}`);
    const take = async (name: string, shape: readonly number[]): Promise<Float32Array> => {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw wrong(`tensor ${name} is missing`);
      tensors.delete(name);
      if (tensor.type !== 'F32' || tensor.shape.join() !== shape.join()) {
        const found = `${tensor.type} [${tensor.shape.join(', ')}]`;
        throw wrong(`tensor ${name} is ${found}, and must be F32 [${shape.join(', ')}]`);
      }
      const bytes = await source.read(tensor.offset, tensor.byteLength);
      return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    };
    for (const slot of slots) {
      const name = `base_model.model.${slot.module}`;
      parameters.set(await take(`${name}.lora_A.weight`, [rank, slot.inputs]), slot.a);
      importB(slot, rank, await take(`${name}.lora_B.weight`, [slot.outputs, rank]), parameters);
    }
    const [extra] = tensors.keys();
    if (extra !== undefined) throw wrong(`tensor ${extra} is of no target module`);
  } finally {
    await source.close();
  }
}
