/** Datasets: read and checked as a whole before anything starts. */
import { createReadStream } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { TramontaneError } from '../errors';
import { openFile } from '../files/byte-source';
import { parseJson } from '../files/json';
import { JSON_LIMITS } from '../files/limits';
import { filePath } from '../files/path';
import type { AbortSignalLike } from '../model/abort-signals';
import { encodeSample, type Sample, type SampleEncoder, type TrainingDataset } from './samples';

/** Problems that a message lists. */
const MOST_PROBLEMS = 5;
/** Samples that are encoded until others get a turn. */
const SAMPLES_AT_ONCE = 16;

export interface DatasetRules {
  readonly encoder: SampleEncoder;
  /** Most tokens of a sample. */
  readonly most: number;
  /** Why it is so many. */
  readonly mostSource: string;
  readonly signal: AbortSignalLike | undefined;
}

/**
 * All samples of a dataset.
 * @throws TramontaneError INVALID_FILE naming lines, INVALID_OPTION naming samples, and what is wrong
 *   with the first few; FILE_NOT_READABLE
 */
export async function readDataset(
  name: string,
  dataset: TrainingDataset,
  rules: DatasetRules,
): Promise<Sample[]> {
  const isFile = typeof dataset === 'string' || !isIterable(dataset);
  const path = isFile ? filePath(name, dataset) : name;
  const samples: Sample[] = [];
  const problems: string[] = [];
  let failed = 0;
  let taken = 0;
  const take = async (place: string, make: () => unknown): Promise<void> => {
    if (++taken % SAMPLES_AT_ONCE === 0) {
      rules.signal?.throwIfAborted();
      await setImmediate();
    }
    try {
      samples.push(checkLength(encodeSample(make(), rules.encoder), rules));
    } catch (error) {
      if (!(error instanceof TramontaneError)) throw error;
      if (failed++ < MOST_PROBLEMS) problems.push(`${place}: ${error.message}`);
    }
  };
  if (isFile) {
    for await (const { line, number, at } of readLines(path)) {
      await take(`line ${number}`, () => {
        if (line === undefined) throw new TramontaneError('INVALID_FILE', tooLong);
        return parseLine(line, at);
      });
    }
  } else {
    let index = 0;
    for (const sample of dataset) {
      await take(`${name}[${index++}]`, () => sample);
    }
  }
  const code = isFile ? 'INVALID_FILE' : 'INVALID_OPTION';
  if (failed > 0) {
    const rest = failed > problems.length ? `; and ${failed - problems.length} more` : '';
    throw new TramontaneError(code, `${isFile ? `${path}: ` : ''}${problems.join('; ')}${rest}`);
  }
  if (samples.length === 0) throw new TramontaneError(code, `${path}: there are no samples in it`);
  return samples;
}

function isIterable(value: object): value is Iterable<never> {
  return Symbol.iterator in value;
}

function checkLength(sample: Sample, { most, mostSource }: DatasetRules): Sample {
  const { length } = sample.tokens;
  if (length <= most) return sample;
  const problem = `it has ${length} tokens, more than the ${most} of ${mostSource}`;
  throw new TramontaneError('INVALID_OPTION', problem);
}

const LIMITS = JSON_LIMITS.sample;
const tooLong = `longer than the ${LIMITS.bytes} bytes that a sample may have`;

function parseLine(bytes: Buffer, at: number): unknown {
  try {
    return parseJson({ path: '', bytes }, LIMITS, at);
  } catch (error) {
    if (!(error instanceof TramontaneError)) throw error;
    throw new TramontaneError('INVALID_FILE', error.message.replace(/^: /, ''), { cause: error });
  }
}

interface Line {
  /** Absent: it is longer than a sample may be. */
  readonly line: Buffer | undefined;
  /** From 1 on. */
  readonly number: number;
  /** Bytes from the start of the file. */
  readonly at: number;
}

const NEWLINE = 0x0a;

/** The lines of a file that are not blank. Of one that is too long, no more than the limit is held. */
async function* readLines(path: string): AsyncGenerator<Line> {
  await (await openFile(path)).close(); // Says what is wrong with the path.
  let parts: Buffer[] = [];
  let length = 0;
  let number = 1;
  let at = 0;
  const line = (): Line | undefined => {
    const isLong = length > LIMITS.bytes;
    const bytes = isLong ? undefined : Buffer.concat(parts);
    const isBlank = bytes?.toString('latin1').trim() === '';
    return isBlank ? undefined : { line: bytes, number, at };
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    while (start < chunk.length) {
      const found = chunk.indexOf(NEWLINE, start);
      const end = found < 0 ? chunk.length : found;
      length += end - start;
      if (length <= LIMITS.bytes) parts.push(chunk.subarray(start, end));
      else parts = [];
      start = end + 1;
      if (found < 0) continue;
      const whole = line();
      if (whole !== undefined) yield whole;
      at += length + 1;
      number++;
      parts = [];
      length = 0;
    }
  }
  const last = line();
  if (last !== undefined) yield last;
}
