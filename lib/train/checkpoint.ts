/** Checkpoints: all that a training needs to go on as if it had not been interrupted, in one file. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TramontaneError } from '../errors';
import { openFile } from '../files/byte-source';
import { readSafetensors } from '../files/hf/safetensors';
import { isObject } from '../files/json';
import type { NativeSequence, NativeState, NativeTrainer } from '../model/native';
import { writeSafetensors } from './adapter-file';
import type { LossPoint } from './losses';

const NAME = 'checkpoint.safetensors';
const STATES: readonly NativeState[] = ['parameters', 'firstMoments', 'secondMoments'];

/** Beside the optimizer's state. */
export interface Progress {
  /** Steps that are done. */
  readonly step: number;
  readonly points: readonly LossPoint[];
}

/** Of all data and options that what comes out follows from. */
export function fingerprint(sequences: readonly NativeSequence[], settings: string): string {
  const hash = createHash('sha256').update(settings);
  for (const { tokens, labels, starts } of sequences) {
    hash.update(tokens).update(labels).update(starts);
  }
  return hash.digest('hex');
}

export async function writeCheckpoint(
  directory: string,
  trainer: NativeTrainer,
  progress: Progress,
  of: string,
): Promise<void> {
  const tensors = STATES.map((name) => {
    const values = trainer.read(name);
    return { name, shape: [values.length], values };
  });
  const metadata = { fingerprint: of, progress: JSON.stringify(progress) };
  await writeSafetensors(join(directory, NAME), tensors, metadata);
}

/**
 * Brings a trainer to where its checkpoint was.
 * @returns undefined when there is none
 * @throws TramontaneError INVALID_FILE, INVALID_OPTION when it is of other data or options
 */
export async function readCheckpoint(
  directory: string,
  trainer: NativeTrainer,
  of: string,
): Promise<Progress | undefined> {
  const path = join(directory, NAME);
  if (!existsSync(path)) return undefined;
  const source = await openFile(path);
  try {
    const tensors = await readSafetensors(source);
    const length = Number((await source.read(0, 8)).readBigUInt64LE());
    const header: unknown = JSON.parse((await source.read(8, length)).toString());
    const metadata = isObject(header) ? header['__metadata__'] : undefined;
    const { fingerprint: found, progress: text } = isObject(metadata) ? metadata : {};
    if (typeof found !== 'string' || typeof text !== 'string') {
      throw new TramontaneError('INVALID_FILE', `${path}: not a checkpoint of a training`);
    }
    if (found !== of) {
      throw new TramontaneError(
        'INVALID_OPTION',
        `resume: ${path} is of a training with other data or options`,
      );
    }
    for (const name of STATES) {
      const tensor = tensors.find((one) => one.name === name);
      if (tensor?.type !== 'F32') {
        throw new TramontaneError('INVALID_FILE', `${path}: ${name} is missing`);
      }
      const bytes = await source.read(tensor.offset, tensor.byteLength);
      trainer.write(name, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
    }
    return JSON.parse(text) as Progress;
  } finally {
    await source.close();
  }
}

/** Of a training that is done. */
export async function removeCheckpoint(directory: string): Promise<void> {
  await rm(join(directory, NAME), { force: true });
}
