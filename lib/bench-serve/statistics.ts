/** Statistics as numpy has them by default. */

export interface Summary {
  readonly mean: number;
  readonly median: number;
  readonly p99: number;
  /** Of the population: divided by the count. */
  readonly std: number;
}

/** All zero where there is no value, as in vLLM's results. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) return { mean: 0, median: 0, p99: 0, std: 0 };
  const sorted = Float64Array.from(values).sort();
  const mean = sum(values) / values.length;
  const variance = sum(values.map((value) => (value - mean) ** 2)) / values.length;
  return {
    mean,
    median: percentile(sorted, 50),
    p99: percentile(sorted, 99),
    std: Math.sqrt(variance),
  };
}

/**
 * Between two values, by distance.
 * @example percentile([1, 2, 4], 75) is 3
 */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  const place = (percent / 100) * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
