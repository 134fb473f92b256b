/** What a token costs, and what the machine could do at most. */
import { openCheckpoint } from '../files/open';
import type { Checkpoint } from '../files/checkpoint';
import { weightBytes } from '../model/estimate-memory';
import { native, type NativeMachineLimits } from '../model/native';
import { median } from './statistics';

/** What one token costs, whatever runs it. */
export interface TokenCost {
  /** Bytes of weights that a generated token reads: all but the rows of the embedding. */
  readonly bytes: number;
  /** Operations of a prompt's token, two a weight: all but the embedding and the output. */
  readonly promptOperations: number;
}

/** @example a 7B model in Q4_0: { bytes: 4.00e9, promptOperations: 13.96e9 } */
export function tokenCost({ weights }: Pick<Checkpoint, 'weights'>): TokenCost {
  const read = weights.filter(({ role }) => role !== 'token_embedding');
  const layers = read.filter(({ role, rows }) => role !== 'output' && rows > 1);
  return {
    bytes: read.reduce((sum, weight) => sum + weightBytes(weight), 0),
    promptOperations: layers.reduce((sum, { rows, columns }) => sum + 2 * rows * columns, 0),
  };
}

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

  /**
   * Runs `body`, and measures before and after it: the machine's speed changes within minutes.
   * @returns what `body` does, and the means of the limits before and after
   */
  async around<T>(body: () => Promise<T>): Promise<{ result: T; limits: Limits }> {
    const before = await this.measure();
    const result = await body();
    const after = await this.measure();
    return { result, limits: limitsBy((of) => (of(before) + of(after)) / 2) };
  }

  /** The best of all windows. */
  get best(): Limits {
    return limitsBy((of) => Math.max(...this.windows.map(of)));
  }

  /** The medians of three windows. */
  private async measure(): Promise<Limits> {
    const now: Limits[] = [];
    for (let window = 0; window < 3; ++window) now.push(await this.limits.measure());
    this.windows.push(...now);
    return limitsBy((of) => median(now.map(of)));
  }
}

function limitsBy(combine: (of: (limits: Limits) => number) => number): Limits {
  return {
    readBytesPerSecond: combine((limits) => limits.readBytesPerSecond),
    int8OperationsPerSecond: combine((limits) => limits.int8OperationsPerSecond),
  };
}
