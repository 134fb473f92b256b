/** The losses of a training, as they are kept beside its adapter. */
import { join } from 'node:path';
import { writeWhole } from './adapter-file';

export interface LossPoint {
  readonly step: number;
  /** Absent before the first step. */
  readonly loss?: number;
  readonly learningRate?: number;
  /** Of the samples kept apart, after this step. */
  readonly evaluationLoss?: number;
}

/** Writes losses.jsonl, a point a line. */
export async function writeLosses(directory: string, points: readonly LossPoint[]): Promise<void> {
  const lines = points.map((point) => `${JSON.stringify(point)}\n`).join('');
  await writeWhole(join(directory, 'losses.jsonl'), (write) => write(Buffer.from(lines)));
}
