/** What a token costs, and what the machine could do at most. */
import { openCheckpoint } from '../files/open';
import type { Checkpoint, Weight } from '../files/checkpoint';
import { native, type NativeMachineLimits } from '../native';
import { median } from './statistics';

/** What one token costs, whatever runs it. */
export interface TokenCost {
  /** Bytes of weights that a generated token reads: all but the rows of the embedding. */
  readonly bytes: number;
  /** Operations of a prompt's token, two a weight: all but the embedding and the output. */
  readonly promptOperations: number;
}

function bytesOf({ storage }: Weight): number {
  if (storage.format !== 'GPTQ') return storage.range.byteLength;
  const { qweight, qzeros, scales } = storage.gptq;
  return qweight.byteLength + qzeros.byteLength + scales.byteLength;
}

/** @example a 7B model in Q4_0: { bytes: 4.00e9, promptOperations: 13.96e9 } */
export function tokenCost({ weights }: Pick<Checkpoint, 'weights'>): TokenCost {
  const read = weights.filter(({ role }) => role !== 'token_embedding');
  const layers = read.filter(({ role, rows }) => role !== 'output' && rows > 1);
  return {
    bytes: read.reduce((sum, weight) => sum + bytesOf(weight), 0),
    promptOperations: layers.reduce((sum, { rows, columns }) => sum + 2 * rows * columns, 0),
  };
}

/** The limits that were measured around one run. */
export interface Limits {
  readonly readBytesPerSecond: number;
  readonly int8OperationsPerSecond: number;
}

/** Measures the limits again and again, next to what is compared with them. */
export class LimitsProbe {
  private readonly windows: Limits[] = [];

  private constructor(
    private readonly limits: NativeMachineLimits,
    readonly cost: TokenCost,
  ) {}

  static async open(path: string, threads: number): Promise<LimitsProbe> {
    const checkpoint = await openCheckpoint(path);
    const files = checkpoint.files.map((file) => file.path);
    const { MachineLimits } = native();
    return new LimitsProbe(new MachineLimits(files, threads), tokenCost(checkpoint));
  }

  /** The median of three windows. */
  async measure(): Promise<Limits> {
    const now: Limits[] = [];
    for (let window = 0; window < 3; ++window) now.push(await this.limits.measure());
    this.windows.push(...now);
    return {
      readBytesPerSecond: median(now.map((limits) => limits.readBytesPerSecond)),
      int8OperationsPerSecond: median(now.map((limits) => limits.int8OperationsPerSecond)),
    };
  }

  /** The best window of all. */
  get best(): Limits {
    return {
      readBytesPerSecond: Math.max(...this.windows.map((limits) => limits.readBytesPerSecond)),
      int8OperationsPerSecond: Math.max(
        ...this.windows.map((limits) => limits.int8OperationsPerSecond),
      ),
    };
  }
}

/** The mean of the limits before and after a run: the machine's speed changes within minutes. */
export function between(before: Limits, after: Limits): Limits {
  return {
    readBytesPerSecond: (before.readBytesPerSecond + after.readBytesPerSecond) / 2,
    int8OperationsPerSecond: (before.int8OperationsPerSecond + after.int8OperationsPerSecond) / 2,
  };
}
