/** What figures were measured on, and how they are shown. */
import { cpus } from 'node:os';
import { median, range } from '../lib/cli/statistics';

export function cpuName(): string {
  return cpus()[0]?.model.trim() ?? 'unknown CPU';
}

/** @example "12.3 (11.9 to 13.0)" */
export function spread(values: readonly number[], digits: number): string {
  const [least, greatest] = range(values);
  const [middle, low, high] = [median(values), least, greatest].map((value) =>
    value.toFixed(digits),
  );
  return `${middle!} (${low!} to ${high!})`;
}
