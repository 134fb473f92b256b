export type Range = readonly [least: number, greatest: number];

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

export function range(values: readonly number[]): Range {
  return [Math.min(...values), Math.max(...values)];
}
