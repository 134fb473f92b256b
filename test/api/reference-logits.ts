/** Logits and greedy continuations that other programs computed, and comparisons with them. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Model } from '../../lib';

export interface Reference {
  readonly promptIds: number[];
  readonly positions: number[];
  /** [positions][vocabulary] */
  readonly logits: Float32Array;
  readonly greedyIds: number[];
  /** Best minus second logit at each greedy id. */
  readonly greedyMargin: number[];
}

interface Entry {
  readonly dtype: 'F32' | 'I32';
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

export function readReference(path: string): Reference {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<string, Entry>;
  const data = (name: string): ArrayBuffer => {
    const [from = 0, to = 0] = header[name]?.data_offsets ?? [];
    return new Uint8Array(bytes.subarray(8 + headerLength + from, 8 + headerLength + to)).buffer;
  };
  return {
    promptIds: [...new Int32Array(data('prompt_ids'))],
    positions: [...new Int32Array(data('positions'))],
    logits: new Float32Array(data('logits')),
    greedyIds: [...new Int32Array(data('greedy_ids'))],
    greedyMargin: [...new Float32Array(data('greedy_margin'))],
  };
}

/** Every checkpoint of a folder like the reference folder that has logits: [name, path, logits]. */
export function checkpoints(directory: string): [string, string, string][] {
  const found: [string, string, string][] = [];
  for (const file of readdirSync(join(directory, 'logits')).sort()) {
    const name = file.replace(/\.safetensors$/, '');
    const path = [`gguf/${name}.gguf`, `gptq/${name}`, name.replace(/^(\w+)-hf$/, 'hf/$1')]
      .map((candidate) => join(directory, candidate))
      .find((candidate) => existsSync(candidate));
    if (path !== undefined) found.push([name, path, join(directory, 'logits', file)]);
  }
  return found;
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, i) => {
    const difference = Math.abs(value - (b[i] ?? NaN));
    return difference <= most ? most : difference; // A NaN stays.
  }, 0);
}

/** Sum of squared differences over sum of squares of the expected values. */
export function normalizedError(found: Float32Array, expected: Float32Array): number {
  expect(found.length).toBe(expected.length);
  let error = 0;
  let power = 0;
  expected.forEach((value, i) => {
    error += ((found[i] ?? NaN) - value) ** 2;
    power += value ** 2;
  });
  return error / power;
}

export function best(logits: Float32Array): number {
  let token = 0;
  logits.forEach((value, i) => {
    if (value > (logits[token] ?? 0)) token = i;
  });
  return token;
}

/** How many ids come before the first margin below `least`. */
export function certainLength(margins: readonly number[], least: number): number {
  const end = margins.findIndex((margin) => margin < least);
  return end < 0 ? margins.length : end;
}

/**
 * Feeds prompt and greedy ids, and wherever the reference's margin is at least `least` expects the
 * best token to be the reference's.
 * @returns how many ids that were
 */
export async function checkTeacherForced(
  model: Model,
  promptIds: readonly number[],
  greedyIds: readonly number[],
  margins: readonly number[],
  least: number,
): Promise<number> {
  const tokens = [...promptIds, ...greedyIds];
  const positions = greedyIds.map((_, i) => promptIds.length - 1 + i);
  const logits = await model.logits(tokens, { positions });
  const size = model.info.vocabularySize;
  const found = greedyIds.map((_, i) => best(logits.subarray(i * size, (i + 1) * size)));
  const certain = greedyIds.map((_, i) => (margins[i] ?? 0) >= least);
  expect(found.filter((_, i) => certain[i])).toEqual(greedyIds.filter((_, i) => certain[i]));
  return certain.filter(Boolean).length;
}
