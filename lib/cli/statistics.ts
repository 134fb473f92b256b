/** The median of some runs, with the least and the greatest. */
export interface Figure {
  readonly value: number;
  readonly range: Range;
}

export type Range = readonly [least: number, greatest: number];

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

export function range(values: readonly number[]): Range {
  return [Math.min(...values), Math.max(...values)];
}

export function figure(values: readonly number[]): Figure {
  return { value: median(values), range: range(values) };
}
