/** The losses of a training, as they are kept beside its adapter. */
import { join } from 'node:path';
import { writeWhole } from '../files/write-whole';
import { plotLosses } from './loss-plot';

export interface LossPoint {
  readonly step: number;
  /** Absent before the first step. */
  readonly loss?: number;
  readonly learningRate?: number;
  /** Of the samples kept apart, after this step. */
  readonly evaluationLoss?: number;
}

/** Writes losses.jsonl, a point a line, and losses.svg. */
export async function writeLosses(
  directory: string,
  title: string,
  points: readonly LossPoint[],
): Promise<void> {
  const lines = points.map((point) => `${JSON.stringify(point)}\n`).join('');
  for (const [name, text] of [
    ['losses.jsonl', lines],
    ['losses.svg', plotLosses(title, points)],
  ] as const) {
    await writeWhole(join(directory, name), (write) => write(Buffer.from(text)));
  }
}
